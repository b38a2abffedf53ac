"""Makes a task in memory of what the store has of it, in steps: a large one takes milliseconds."""

from __future__ import annotations

from collections.abc import Sequence

import anyio.lowlevel

from opencode_a2a.server.steps import in_turns
from opencode_a2a.server.store import EventRow, StoredTask
from opencode_a2a.server.tasks.active_task import ActiveTask
from sansio.a2a.model import Task
from sansio.a2a.tasks.task_log import LogEvent, TaskLog
from sansio.a2a.tasks.task_log_codec import decode_events, decode_task, read_events, read_task_in_steps
from sansio.large_json import decoded

_MUCH = 128 * 1024  # bytes that are decoded in one go
_EVENTS_AT_ONCE = 64


async def loaded(stored: StoredTask, kept: Sequence[EventRow] | None = None) -> ActiveTask:
    """A task as the store has it; with all the event rows that were `kept`, its past can be looked at too.

    Raises `LocalError` for what cannot be read.
    """
    row = stored.row
    task = await _task(row.snapshot)
    runs: list[tuple[int, list[LogEvent]]] = []
    size = 0
    for run in stored.events if kept is None else kept:
        runs.append((run.first_seq, await events_of(run.body)))
        size += len(run.body)
        if size > _MUCH:
            size = 0
            await anyio.lowlevel.checkpoint()
    log = await in_turns(TaskLog.replaying(task, row.last_seq, runs))
    return ActiveTask.restored(row, log)


async def _task(snapshot: bytes) -> Task:
    if len(snapshot) <= _MUCH:
        return decode_task(snapshot)
    try:
        value = await in_turns(decoded(snapshot))
    except ValueError:  # nested deeper than is decoded in steps
        return decode_task(snapshot)
    await anyio.lowlevel.checkpoint()
    task = await in_turns(read_task_in_steps(value))
    await anyio.lowlevel.checkpoint()
    return task


async def events_of(body: bytes) -> list[LogEvent]:
    """Decode the events of a row, a large one in steps. Raises `LocalError` for what cannot be read."""
    if len(body) <= _MUCH:
        return decode_events(body)
    try:
        value = await in_turns(decoded(body))
    except ValueError:
        return decode_events(body)
    events: list[LogEvent] = []
    for start in range(0, len(value), _EVENTS_AT_ONCE):
        events += read_events(value[start : start + _EVENTS_AT_ONCE])
        await anyio.lowlevel.checkpoint()
    return events
