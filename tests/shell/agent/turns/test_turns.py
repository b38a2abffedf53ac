"""A whole turn on every line and binding: what a send answers, what a stream says, and that both are one task."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from attrs import field, frozen

from opencode_a2a.agent.turns.running_turn import RunningTurn
from opencode_a2a.fake_opencode import AFTER_TOOL, HELLO, SPACED
from opencode_a2a.fake_opencode.scripts import AFTER_THOUGHT, BEFORE_TOOL, THOUGHT, TOOL_OUTPUT
from runtime_http.stream import HttpStream
from sansio.a2a.bindings.http_messages import Request
from sansio.a2a.cards.parse import SERVED
from sansio.a2a.model import DataPart, Task, TaskState, TextPart
from tests.shell.cases import every_codec
from tests.shell.folding import artifacts_of, folded, reason_of, text_of
from tests.shell.harness import ALL_WIRES, REST_03, RPC_03, RPC_10, WIRES, Serving, Stream, Wire

pytestmark = pytest.mark.anyio
MARK = "zq-marker"


@frozen(kw_only=True)
class Turn:
    """What a prompt leads to. `parts`: the answer, a text for each of OpenCode's text parts."""

    parts: tuple[str, ...]
    reasoning: str | None = None
    tool: dict[str, Any] = field(factory=dict)
    state: TaskState = TaskState.COMPLETED


_BASH = {"tool": "bash", "status": "completed", "output": TOOL_OUTPUT}
TURNS = {
    f"plain {MARK}": Turn(parts=(HELLO,)),
    f"THINK {MARK}": Turn(parts=(AFTER_THOUGHT,), reasoning=THOUGHT),
    f"TOOL {MARK}": Turn(parts=(AFTER_TOOL,), tool=_BASH),
    f"BADTOOL {MARK}": Turn(parts=(AFTER_TOOL,), tool={"tool": "read", "status": "error"}),
    f"STEPS {MARK}": Turn(parts=(BEFORE_TOOL, AFTER_TOOL), tool=_BASH),
    f"SPACE {MARK}": Turn(parts=(SPACED,)),
    f"RETRY {MARK}": Turn(parts=(HELLO,)),
    f"EMPTY {MARK}": Turn(parts=()),
    "SUBTASK ECHO from-the-child": Turn(parts=(AFTER_TOOL,), tool={"tool": "task", "status": "completed"}),
    "ECHO  two  spaces \n\tand ☂ ": Turn(parts=(" two  spaces \n\tand ☂ ",)),
    "LONG 500": Turn(parts=("".join(f"w{index} " for index in range(500)),)),
    f"FAIL401 {MARK}": Turn(parts=(), state=TaskState.AUTH_REQUIRED),
}


def check_stream(stream: Stream) -> None:
    """What holds of every stream that is read to its end."""
    numbers = [event.number for event in stream.events]
    assert numbers == sorted(set(numbers))
    states = [item.status.state for item in stream.statuses]
    ends = [index for index, state in enumerate(states) if state.closing]
    assert ends == [len(stream.statuses) - 1]
    assert stream.items[-1] is stream.statuses[-1]
    for name in {chunk.artifact.artifact_id for chunk in stream.chunks}:
        chunks = [chunk for chunk in stream.chunks if chunk.artifact.artifact_id == name]
        assert not chunks[0].append
        assert [chunk.last_chunk for chunk in chunks] == [False] * (len(chunks) - 1) + [True]


def check_task(task: Task, turn: Turn) -> None:
    assert task.status.state is turn.state
    artifact_streams = {artifact.name: artifact for artifact in task.artifacts}
    if turn.parts:
        assert task.artifacts[0].name == "response"
        assert [part.text for part in task.artifacts[0].parts if isinstance(part, TextPart)] == list(turn.parts)
    else:
        assert "response" not in artifact_streams
    reasoning = artifact_streams.get("reasoning")
    assert (reasoning and "".join(p.text for p in reasoning.parts if isinstance(p, TextPart))) == turn.reasoning
    calls = [part.data for artifact in task.artifacts for part in artifact.parts if isinstance(part, DataPart)]
    assert [{name: call.get(name) for name in turn.tool} for call in calls] == ([turn.tool] if turn.tool else [])


@every_codec
async def test_sent_and_streamed_turns_are_the_same_task(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        caller = agent.caller(wire)
        for prompt, expected in TURNS.items():
            sent = await caller.send(prompt)
            check_task(sent, expected)

            stream = await caller.stream(prompt)
            check_stream(stream)
            read = await caller.get(stream.task.id)
            check_task(read, expected)
            assert folded(stream.items) == artifacts_of(read)
            assert [(one.name, one.text) for one in artifacts_of(sent)] == [
                (one.name, one.text) for one in artifacts_of(read)
            ]
            assert artifacts_of(await caller.get(sent.id)) == artifacts_of(sent)
            assert MARK not in str(folded(stream.items))
            assert [part.text for part in read.history[0].parts if isinstance(part, TextPart)] == [prompt]


async def test_a_stream_begins_with_the_task_and_goes_on_to_work(serving: Serving) -> None:
    async with serving() as agent:
        stream = await agent.caller().stream("hi")

    assert stream.task.status.state is TaskState.SUBMITTED
    assert stream.statuses[0].status.state is TaskState.WORKING
    assert {one.task_id for one in stream.statuses} | {one.task_id for one in stream.chunks} == {stream.task.id}


async def test_only_version_0_3_marks_the_last_event(serving: Serving) -> None:
    async with serving() as agent:
        for wire in WIRES:
            stream = await agent.caller(wire).stream("TOOL")
            finals = [event.json["final"] for event in stream.events if "final" in event.json]
            count = len(stream.statuses)
            assert finals == ([False] * (count - 1) + [True] if wire.version == "0.3" else [])


async def test_version_0_3_finds_the_answer_in_the_status_message_too(serving: Serving) -> None:
    async with serving() as agent:
        for wire in (RPC_03, REST_03):
            task = await agent.caller(wire).send("hi")
            assert reason_of(task) == HELLO == text_of(task)
        assert reason_of(await agent.caller(RPC_10).send("hi")) == ""


async def test_a_refusal_of_the_provider_is_told_with_its_reason(serving: Serving) -> None:
    async with serving() as agent:
        stream = await agent.caller().stream("FAIL401")

    last = stream.statuses[-1]
    assert last.status.state is TaskState.AUTH_REQUIRED
    assert "401" in str(last.status.message)
    assert (last.metadata or {})["opencode"]["error"] == {"type": "UPSTREAM_UNAUTHORIZED", "upstream_status": 401}


async def test_retries_show_as_progress(serving: Serving) -> None:
    async with serving() as agent:
        stream = await agent.caller().stream("RETRY")

    retries = [one for one in stream.shared("progress") if one["type"] == "retry"]
    assert [(one["attempt"], one["status"]) for one in retries] == [(1, "retry")]
    assert stream.text == HELLO


async def test_blocks_are_labelled_in_order(serving: Serving) -> None:
    async with serving() as agent:
        stream = await agent.caller().stream("THINK")

    labels = [(chunk.artifact.metadata or {})["shared"]["stream"] for chunk in stream.chunks]
    assert list(dict.fromkeys(label["block_type"] for label in labels)) == ["reasoning", "text"]
    sequence = [label["sequence"] for label in labels]
    assert sequence == sorted(set(sequence))
    assert len({label["event_id"] for label in labels}) == len(labels)


async def test_a_finished_task_tells_its_session_and_usage(serving: Serving) -> None:
    async with serving() as agent:
        stream = await agent.caller().stream("hi")
        task = await agent.caller().get(stream.task.id)

    shared = (task.metadata or {})["shared"]
    assert shared["session"]["id"].startswith("ses_")
    assert shared["usage"]["input_tokens"] == 11
    assert stream.shared("usage") == [shared["usage"]]


async def test_streams_whose_answer_comes_before_the_prompt_is_accepted_are_complete(serving: Serving) -> None:
    async with serving() as agent:
        for number in range(50):
            stream = await agent.caller(WIRES[number % len(WIRES)]).stream("INSTANT STEPS")
            check_stream(stream)
            assert (stream.state, stream.text) == ("completed", BEFORE_TOOL + AFTER_TOOL)


def _kept() -> int:
    """The number of requests and turns that are in memory."""
    return sum(type(one) in (HttpStream, RunningTurn) for one in gc.get_objects())


def _requests() -> int:
    """Those that are kept, but for handshakes of WebSocket: they have no body, and are kept with their connection."""
    kept = [one for one in gc.get_objects() if type(one) is Request]
    return sum((one.method, one.path) != ("GET", "/websocket") for one in kept)


async def test_a_request_that_is_over_leaves_nothing_to_the_garbage_collector(serving: Serving) -> None:
    """The collector took an eighth of the CPU of a streamed request, as long as it had all of a turn to find."""
    async with serving() as agent:
        await agent.caller().stream("the first, which loads what is loaded once")
        gc.collect()
        gc.disable()
        try:
            before = _kept()  # OpenCode's event bus is a request, too
            await agent.caller().stream("another")
            await agent.until(lambda: _kept() <= before)
        finally:
            gc.enable()


@pytest.mark.parametrize("wire", ALL_WIRES, ids=str)
async def test_a_refused_request_leaves_nothing_to_the_garbage_collector(serving: Serving, wire: Wire) -> None:
    """Its error had the frames that have the request: 50 bodies of a megabyte waited for the collector."""
    async with serving(bindings=SERVED) as agent:
        await agent.caller(wire).stream("the first, which loads what is loaded once")
        gc.collect()
        gc.disable()
        try:
            before = _requests()
            for _ in range(3):
                with pytest.raises(AssertionError):
                    await agent.caller(wire).get("a-task-that-is-not-there")
            await agent.until(lambda: _requests() <= before)
        finally:
            gc.enable()
