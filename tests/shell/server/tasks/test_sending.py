"""What a send waits for, how much history it tells, and where a turn waits for its client."""

from __future__ import annotations

from typing import Any

import anyio
import orjson
import pytest

from opencode_a2a.fake_opencode import AFTER_TOOL, Say
from sansio.a2a.model import TaskState
from tests.shell.cases import every_codec, every_json_codec, one_codec
from tests.shell.folding import reason_of, text_of
from tests.shell.harness import DEADLINE, GRPC_03, REST_10, Agent, Serving, Wire

pytestmark = pytest.mark.anyio

ASKING = [
    ("PERMISSION", "permission", "/permission/{}/reply", {"reply": "once"}),
    ("QUESTION", "question", "/question/{}/reply", {"answers": [["A"]]}),
]


async def answer(agent: Agent, path: str, request_id: str, body: dict[str, Any]) -> None:
    """What a user answers in OpenCode itself."""
    response = await agent.opencode.post(path.format(request_id), json=body)
    assert response.status_code == 200


@every_codec
async def test_a_send_that_does_not_wait_answers_while_the_turn_runs(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        agent.fake_opencode.hold(Say, tokens=2)
        caller = agent.caller(wire)

        task = await caller.send("hi", configuration=wire.at_once())

        assert task.status.state in (TaskState.SUBMITTED, TaskState.WORKING)
        await agent.fake_opencode.held()
        assert (await caller.get(task.id)).status.state is TaskState.WORKING
        agent.fake_opencode.release()
        assert (await caller.finished(task.id)).status.state is TaskState.COMPLETED


@one_codec
async def test_a_task_is_told_of_though_opencode_does_not_answer(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        agent.fake_opencode.stall_next("POST", "/session")
        caller = agent.caller(wire)

        task = await caller.send("hi", configuration=wire.at_once())
        assert task.status.state is TaskState.SUBMITTED
        assert (await caller.get(task.id)).status.state is TaskState.SUBMITTED


@every_codec
async def test_history_is_as_long_as_asked_for(serving_on_disk: Serving, wire: Wire) -> None:
    async with serving_on_disk() as agent:
        caller = agent.caller(wire)
        whole = await caller.send("hi")
        assert len(whole.history) == 1
        for length, expected in ((0, 1 if wire == GRPC_03 else 0), (1, 1), (5, 1)):  # there, 0 is no number at all
            sent = await caller.send("hi", configuration={"historyLength": length})
            streamed = await caller.stream("hi", configuration={"historyLength": length})
            read = await caller.get(whole.id, historyLength=length)
            assert [len(one.history) for one in (sent, streamed.task, read)] == [expected] * 3


@one_codec
async def test_a_message_that_is_larger_than_what_stays_in_memory_is_streamed_from_its_beginning(
    serving_on_disk: Serving, wire: Wire
) -> None:
    text = "x" * 900_000
    async with serving_on_disk() as agent:
        stream = await agent.caller(wire).stream(f"ECHO {text}", configuration={"historyLength": 0})

    assert (stream.task.status.state, stream.task.history) == (TaskState.SUBMITTED, ())
    assert (stream.state, stream.text) == ("completed", text)


@every_json_codec
@pytest.mark.parametrize("length", [-1, "many"])
async def test_an_odd_history_length_is_refused_by_name(serving: Serving, wire: Wire, length: object) -> None:
    async with serving() as agent:
        sent = await agent.caller(wire).refused(configuration={"historyLength": length})
        read = await agent.caller(wire).refused("get", id="t", historyLength=length)

    assert "historyLength" in str(sent)
    assert "historyLength" in str(read)


@pytest.mark.parametrize(("prompt", "kind", "path", "reply"), ASKING)
@one_codec
async def test_a_send_returns_where_the_turn_waits_for_its_client(
    serving: Serving, wire: Wire, prompt: str, kind: str, path: str, reply: dict[str, Any]
) -> None:
    async with serving() as agent:
        caller = agent.caller(wire)

        task = await caller.send(prompt)

        assert task.status.state is TaskState.INPUT_REQUIRED
        assert reason_of(task)
        [asked] = (await agent.opencode.get(f"/{kind}")).json()
        await answer(agent, path, asked["id"], reply)
        done = await caller.finished(task.id)
        assert (done.status.state, text_of(done)) == (TaskState.COMPLETED, AFTER_TOOL)


@pytest.mark.parametrize(("prompt", "kind", "path", "reply"), ASKING)
async def test_a_stream_tells_of_the_question_and_of_its_answer(
    serving: Serving, prompt: str, kind: str, path: str, reply: dict[str, Any]
) -> None:
    async with serving() as agent, agent.caller(stays_open=True).open(prompt) as stream:
        await stream.until(lambda: stream.shared("interrupt"))
        [asked] = stream.shared("interrupt")
        assert (asked["type"], asked["phase"]) == (kind, "asked")
        assert asked["details"]
        assert stream.statuses[-1].status.state is TaskState.INPUT_REQUIRED

        await answer(agent, path, asked["request_id"], reply)
        await stream.whole()

        resolved = stream.shared("interrupt")[-1]
        assert (resolved["request_id"], resolved["phase"]) == (asked["request_id"], "resolved")
        assert (stream.state, stream.text) == ("completed", AFTER_TOOL)


async def test_a_permission_that_is_refused_ends_the_turn_all_the_same(serving: Serving) -> None:
    async with serving() as agent, agent.caller(stays_open=True).open("PERMISSION") as stream:
        await stream.until(lambda: stream.shared("interrupt"))
        await answer(agent, ASKING[0][2], stream.shared("interrupt")[0]["request_id"], {"reply": "reject"})
        await stream.whole()

    assert stream.statuses[-1].status.state.terminal


async def test_a_permission_a_subagent_asks_for_reaches_its_root(serving: Serving) -> None:
    async with serving() as agent, agent.caller(REST_10, stays_open=True).open("SUBTASK PERMISSION") as stream:
        await stream.until(lambda: stream.shared("interrupt"))
        await answer(agent, ASKING[0][2], stream.shared("interrupt")[0]["request_id"], {"reply": "once"})
        await stream.whole()

    assert (stream.state, stream.text) == ("completed", AFTER_TOOL)


async def test_a_client_that_hangs_up_does_not_end_the_turn(serving: Serving) -> None:
    async with serving() as agent:
        caller = agent.caller(REST_10)
        agent.fake_opencode.hold(Say, tokens=3)
        with anyio.fail_after(DEADLINE):
            async with await anyio.connect_tcp("127.0.0.1", int(agent.url.rpartition(":")[2])) as raw:
                await raw.send(caller.raw("stream", "LONG 20"))
                seen = b""
                while b"w2 " not in seen:
                    seen += await raw.receive()
        task_id = orjson.loads(seen.partition(b"data: ")[2].partition(b"\n")[0])["task"]["id"]
        agent.fake_opencode.release()

        task = await caller.finished(task_id)

    assert text_of(task) == "".join(f"w{index} " for index in range(20))
