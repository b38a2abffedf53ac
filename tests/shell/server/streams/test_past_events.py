"""Streams that begin with events that only the store has, while the task goes on."""

from __future__ import annotations

import pytest

from opencode_a2a.server.store import EventRow
from opencode_a2a.server.store.memory import MemoryStore
from opencode_a2a.server.tasks.active_task import ActiveTask, Facts
from opencode_a2a.server.tasks.task_streams import TaskStreams
from sansio.a2a.model import Artifact, Message, Role, TaskState, TaskStatus, TextPart
from sansio.a2a.tasks.task_log import ArtifactChunk, LogEvent, MessageAdded, StatusChanged

pytestmark = pytest.mark.anyio

_LARGE = "x" * 900_000  # more than stays in memory


def text(artifact_id: str) -> LogEvent:
    return ArtifactChunk(artifact=Artifact(artifact_id=artifact_id, parts=(TextPart(text=_LARGE),)))


class GoingOn(MemoryStore):
    """A store whose task says more while its events are read, `times` times."""

    def __init__(self, active: ActiveTask, times: int) -> None:
        super().__init__()
        self.active = active
        self.times = times

    async def say(self, *events: LogEvent) -> None:
        self.active.publish(events)
        await self.commit(self.active.rows())
        self.active.reveal(self.active.log.last)

    async def events(self, task_id: str) -> tuple[EventRow, ...]:
        rows = await super().events(task_id)
        if self.times:
            self.times -= 1
            await self.say(text(f"a{self.times}"))
        return rows


@pytest.mark.parametrize(("times", "first"), [(1, TaskState.SUBMITTED), (5, TaskState.WORKING)])
async def test_what_leaves_the_memory_while_the_store_is_read_is_read_again(times: int, first: TaskState) -> None:
    facts = Facts(task_id="t", context_id="c", principal="p", message_id="m", created_at=1)
    active = ActiveTask.new(facts)
    store = GoingOn(active, times)
    message = Message(message_id="m", role=Role.USER, parts=(TextPart(text="hi"),))
    await store.say(MessageAdded(message), StatusChanged(status=TaskStatus(state=TaskState.SUBMITTED)))
    await store.say(StatusChanged(status=TaskStatus(state=TaskState.WORKING)), text("a"))

    stream = await TaskStreams(store).resumed(active, 2, stays_open=False)

    task = stream.first[0]
    assert getattr(task, "status", None) == TaskStatus(state=first)
    assert stream.cursor == active.visible
    seen = [entry.number for entry in stream.past]
    assert seen == (list(range(3, active.visible + 1)) if times == 1 else [])
