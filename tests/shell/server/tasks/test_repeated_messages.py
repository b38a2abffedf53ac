"""Messages that belong to something: to a task, to other tasks, or to the same message sent before."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import anyio
import pytest
from sqlalchemy import Engine, event

from opencode_a2a.config.settings import Settings
from opencode_a2a.fake_opencode import HELLO, FakeOpenCode, Say
from sansio.a2a.model import Task, TaskState
from tests.shell.cases import every_codec, one_codec
from tests.shell.folding import text_of
from tests.shell.harness import (
    CREDENTIALS,
    DEADLINE,
    REST_03,
    RPC_10,
    WIRES,
    Agent,
    Serving,
    Stream,
    Wire,
    agent_at,
    quick,
    served,
)
from tests.shell.refusals import not_found, refusal, unsupported, wrong

pytestmark = pytest.mark.anyio


Starting = Callable[[FakeOpenCode, str], AbstractAsyncContextManager[Agent]]


@pytest.fixture
def starting(anyio_backend: str, tmp_path: Path) -> Starting:
    """Starts the agent on one file, before an OpenCode that stays."""

    def start(fake_opencode: FakeOpenCode, url: str) -> AbstractAsyncContextManager[Agent]:
        store = f"sqlite:///{tmp_path / 'tasks.db'}"
        settings = Settings(
            rate_limit_enabled=False, opencode_url=url, credentials=CREDENTIALS, task_store_database_url=store
        )
        return agent_at(anyio_backend, fake_opencode, settings)

    return start


@pytest.fixture(params=["memory", "disk"])
def storing(request: pytest.FixtureRequest, serving: Serving, serving_on_disk: Serving) -> Serving:
    return serving if request.param == "memory" else serving_on_disk


def session_of(task: Task) -> str:
    return str((task.metadata or {})["shared"]["session"]["id"])


def prompts(agent: Agent) -> int:
    return agent.asked("POST", "/prompt_async")


# --- to a task --------------------------------------------------------------------------------------------


@one_codec
async def test_a_task_alone_tells_the_context(storing: Serving, wire: Wire) -> None:
    async with storing() as agent:
        caller = agent.caller(wire)
        task = await caller.send("hi", contextId="c", messageId="m")

        again = await caller.send("hi", taskId=task.id, messageId="m")
        both = await caller.send("hi", taskId=task.id, contextId="c", messageId="m")

        assert again == both == task
        assert task.context_id == "c"
        assert prompts(agent) == 1


@every_codec
@pytest.mark.parametrize("operation", ["send", "stream"])
async def test_a_task_of_another_context_is_refused_by_that_name(
    storing: Serving, wire: Wire, operation: str
) -> None:
    async with storing() as agent:
        caller = agent.caller(wire)
        ended = await caller.send("hi", contextId="c", messageId="m")
        waiting = await caller.send("PERMISSION", contextId="d")

        for task in (ended, waiting):
            error = await caller.refused(operation, taskId=task.id, contextId="another", messageId="m")
            assert refusal(wire, error) == wrong(wire, "message.contextId")
        assert prompts(agent) == 2


@one_codec
@pytest.mark.parametrize("operation", ["send", "stream"])
@pytest.mark.parametrize("state", [TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELED], ids=str)
async def test_a_task_that_has_ended_takes_no_message(
    serving: Serving, wire: Wire, operation: str, state: TaskState
) -> None:
    async with serving() as agent:
        caller = agent.caller(wire)
        if state is TaskState.FAILED:
            agent.fake_opencode.fail_next("POST", "/session", 500)
        task = await caller.send("PERMISSION" if state is TaskState.CANCELED else "hi")
        if state is TaskState.CANCELED:
            task = await caller.cancel(task.id)
        assert task.status.state is state
        before = prompts(agent)

        for more in ({}, {"contextId": task.context_id}):
            error = await caller.refused(operation, taskId=task.id, **more)

            assert refusal(wire, error) == unsupported(wire)
            assert state.value in str(error)
        assert prompts(agent) == before
        assert await caller.get(task.id) == task


@one_codec
async def test_a_task_that_is_worked_on_takes_no_message(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        caller = agent.caller(wire)
        agent.fake_opencode.hold(Say)
        task = await caller.send("hi", configuration=wire.at_once())
        await agent.fake_opencode.held()

        error = refusal(wire, await caller.refused(taskId=task.id))
        agent.fake_opencode.release()

        assert error == unsupported(wire)
        assert (await caller.finished(task.id)).status.state is TaskState.COMPLETED
        assert prompts(agent) == 1


@one_codec
@pytest.mark.parametrize("operation", ["send", "stream"])
async def test_a_task_nobody_has_or_somebody_else_cannot_be_continued(
    serving: Serving, wire: Wire, operation: str
) -> None:
    async with serving() as agent:
        ours = await agent.caller(wire).send("hi", messageId="m")
        bob = agent.caller(wire, bob=True)

        errors = [await bob.refused(operation, taskId=name, messageId="m") for name in (ours.id, "no-such-task")]

        assert [refusal(wire, error) for error in errors] == [not_found(wire)] * 2
        assert prompts(agent) == 1


# --- to other tasks ---------------------------------------------------------------------------------------


@one_codec
async def test_references_to_other_tasks_are_kept_in_the_history(serving_on_disk: Serving, wire: Wire) -> None:
    names = ("task-1", "a task that nobody has")
    async with serving_on_disk() as agent:
        caller = agent.caller(wire)
        sent = await caller.send("hi", referenceTaskIds=list(names))
        streamed = await caller.stream("hi", referenceTaskIds=list(names))
    async with serving_on_disk() as agent:
        read = [await agent.caller(wire).get(name) for name in (sent.id, streamed.task.id)]

    for task in (sent, streamed.task, *read):
        assert [message.reference_task_ids for message in task.history] == [names]


async def test_the_proto_form_of_version_0_3_has_no_place_for_references(serving: Serving) -> None:
    message = {"messageId": "m", "role": "ROLE_USER", "content": [{"text": "hi"}], "referenceTaskIds": ["t"]}
    async with serving() as agent:
        sent = await agent.http.post(
            "/v1/message:send", json={"message": message, "configuration": {"blocking": True}}
        )
        task_id = sent.json()["task"]["id"]
        read = await agent.http.get(f"/v1/tasks/{task_id}")
        kept = await agent.caller(RPC_10).get(task_id)

    for history in (sent.json()["task"]["history"], read.json()["history"]):
        assert [set(one) for one in history] == [{"messageId", "contextId", "taskId", "role", "content"}]
    assert kept.history[0].reference_task_ids == ("t",)


# --- the same message again -------------------------------------------------------------------------------


@one_codec
async def test_a_message_that_came_before_has_its_task_already(storing: Serving, wire: Wire) -> None:
    async with storing() as agent:
        caller = agent.caller(wire)
        first = await caller.send("COUNT", contextId="c", messageId="m")
        second = await caller.send("COUNT", contextId="c", messageId="m")
        other = await caller.send("COUNT", contextId="c", messageId="n")

        assert second == first
        assert other.id != first.id
        assert text_of(other) == "You have said 2 things."
        assert prompts(agent) == 2


@one_codec
async def test_the_answer_to_a_repeated_message_has_the_history_asked_for(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        caller = agent.caller(wire)
        await caller.send("hi", contextId="c", messageId="m")

        again = await caller.send("hi", contextId="c", messageId="m", configuration={"historyLength": 0})
        streamed = await caller.stream("hi", contextId="c", messageId="m", configuration={"historyLength": 0})

    assert again.history == streamed.task.history == ()


@one_codec
async def test_ten_at_once_are_one_prompt(storing: Serving, wire: Wire) -> None:
    async with storing() as agent:
        caller = agent.caller(wire)
        sent: list[Task] = []
        streams: list[Stream] = []

        async def send() -> None:
            sent.append(await caller.send("STEPS", contextId="c", messageId="m"))

        async def stream() -> None:
            streams.append(await caller.stream("STEPS", contextId="c", messageId="m"))

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(send)
                tasks.start_soon(stream)
        read = await caller.get(sent[0].id)

        assert [one for one in sent if one != read] == []
        assert {one.task.id for one in streams} == {read.id}
        assert {one.state for one in streams if one.statuses} <= {"completed"}
        assert (prompts(agent), agent.asked("POST", "/session")) == (1, 1)
        assert (await caller.page())["totalSize"] == 1


async def test_the_same_message_on_every_wire_is_one_prompt(serving: Serving) -> None:
    async with serving() as agent:
        found: list[str] = []

        async def send(wire: Wire) -> None:
            found.append((await agent.caller(wire).send("hi", contextId="c", messageId="m")).id)

        async with anyio.create_task_group() as tasks:
            for wire in WIRES * 3:
                tasks.start_soon(send, wire)

        assert len(found) == 12
        assert len(set(found)) == 1
        assert prompts(agent) == 1


@one_codec
async def test_a_repeat_after_a_restart_is_answered_from_the_store(serving_on_disk: Serving, wire: Wire) -> None:
    async with serving_on_disk() as agent:
        first = await agent.caller(wire).send("THINK", contextId="c", messageId="m")
    async with serving_on_disk() as agent:
        caller = agent.caller(wire)
        second = await caller.send("THINK", contextId="c", messageId="m")
        streamed = await caller.stream("THINK", contextId="c", messageId="m")

        assert second == first == streamed.items[0]
        assert len(streamed.items) == 1
        assert prompts(agent) == 0


@one_codec
async def test_a_repeat_after_a_crash_joins_the_turn_that_goes_on(
    anyio_backend: str, starting: Starting, wire: Wire
) -> None:
    fake_opencode = quick()
    async with served(anyio_backend, fake_opencode) as url:
        fake_opencode.hold(Say, tokens=2)
        async with starting(fake_opencode, url) as agent:
            caller = agent.caller(wire)
            first = await caller.send("LONG 9", contextId="c", messageId="m", configuration=wire.at_once())
            await fake_opencode.held()
        async with (
            starting(fake_opencode, url) as agent,
            agent.caller(wire).open("", contextId="c", messageId="m") as stream,
        ):
            await stream.until(lambda: stream.items)
            fake_opencode.release()
            await stream.whole()
            read = await agent.caller(wire).get(first.id)
            sent = prompts(agent)

    assert stream.task.id == first.id
    assert (read.status.state, text_of(read)) == (TaskState.COMPLETED, "".join(f"w{n} " for n in range(9)))
    assert sent == 1


@one_codec
async def test_a_repeat_while_the_task_is_worked_on_joins_it(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        caller = agent.caller(wire)
        agent.fake_opencode.hold(Say, tokens=2)
        async with caller.open("LONG 9", contextId="c", messageId="m") as first:
            await first.until(lambda: first.text == "w0 w1 ")
            at_once = await caller.send("LONG 9", contextId="c", messageId="m", configuration=wire.at_once())
            async with caller.open("LONG 9", contextId="c", messageId="m") as second:
                await second.until(lambda: second.items)
                agent.fake_opencode.release()
                await first.whole()
                await second.whole()

        assert at_once.status.state is TaskState.WORKING
        assert at_once.id == first.task.id == second.task.id
        assert text_of(second.task) == "w0 w1 "
        later = [event for event in first.events if event.number > second.events[0].number]
        assert [event.json for event in second.events[1:]] == [event.json for event in later]
        assert prompts(agent) == 1


@one_codec
async def test_a_streamed_repeat_of_a_task_that_has_ended_tells_it_and_ends(storing: Serving, wire: Wire) -> None:
    async with storing() as agent:
        caller = agent.caller(wire)
        first = await caller.stream("hi", contextId="c", messageId="m")
        second = await caller.stream("hi", contextId="c", messageId="m")

        assert second.items == [await caller.get(first.task.id)]
        assert second.events[0].number == first.events[-1].number
        assert prompts(agent) == 1


@one_codec
async def test_a_repeat_of_what_was_cancelled_is_not_run_again(storing: Serving, wire: Wire) -> None:
    async with storing() as agent:
        caller = agent.caller(wire)
        task = await caller.send("PERMISSION", contextId="c", messageId="m")
        cancelled = await caller.cancel(task.id)

        assert await caller.send("PERMISSION", contextId="c", messageId="m") == cancelled
        assert prompts(agent) == 1


@one_codec
async def test_the_same_message_of_another_principal_is_another_task(storing: Serving, wire: Wire) -> None:
    async with storing() as agent:
        found: list[Task] = []

        async def send(*, bob: bool) -> None:
            found.append(await agent.caller(wire, bob=bob).send("COUNT", contextId="c", messageId="m"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: send(bob=True))
            tasks.start_soon(lambda: send(bob=False))

        assert len({task.id for task in found}) == 2
        assert [text_of(task) for task in found] == ["You have said 1 things."] * 2
        assert prompts(agent) == 2


@one_codec
async def test_the_same_message_in_another_context_is_another_task(storing: Serving, wire: Wire) -> None:
    async with storing() as agent:
        caller = agent.caller(wire)
        tasks = [await caller.send("hi", messageId="m", contextId=context) for context in ("c", "d")]

        assert len({task.id for task in tasks}) == len({task.context_id for task in tasks}) == 2
        assert [text_of(task) for task in tasks] == [HELLO] * 2
        assert prompts(agent) == 2


@one_codec
async def test_in_its_context_an_id_is_the_same_message_whatever_it_says(storing: Serving, wire: Wire) -> None:
    async with storing() as agent:
        caller = agent.caller(wire)
        first = await caller.send("hi", contextId="c", messageId="m")
        assert await caller.send("something else", contextId="c", messageId="m") == first
        assert prompts(agent) == 1


# --- the same message again, without a context --------------------------------------------------------------


@one_codec
async def test_a_first_message_that_is_sent_again_has_its_task(storing: Serving, wire: Wire) -> None:
    async with storing() as agent:
        caller = agent.caller(wire)
        first = await caller.send("COUNT", messageId="m")
        again = [await caller.send("COUNT", messageId="m") for _ in range(3)]
        streamed = await caller.stream("COUNT", messageId="m")
        in_context = await caller.send("COUNT", messageId="m", contextId=first.context_id)

        assert [*again, *streamed.items, in_context] == [first] * 5
        assert (prompts(agent), agent.asked("POST", "/session")) == (1, 1)


@one_codec
async def test_without_its_context_a_message_has_the_task_of_whatever_context(storing: Serving, wire: Wire) -> None:
    async with storing() as agent:
        caller = agent.caller(wire)
        older = await caller.send("hi", messageId="m", contextId="c")
        newer = await caller.send("hi", messageId="m", contextId="d")

        assert older.id != newer.id
        assert await caller.send("hi", messageId="m") == newer
        assert prompts(agent) == 2


@one_codec
async def test_an_id_that_is_used_again_with_other_content_is_another_message(storing: Serving, wire: Wire) -> None:
    async with storing() as agent:
        caller = agent.caller(wire)
        kind = {"kind": "data"} if wire.version == "0.3" else {}
        one, two = {"data": {"yes": 1}, **kind}, {"data": {"yes": True}, **kind}
        sent: list[tuple[str | None, dict[str, Any]]] = [("ECHO one", {}), ("ECHO two", {})]
        sent += [(None, {"parts": parts}) for parts in ([one], [two], [one, one])]
        first = [await caller.send(text, messageId="1", **more) for text, more in sent]
        again = [await caller.send(text, messageId="1", **more) for text, more in sent]

        assert again == first
        assert len({task.id for task in first}) == len({task.context_id for task in first}) == len(sent)
        assert [text_of(task) for task in first[:2]] == ["one", "two"]
        assert prompts(agent) == len(sent)


@one_codec
async def test_a_message_for_another_model_or_session_is_another_message(storing: Serving, wire: Wire) -> None:
    async with storing() as agent:
        caller = agent.caller(wire)
        first = await caller.send("COUNT", messageId="m")
        session = {"shared": {"session": {"id": session_of(first)}}}
        model = {"shared": {"model": {"providerID": "standin", "modelID": "other"}}}

        named = await caller.send("COUNT", messageId="m", metadata=model)
        assert await caller.send("COUNT", messageId="m", metadata=model) == named
        assert await caller.send("COUNT", messageId="m", metadata=session) == first
        assert await caller.send("COUNT", messageId="m") == first
        assert prompts(agent) == 2


@one_codec
async def test_the_same_id_and_content_of_another_principal_is_another_task(storing: Serving, wire: Wire) -> None:
    async with storing() as agent:
        ours = await agent.caller(wire).send("hi", messageId="m")
        theirs = await agent.caller(wire, bob=True).send("hi", messageId="m")

        assert theirs.id != ours.id
        assert await agent.caller(wire).send("hi", messageId="m") == ours


@one_codec
async def test_ten_at_once_without_a_context_are_one_prompt(storing: Serving, wire: Wire) -> None:
    async with storing() as agent:
        caller = agent.caller(wire)
        sent: list[Task] = []
        streams: list[Stream] = []

        async def send() -> None:
            sent.append(await caller.send("STEPS", messageId="m"))

        async def stream() -> None:
            streams.append(await caller.stream("STEPS", messageId="m"))

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(send)
                tasks.start_soon(stream)

        assert len({task.id for task in sent} | {one.task.id for one in streams}) == 1
        assert (prompts(agent), agent.asked("POST", "/session")) == (1, 1)
        assert (await caller.page())["totalSize"] == 1


async def test_the_same_first_message_on_every_wire_is_one_prompt(serving: Serving) -> None:
    async with serving() as agent:
        found: list[str] = []

        async def send(wire: Wire) -> None:
            found.append((await agent.caller(wire).send("hi", messageId="m")).id)

        async with anyio.create_task_group() as tasks:
            for wire in WIRES * 3:
                tasks.start_soon(send, wire)

        assert (len(found), len(set(found)), prompts(agent)) == (12, 1, 1)


@one_codec
async def test_a_first_message_is_known_after_a_restart(serving_on_disk: Serving, wire: Wire) -> None:
    async with serving_on_disk() as agent:
        first = await agent.caller(wire).stream("THINK", messageId="m")
        task = await agent.caller(wire).get(first.task.id)
    async with serving_on_disk() as agent:
        caller = agent.caller(wire)
        again = await caller.send("THINK", messageId="m")
        other = await caller.send("hi", messageId="m")
        assert again == task
        assert (other.id != task.id, text_of(other)) == (True, HELLO)
        assert prompts(agent) == 1


@one_codec
async def test_a_first_message_after_a_crash_joins_the_turn_that_goes_on(
    anyio_backend: str, starting: Starting, wire: Wire
) -> None:
    fake_opencode = quick()
    async with served(anyio_backend, fake_opencode) as url:
        fake_opencode.hold(Say, tokens=2)
        async with starting(fake_opencode, url) as agent:
            first = await agent.caller(wire).send("LONG 9", messageId="m", configuration=wire.at_once())
            await fake_opencode.held()
        async with (
            starting(fake_opencode, url) as agent,
            agent.caller(wire).open("LONG 9", messageId="m") as stream,
        ):
            await stream.until(lambda: stream.items)
            fake_opencode.release()
            await stream.whole()
            read = await agent.caller(wire).get(first.id)
            sent = prompts(agent)

    assert stream.task.id == first.id
    assert (read.status.state, text_of(read)) == (TaskState.COMPLETED, "".join(f"w{n} " for n in range(9)))
    assert sent == 1


async def test_a_new_message_needs_no_look_into_the_store(serving_on_disk: Serving) -> None:
    looks: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        if statement.startswith("SELECT") and "message_id =" in statement:
            looks.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        async with serving_on_disk() as agent:
            caller = agent.caller()
            with anyio.fail_after(DEADLINE):
                while True:  # until it is known what there is
                    looks.clear()
                    for more in ({}, {"contextId": str(uuid.uuid4())}):
                        await caller.send("hi", **more)
                    if not looks:
                        break
            first = await caller.send("hi", messageId="m")
            assert looks == []
            assert await caller.send("hi", messageId="m") == first
            assert len(looks) == 1
    finally:
        event.remove(Engine, "before_cursor_execute", note)


@one_codec
async def test_the_stream_of_a_first_message_goes_on_after_the_last_event_seen(storing: Serving, wire: Wire) -> None:
    async with storing() as agent:
        caller = agent.caller(wire)
        first = await caller.stream("STEPS", messageId="m")
        seen = first.events[2].number
        request = caller.request("stream", caller.params("STEPS", {"messageId": "m"}), **{"Last-Event-ID": str(seen)})
        async with caller.opened(request) as again:
            await again.whole()

        assert again.task.id == first.task.id
        assert [event.json for event in again.events[1:]] == [event.json for event in first.events[3:]]
        assert prompts(agent) == 1


async def test_a_message_that_was_refused_may_come_again(serving: Serving) -> None:
    async with serving() as agent:
        caller = agent.caller(REST_03)
        bad = {"acceptedOutputModes": ["image/png"]}
        await caller.refused(contextId="c", messageId="m", configuration=bad)

        task = await caller.send("hi", contextId="c", messageId="m")

    assert task.status.state is TaskState.COMPLETED
