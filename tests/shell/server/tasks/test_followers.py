"""A reader who waits takes tokens in the step that publishes them; what it does not take, it is woken for."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, asynccontextmanager

import anyio
import pytest
from attrs import define, field

from opencode_a2a.server.tasks.active_task import ActiveTask, Facts
from sansio.a2a.model import Artifact, TaskState, TaskStatus, TextPart
from sansio.a2a.tasks.task_log import ArtifactChunk, Entry, StatusChanged
from tests.shell.harness import DEADLINE, until

pytestmark = pytest.mark.anyio

FACTS = Facts(task_id="t", context_id="c", principal="alice", message_id="m", created_at=1)
WORKING = StatusChanged(status=TaskStatus(state=TaskState.WORKING, timestamp="2026-01-01T00:00:00Z"))


def token(text: str) -> ArtifactChunk:
    return ArtifactChunk(artifact=Artifact(artifact_id="a", parts=(TextPart(text=text),)), append=True, joins=True)


@define(eq=False, slots=False)
class Reader:
    """Reads a task from event 1 on. `room`: how many more events it takes at once."""

    active: ActiveTask
    room: int = 1000
    taken: list[int] = field(factory=list)
    read: list[int] = field(factory=list)
    pokes: int = 0

    def take(self, entries: Sequence[Entry]) -> bool:
        if len(entries) > self.room or not all(isinstance(entry.event, ArtifactChunk) for entry in entries):
            return False
        self.room -= len(entries)
        self.taken += [entry.number for entry in entries]
        return True

    async def run(self) -> None:
        async with aclosing(self.active.read(1, self.take)) as batches:
            async for batch in batches:
                self.read += [entry.number for entry in batch]
                self.pokes += not batch


@asynccontextmanager
async def reading(*readers: Reader) -> AsyncGenerator[None]:
    """Readers that wait; each is left at the end."""
    with anyio.fail_after(DEADLINE):
        async with anyio.create_task_group() as tasks:
            for reader in readers:
                tasks.start_soon(reader.run)
            await anyio.wait_all_tasks_blocked()
            yield
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()


@pytest.fixture
def active() -> ActiveTask:
    made = ActiveTask.new(FACTS)
    made.publish([WORKING])
    made.reveal(1)
    made.publish([token("begun ")])
    return made


async def test_tokens_are_taken_in_the_step_that_publishes_them(active: ActiveTask) -> None:
    reader = Reader(active)
    async with reading(reader):
        active.publish([token("a"), token("b")])
        assert reader.taken == [3, 4]
        active.publish([token("c")])

    assert (reader.read, reader.taken) == ([2], [3, 4, 5])


async def test_what_is_not_taken_is_read_with_all_that_came_since(active: ActiveTask) -> None:
    reader = Reader(active, room=2)
    async with reading(reader):
        active.publish([token("a"), token("b")])
        active.publish([token("c")])
        active.publish([token("d")])
        await until(lambda: reader.read)
        reader.room = 10
        await anyio.wait_all_tasks_blocked()
        active.publish([token("e")])

    assert (reader.read, reader.taken) == ([2, 5, 6], [3, 4, 7])


async def test_one_that_is_woken_and_has_room_again_meanwhile_misses_nothing(active: ActiveTask) -> None:
    reader = Reader(active, room=0)
    async with reading(reader):
        active.publish([token("a")])
        reader.room = 10
        active.publish([token("b")])
        assert reader.taken == [3, 4]

    assert reader.read == [2]
    assert reader.pokes == 1


async def test_more_than_is_taken_in_one_step_is_read(active: ActiveTask) -> None:
    reader = Reader(active)
    async with reading(reader):
        active.publish([token("x")] * 65)

    assert (reader.taken, len(reader.read)) == ([], 66)


async def test_of_many_readers_the_first_ones_take_and_the_others_read(active: ActiveTask) -> None:
    readers = [Reader(active) for _ in range(40)]
    async with reading(*readers):
        active.publish([token("a")])

    assert sum(reader.taken == [3] for reader in readers) == 32
    assert all(reader.taken + reader.read[1:] == [3] for reader in readers)


async def test_a_reader_that_fails_does_not_fail_whoever_publishes(active: ActiveTask) -> None:
    def failing(entries: Sequence[Entry]) -> bool:
        raise ValueError(len(entries))

    failed, other = Reader(active), Reader(active)
    failed.take = failing  # type: ignore[method-assign]
    async with reading(failed, other):
        active.publish([token("a")])

    assert (failed.read, other.taken) == ([2, 3], [3])


async def test_a_poke_wakes_those_who_follow(active: ActiveTask) -> None:
    reader = Reader(active)
    async with reading(reader):
        active.poke()
        await until(lambda: reader.pokes)
        active.publish([token("a")])

    assert (reader.pokes, reader.taken) == (1, [3])
