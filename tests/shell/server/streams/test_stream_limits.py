"""What one stream may take: it ends early, the task does not, and its reader goes on from the last event it has."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from opencode_a2a.fake_opencode import AFTER_TOOL, Say
from sansio.a2a.model import TaskState
from tests.shell.cases import every_codec, one_codec
from tests.shell.folding import artifacts_of, folded, text_of
from tests.shell.harness import DEADLINE, Serving, Wire

pytestmark = pytest.mark.anyio

LONG = "".join(f"w{index} " for index in range(40))


@every_codec
async def test_a_stream_that_is_cut_by_its_bytes_again_and_again_tells_everything_once(
    serving: Serving, wire: Wire
) -> None:
    async with serving(stream_max_bytes=3000) as agent:
        caller = agent.caller(wire)
        stream = await caller.stream("LONG 40")
        events, task_id = list(stream.events), stream.task.id
        whole = await caller.finished(task_id)
        streams = 1
        while not any(event.item.status.state.terminal for event in events if hasattr(event.item, "status")):
            more = await caller.subscribe(task_id, after=events[-1].number)
            assert len(more.events) > 1, "a stream that gets its reader no further"
            events += more.events[1:]  # each begins with the task as of the event it goes on from
            streams += 1

    assert streams > 2
    assert text_of(whole) == LONG
    assert [event.number for event in events] == sorted({event.number for event in events})
    assert folded(event.item for event in events) == artifacts_of(whole)


@one_codec
async def test_however_small_the_limit_a_stream_gets_its_reader_further(serving: Serving, wire: Wire) -> None:
    async with serving(stream_max_bytes=1) as agent:
        caller = agent.caller(wire)
        stream = await caller.stream("hi")
        await caller.finished(stream.task.id)
        cursor = stream.events[-1].number
        seen = [event.number for event in stream.events]
        for _ in range(3):
            more = await caller.subscribe(stream.task.id, after=cursor)
            assert [event.number for event in more.events] == [cursor, cursor + 1]
            cursor = more.events[-1].number
            seen.append(cursor)

    assert seen == sorted(set(seen))


@one_codec
@pytest.mark.parametrize("limit", ["stream_max_duration_seconds", "stream_idle_timeout_seconds"])
async def test_a_stream_ends_by_time_while_its_task_goes_on(serving: Serving, wire: Wire, limit: str) -> None:
    limits: dict[str, Any] = {limit: 0.4}
    async with serving(**limits) as agent:
        caller = agent.caller(wire)
        agent.fake_opencode.hold(Say, tokens=5)
        stream = await caller.stream("LONG 40")
        with anyio.fail_after(DEADLINE):
            await agent.fake_opencode.held()
        between = await caller.get(stream.task.id)
        agent.fake_opencode.release()
        ended = await caller.finished(stream.task.id)
        rest = await caller.subscribe(stream.task.id, after=stream.events[-1].number)

        assert not any(one.status.state.terminal for one in stream.statuses)
        assert between.status.state is TaskState.WORKING
        assert (ended.status.state, text_of(ended)) == (TaskState.COMPLETED, LONG)
        assert rest.state == "completed"
        assert folded([*stream.items, *rest.items[1:]]) == artifacts_of(ended)


async def test_events_keep_a_stream_that_may_not_be_idle(serving: Serving) -> None:
    async with serving(stream_idle_timeout_seconds=60.0, stream_max_bytes=10**6) as agent:
        stream = await agent.caller().stream("LONG 40")

    assert (stream.state, stream.text) == ("completed", LONG)


@one_codec
async def test_the_end_of_one_stream_is_nothing_to_the_others(serving: Serving, wire: Wire) -> None:
    async with serving(stream_max_bytes=30_000) as agent:
        caller = agent.caller(wire, stays_open=True)
        async with caller.open("PERMISSION") as other:
            await other.until(lambda: other.shared("interrupt"))
            cut = await caller.stream("LONG 300")
            await caller.send("once", taskId=other.task.id)
            await other.whole()

    assert not any(one.status.state.terminal for one in cut.statuses)
    assert (other.state, other.text) == ("completed", AFTER_TOOL)


async def test_streams_that_ended_early_make_room_for_others(serving: Serving) -> None:
    async with serving(stream_max_bytes=1, max_concurrent_streams=1) as agent:
        caller = agent.caller()
        for _ in range(3):
            stream = await caller.stream("LONG 40")
            assert stream.ended
            await agent.until(lambda: agent.running.tasks.open_streams == 0)
