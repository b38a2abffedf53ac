"""Contexts, sessions and who owns them: what continues what, in which order, and what a caller never sees."""

from __future__ import annotations

import anyio
import pytest

from opencode_a2a.fake_opencode import HELLO, Say
from sansio.a2a.model import Task, TaskState
from tests.shell.cases import each_value, every_codec, one_codec
from tests.shell.folding import text_of
from tests.shell.harness import REST_03, RPC_10, WIRES, Serving, Stream, Wire
from tests.shell.refusals import not_found, refusal

pytestmark = pytest.mark.anyio


def session_of(task: Task) -> str:
    return str((task.metadata or {})["shared"]["session"]["id"])


def bound(session: str) -> dict[str, object]:
    return {"shared": {"session": {"id": session}}}


@one_codec
async def test_one_context_is_one_session(serving_on_disk: Serving, wire: Wire) -> None:
    async with serving_on_disk() as agent:
        caller = agent.caller(wire)
        first = await caller.send("COUNT")
        second = await caller.send("COUNT", contextId=first.context_id)
        other = await caller.send("COUNT")

        assert [text_of(one) for one in (first, second, other)] == [
            "You have said 1 things.",
            "You have said 2 things.",
            "You have said 1 things.",
        ]
        assert second.context_id == first.context_id != other.context_id
        assert session_of(second) == session_of(first) != session_of(other)
        assert agent.asked("POST", "/session") == 2


async def test_a_context_of_the_clients_own_naming_is_kept(serving: Serving) -> None:
    async with serving() as agent:
        tasks = [await agent.caller().send("COUNT", contextId="mine") for _ in range(2)]

    assert [task.context_id for task in tasks] == ["mine", "mine"]
    assert text_of(tasks[1]) == "You have said 2 things."


async def test_the_same_context_of_two_principals_is_two_sessions(serving: Serving) -> None:
    async with serving() as agent:
        ours = await agent.caller().send("COUNT", contextId="shared-name")
        theirs = await agent.caller(bob=True).send("COUNT", contextId="shared-name")

    assert session_of(ours) != session_of(theirs)
    assert text_of(theirs) == "You have said 1 things."


@one_codec
async def test_messages_in_one_context_are_worked_on_in_order(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        caller = agent.caller(wire)
        agent.fake_opencode.hold(Say)
        first = await caller.send("COUNT", contextId="c", configuration=wire.at_once())
        await agent.fake_opencode.held()

        second = await caller.send("COUNT", contextId="c", configuration=wire.at_once())
        third = await caller.send("COUNT", contextId="c", configuration=wire.at_once())

        assert (await caller.get(first.id)).status.state is TaskState.WORKING
        assert [one.status.state for one in (second, third)] == [TaskState.SUBMITTED] * 2
        assert agent.asked("POST", "/prompt_async") == 1
        agent.fake_opencode.release()
        texts = [text_of(await caller.finished(one.id)) for one in (first, second, third)]

    assert texts == [f"You have said {count} things." for count in (1, 2, 3)]


async def test_contexts_do_not_wait_for_each_other(serving: Serving) -> None:
    async with serving() as agent:
        caller = agent.caller()
        agent.fake_opencode.hold(Say)
        for context in ("a", "b"):
            await caller.send("hi", contextId=context, configuration=RPC_10.at_once())

        await agent.fake_opencode.held(2)

        agent.fake_opencode.release()


async def test_many_contexts_at_once_keep_their_own_answers(serving: Serving) -> None:
    async with serving() as agent:
        streams: dict[int, Stream] = {}

        async def run(number: int) -> None:
            streams[number] = await agent.caller(WIRES[number % 4]).stream(f"ECHO answer-{number}")

        async with anyio.create_task_group() as tasks:
            for number in range(24):
                tasks.start_soon(run, number)

    assert {number: stream.text for number, stream in streams.items()} == {n: f"answer-{n}" for n in range(24)}


@pytest.mark.parametrize("location", ["message", "request"])
@one_codec
async def test_a_message_may_name_the_session_it_continues(serving: Serving, wire: Wire, location: str) -> None:
    async with serving() as agent:
        caller = agent.caller(wire)
        first = await caller.send("COUNT")
        metadata = bound(session_of(first))
        if location == "request":
            second = await caller.send("COUNT", metadata=metadata)
        else:
            params = {"message": wire.message("COUNT", metadata=metadata)}
            assert (await caller.ask("send", params)).status_code == 200
            second = await caller.send("COUNT", metadata=metadata)

    expected = 2 if location == "request" else 3
    assert text_of(second) == f"You have said {expected} things."
    assert session_of(second) == session_of(first)


@pytest.mark.parametrize("operation", ["send", "stream"])
@one_codec
async def test_a_session_of_another_principal_is_refused_before_there_is_a_task(
    serving: Serving, wire: Wire, operation: str
) -> None:
    async with serving() as agent:
        ours = await agent.caller(wire).send("hi")
        before = len(agent.fake_opencode.requests)

        error = await agent.caller(wire, bob=True).refused(operation, metadata=bound(session_of(ours)))

        assert "metadata.shared.session.id" in str(error) or "'session', 'id'" in str(error)
        assert len(agent.fake_opencode.requests) == before


async def test_a_session_that_opencode_does_not_know_fails_the_task(serving: Serving) -> None:
    async with serving() as agent:
        stream = await agent.caller().stream("hi", metadata=bound("ses_nobody"))

    assert stream.state == "failed"
    assert (stream.statuses[-1].metadata or {})["opencode"]["error"]["type"] == "UPSTREAM_RESOURCE_NOT_FOUND"


BAD_SESSIONS = ("", "x", "..", "ses/../..", "ses_1/abort", "ses%2f..", "ses_1?directory=%2f", "ses 1", "ses_ü")


@each_value("session", BAD_SESSIONS[1:])
async def test_a_context_that_names_no_session_is_refused_by_name(serving: Serving, session: str) -> None:
    async with serving() as agent:
        error = await agent.caller().refused(contextId=f"ctx:opencode-session:{session}")

        assert error["data"][0]["fieldViolations"][0]["field"] == "message.contextId"
        assert all("/session/" not in one.path for one in agent.fake_opencode.requests)


@each_value("metadata", [*map(bound, BAD_SESSIONS), {"shared": "x"}, {"shared": {"session": {"id": 5}}}])
async def test_a_malformed_session_binding_is_refused_by_name(serving: Serving, metadata: dict[str, object]) -> None:
    async with serving() as agent:
        error = await agent.caller().refused(metadata=metadata)

    assert error["code"] == -32602
    assert error["data"][0]["fieldViolations"][0]["field"].startswith("metadata.shared")


@every_codec
async def test_a_task_of_another_principal_does_not_exist(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        ours = await agent.caller(wire).send("hi")

        hidden = await agent.caller(wire, bob=True).refused("get", id=ours.id)
        unknown = await agent.caller(wire, bob=True).refused("get", id="no-such-task")

    assert str(hidden).replace(ours.id, "ID") == str(unknown).replace("no-such-task", "ID")
    assert hidden.get("code" if wire.binding == "rpc" else "http") == (-32001 if wire.binding == "rpc" else 404)


@every_codec
async def test_an_id_that_no_database_can_look_for_is_not_found(serving_on_disk: Serving, wire: Wire) -> None:
    async with serving_on_disk() as agent:
        error = await agent.caller(wire).refused("get", id="a%00b" if wire.binding == "rest" else "a\0b")

    assert refusal(wire, error) == not_found(wire)


@one_codec
async def test_a_task_that_has_ended_cannot_be_continued(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        task = await agent.caller(wire).send("hi")

        error = await agent.caller(wire).refused(taskId=task.id, contextId=task.context_id)
        theirs = await agent.caller(wire, bob=True).refused(taskId=task.id)

    assert "message.taskId" in str(error)
    assert "completed" in str(error)
    assert "Task not found" in str(theirs)


async def test_a_file_reaches_opencode_with_its_name(serving: Serving) -> None:
    file = {"kind": "file", "file": {"bytes": "aGk=", "mimeType": "text/x-a", "name": "a.txt"}}
    async with serving() as agent:
        task = await agent.caller(REST_03).send("", parts=[{"kind": "text", "text": "look"}, file])
        [prompt] = [one for one in agent.fake_opencode.requests if one.path.endswith("/prompt_async")]

    assert text_of(task) == HELLO
    assert prompt.json["parts"] == [
        {"type": "text", "text": "look"},
        {"type": "file", "mime": "text/plain", "url": "data:text/plain;base64,aGk=", "filename": "a.txt"},
    ]


@one_codec
async def test_a_context_that_stands_for_a_session_goes_on_in_it(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        first = await agent.caller(wire).send("COUNT")
        context = f"ctx:opencode-session:{session_of(first)}"

        second = await agent.caller(wire).send("COUNT", contextId=context)
        refused = await agent.caller(wire, bob=True).refused(contextId=context)

    assert (session_of(second), second.context_id) == (session_of(first), context)
    assert text_of(second) == "You have said 2 things."
    assert "is not a session that this caller can use" in str(refused)
