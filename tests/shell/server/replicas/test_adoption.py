"""A server that takes over tasks while its store fails goes on with all of them once the store works."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence

import anyio
import pytest
from attrs import define, evolve, field

from opencode_a2a.server.replicas.adoption import Adoption
from opencode_a2a.server.replicas.followed_tasks import FollowedTasks
from opencode_a2a.server.store import EventRow, MemoryStore, StoredTask, StoreUnavailableError
from opencode_a2a.server.tasks.active_task import ActiveTask
from opencode_a2a.server.tasks.keyed_lock import LocalLocks
from opencode_a2a.server.tasks.loading import loaded
from opencode_a2a.server.tasks.running_task import RunningTask
from opencode_a2a.server.tasks.task_publisher import TaskPublisher
from opencode_a2a.server.tasks.task_registry import TaskRegistry
from sansio.a2a.model import Message, Role, TaskState, TextPart
from sansio.a2a.replicas.changes import ORPHANS, Changes
from sansio.a2a.tasks.task_log import MessageAdded
from tests.shell.harness import DEADLINE
from tests.shell.server.replicas.test_followed_tasks import Owner, status

pytestmark = pytest.mark.anyio

ME = "this server"


@define(eq=False)
class Left:
    """An ownership to which others leave tasks, once."""

    left: list[StoredTask]
    replica_id: str = ME
    lost: bool = False
    feed: list[Changes] = field(factory=lambda: [ORPHANS])

    async def adopt(self, limit: int) -> list[StoredTask]:
        taken, self.left = self.left[:limit], self.left[limit:]
        return taken

    async def changes(self) -> AsyncIterator[Changes]:
        while self.feed:
            yield self.feed.pop()


async def nothing() -> None:
    """Deliver no notification."""


async def stored(store: MemoryStore, task_id: str) -> StoredTask:
    """A task that somebody works on."""
    owner = Owner(store, task_id)
    await owner.begin()
    found = await store.task(task_id)
    assert found is not None
    return found


async def test_what_was_taken_over_and_could_not_begin_begins_later() -> None:
    store = MemoryStore()
    names = ("a", "b", "c", "gone")
    rows = [evolve((await stored(store, name)).row, replica_id=ME) for name in names]
    await store.commit(rows)
    ownership = Left([StoredTask(row, ()) for row in rows])
    store.ownership = ownership  # type: ignore[assignment]
    begun: list[str] = []
    failures = 2

    async def recover(active: ActiveTask) -> None:
        nonlocal failures
        if begun and failures:
            failures -= 1
            await store.commit([evolve(rows[3], replica_id="another server")])
            raise StoreUnavailableError("away")
        begun.append(active.facts.task_id)

    with anyio.fail_after(DEADLINE):
        adoption = Adoption(store, FollowedTasks(store), LocalLocks(), recover, nothing, lambda: None, again=0.0)
        await adoption.run()

    assert begun == ["a", "b", "c"]
    assert adoption.total == 4  # each once, though some are tried again


async def test_tasks_begin_with_all_their_events_also_where_one_read_has_not_all() -> None:
    store = MemoryStore()
    large = Message(message_id="m2", role=Role.AGENT, parts=(TextPart(text="x" * 700_000),))
    left: list[StoredTask] = []
    for name in ("a", "b", "c"):
        owner = Owner(store, name)
        await owner.begin()
        await owner.publish(MessageAdded(large), status(TaskState.INPUT_REQUIRED))
        found = await store.task(name)
        assert found is not None
        left.append(StoredTask(evolve(found.row, replica_id=ME), found.events))
    ownership = Left(left)
    store.ownership = ownership  # type: ignore[assignment]
    begun: dict[str, list[int]] = {}

    async def recover(active: ActiveTask) -> None:
        begun[active.facts.task_id] = [entry.number for entry in active.log.since(0)]

    with anyio.fail_after(DEADLINE):
        await Adoption(store, FollowedTasks(store), LocalLocks(), recover, nothing, lambda: None, again=0.0).run()

    assert begun == {name: [1, 2, 3, 4, 5] for name in ("a", "b", "c")}


async def test_what_was_lost_again_while_it_was_read_does_not_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    found = await stored(store, "a")
    followed = FollowedTasks(store)
    reader = await followed.follow(found)
    adopted = StoredTask(evolve(found.row, replica_id=ME), ())
    ownership = Left([adopted])
    store.ownership = ownership  # type: ignore[assignment]
    later_events = store.later_events
    begun: list[ActiveTask] = []

    async def taken_over(after: Mapping[str, int], most: int) -> Sequence[EventRow]:
        ownership.replica_id = "this server, joined again"
        return await later_events(after, most)

    async def recover(active: ActiveTask) -> None:
        begun.append(active)

    monkeypatch.setattr(store, "later_events", taken_over)
    with anyio.fail_after(DEADLINE):
        await Adoption(store, followed, LocalLocks(), recover, nothing, lambda: None, again=0.0).run()

    assert (begun, reader.over) == ([], True)


async def test_what_cannot_be_carried_on_keeps_no_place(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore()
    good, bad, worse = [evolve((await stored(store, name)).row, replica_id=ME) for name in ("good", "bad", "worse")]
    ownership = Left([StoredTask(row, ()) for row in (evolve(bad, snapshot=b"{"), worse, good)])
    store.ownership = ownership  # type: ignore[assignment]
    locks = Leaving()
    begun: list[str] = []

    async def recover(active: ActiveTask) -> None:
        if active.facts.task_id == "worse":
            raise ValueError("a bug")
        begun.append(active.facts.task_id)

    with anyio.fail_after(DEADLINE):
        await Adoption(store, FollowedTasks(store), locks, recover, nothing, lambda: None, again=0.0).run()

    assert begun == ["good"]
    assert locks.left == ["bad", "worse"]
    assert len(caplog.records) == 3  # one of how many are resumed


class Leaving(LocalLocks):
    """Notes whose places are given up."""

    def __init__(self) -> None:
        super().__init__()
        self.left: list[str] = []

    def leave_all(self, holder: str) -> None:
        self.left.append(holder)


async def test_the_end_of_abandoned_work_does_not_end_the_work_that_followed_it_here() -> None:
    store = MemoryStore()
    registry = TaskRegistry(store, LocalLocks(), FollowedTasks(store))
    found = await stored(store, "a")
    first, second = [RunningTask(await loaded(found, ()), str, TaskPublisher(store)) for _ in range(2)]
    registry.add(first)
    registry.add(second)

    registry.remove(first)
    assert registry.running("a") is second
    registry.remove(second)
    assert not len(registry)
