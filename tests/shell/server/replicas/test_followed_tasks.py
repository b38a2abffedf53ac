"""Tasks that another server works on, over every store: readers here see what it stores, each event once."""

from __future__ import annotations

import gc
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager

import anyio
import pytest

from opencode_a2a.server.replicas import followed_tasks
from opencode_a2a.server.replicas.followed_tasks import FollowedTasks
from opencode_a2a.server.store import EventRow, Store, StoreUnavailableError, TasksExpired, open_store
from opencode_a2a.server.tasks.active_task import ActiveTask, Facts
from opencode_a2a.server.tasks.task_publisher import TaskPublisher
from sansio.a2a.model import Artifact, Message, Role, TaskState, TaskStatus, TextPart
from sansio.a2a.tasks.task_log import ArtifactChunk, Entry, LogEvent, MessageAdded, StatusChanged
from tests.shell.harness import DEADLINE, until
from tests.shell.store_cases import any_url as any_url
from tests.shell.store_cases import postgresql_url as postgresql_url

pytestmark = pytest.mark.anyio


def status(state: TaskState) -> StatusChanged:
    return StatusChanged(status=TaskStatus(state=state, timestamp="2026-01-01T00:00:00Z"))


def chunk(text: str, *, begun: bool = True) -> ArtifactChunk:
    artifact = Artifact(artifact_id="answer", name="response", parts=(TextPart(text=text),))
    return ArtifactChunk(artifact=artifact, append=begun, joins=begun)


class Owner:
    """The server that works on the task: it stores what it publishes."""

    def __init__(self, store: Store, task_id: str = "task-1") -> None:
        self.store = store
        facts = Facts(task_id=task_id, context_id="context-1", principal="ada", message_id="m1", created_at=1)
        self.active = ActiveTask.new(facts)
        self.active.begin_work()
        self._publisher = TaskPublisher(store)

    async def begin(self) -> None:
        asked = Message(message_id="m1", role=Role.USER, parts=(TextPart(text="hello"),))
        await self.publish(status(TaskState.SUBMITTED), MessageAdded(asked), status(TaskState.WORKING))

    async def publish(self, *events: LogEvent) -> None:
        await self._publisher.publish(self.active, events)

    async def save(self) -> None:
        row = self.active.unsaved()
        assert row is not None
        await self.store.commit([row])


@asynccontextmanager
async def opened(url: str, poll: float = 60.0) -> AsyncGenerator[tuple[Owner, FollowedTasks]]:
    async with open_store(url) as store, anyio.create_task_group() as tasks:
        owner, followed = Owner(store), FollowedTasks(store, poll)
        await owner.begin()
        tasks.start_soon(followed.run)
        yield owner, followed
        tasks.cancel_scope.cancel()


async def follow(owner: Owner, followed: FollowedTasks) -> ActiveTask:
    stored = await owner.store.task(owner.active.facts.task_id)
    assert stored is not None
    return await followed.follow(stored)


async def read(active: ActiveTask, seen: list[Entry]) -> None:
    async for entries in active.read(active.visible):
        seen.extend(entries)


async def test_a_reader_sees_what_the_owner_stores_under_the_owners_numbers(url: str) -> None:
    async with opened(url) as (owner, followed):
        active = await follow(owner, followed)
        seen: list[Entry] = []
        async with anyio.create_task_group() as reading:
            reading.start_soon(read, active, seen)
            await anyio.wait_all_tasks_blocked()
            for text in ("one", " two", " three"):
                await owner.publish(chunk(text, begun=text != "one"))
                await owner.save()
                followed.note(["task-1", "of nobody"])
                with anyio.fail_after(DEADLINE):
                    await active.changed(owner.active.log.last - 1)
            await owner.publish(status(TaskState.COMPLETED))
            followed.note(["task-1"])

        assert [entry.number for entry in seen] == list(range(seen[0].number, owner.active.log.last + 1))
        assert active.task() == owner.active.task()
        assert active.over


@pytest.mark.parametrize("most", [1, 1 << 20])
async def test_much_that_changed_is_read_a_part_at_a_time(
    url: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followed_tasks, "READ_BYTES", most)
    reads: list[int] = []
    async with open_store(url) as store, anyio.create_task_group() as tasks:
        later_events = store.later_events

        async def noted(after: Mapping[str, int], most: int) -> Sequence[EventRow]:
            rows = await later_events(after, most)
            reads.append(len(rows))
            return rows

        monkeypatch.setattr(store, "later_events", noted)
        followed = FollowedTasks(store, 60.0)
        owners = [Owner(store, f"task-{number}") for number in (1, 2)]
        copies = []
        for owner in owners:
            await owner.begin()
            copies.append(await follow(owner, followed))
            for text in ("one", " two", " three", " four"):
                await owner.publish(chunk(text, begun=text != "one"))
                await owner.save()
        tasks.start_soon(followed.run)
        for owner, active in zip(owners, copies, strict=True):
            with anyio.fail_after(DEADLINE):
                await active.changed(owner.active.log.last - 1)
        tasks.cancel_scope.cancel()

    assert [active.task() for active in copies] == [owner.active.task() for owner in owners]
    assert [count for count in reads if count] == ([1] * 8 if most == 1 else [8])


async def test_what_changes_within_a_moment_is_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_store("memory") as store, anyio.create_task_group() as tasks:
        owner, followed = Owner(store), FollowedTasks(store, 60.0, gathering=0.3)
        await owner.begin()
        active = await follow(owner, followed)
        reads, later_events = [], store.later_events

        async def noted(after: Mapping[str, int], most: int) -> Sequence[EventRow]:
            reads.append(after)
            return await later_events(after, most)

        monkeypatch.setattr(store, "later_events", noted)
        tasks.start_soon(followed.run)
        for text in ("one", " two", " three"):
            await owner.publish(chunk(text, begun=text != "one"))
            await owner.save()
            followed.note(["task-1"])
            if text == "one":
                with anyio.fail_after(DEADLINE):
                    await active.changed(owner.active.log.last - 1)
        with anyio.fail_after(DEADLINE):
            await active.changed(owner.active.log.last - 1)
        tasks.cancel_scope.cancel()

    assert [after["task-1"] for after in reads] == [3, 4]


async def test_readers_of_one_task_share_it_and_it_goes_with_the_last(url: str) -> None:
    async with opened(url) as (owner, followed):
        found: list[ActiveTask] = []

        async def look() -> None:
            found.append(await follow(owner, followed))

        async with anyio.create_task_group() as looking:
            for _ in range(20):
                looking.start_soon(look)

        assert len({id(active) for active in found}) == len(followed) == 1
        assert followed.get("task-1") is found[0]
        found.clear()
        await until(lambda: gc.collect() >= 0 and not len(followed))  # what was stored meanwhile may be read yet
        assert followed.get("task-1") is None


@pytest.mark.parametrize("poll", [60.0, 0.01])
async def test_a_task_that_was_looked_at_goes_with_its_last_reader_too(poll: float) -> None:
    async with opened("memory", poll) as (owner, followed):
        active = await follow(owner, followed)
        await owner.publish(chunk("one", begun=False))
        await owner.save()
        if poll > 1:
            followed.note(["task-1"])
        with anyio.fail_after(DEADLINE):
            await active.changed(owner.active.log.last - 1)
        growing = followed.growing
        del active
        await until(lambda: gc.collect() >= 0 and not len(followed))

        assert (growing, followed.growing) == (1, 0)


async def test_what_was_stored_between_the_look_and_the_following_is_not_missed(url: str) -> None:
    async with opened(url) as (owner, followed):
        stored = await owner.store.task("task-1")
        assert stored is not None
        await owner.publish(status(TaskState.COMPLETED))  # and its notification came before anybody followed

        active = await followed.follow(stored)
        with anyio.fail_after(DEADLINE):
            task = await active.settled()

        assert task.status.state is TaskState.COMPLETED
        assert active.log.last == owner.active.log.last


async def test_who_follows_later_has_all_that_was_stored_by_then(url: str) -> None:
    async with open_store(url) as store:
        owner, followed = Owner(store), FollowedTasks(store)  # which reads nothing that is notified
        await owner.begin()
        first = await follow(owner, followed)
        await owner.publish(chunk("one", begun=False))
        await owner.save()
        later = await follow(owner, followed)

        assert later is first
        assert later.task() == owner.active.task()


async def test_a_notification_that_was_lost_is_made_up_for(url: str) -> None:
    async with opened(url, poll=0.05) as (owner, followed):
        active = await follow(owner, followed)
        await owner.publish(status(TaskState.COMPLETED))

        with anyio.fail_after(DEADLINE):
            task = await active.settled()

        assert task.status.state is TaskState.COMPLETED


async def test_a_task_that_ends_between_two_looks_is_seen_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened("memory", poll=0.02) as (owner, followed):
        active = await follow(owner, followed)
        ends = owner.store.ends

        async def ending(task_ids: list[str]) -> Mapping[str, int]:
            if not owner.active.log.state.terminal:
                await owner.publish(status(TaskState.COMPLETED))
            return await ends(task_ids)

        monkeypatch.setattr(owner.store, "ends", ending)
        with anyio.fail_after(DEADLINE):
            task = await active.settled()

        assert task.status.state is TaskState.COMPLETED


async def test_everything_may_have_changed(url: str) -> None:
    async with opened(url) as (owner, followed):
        active = await follow(owner, followed)
        await owner.publish(status(TaskState.COMPLETED))
        followed.note(None)

        with anyio.fail_after(DEADLINE):
            await active.settled()


async def test_an_adopter_goes_on_beyond_a_gap_of_numbers(url: str) -> None:
    async with opened(url) as (owner, followed):
        active = await follow(owner, followed)
        await owner.store.commit(owner.active.recover())
        await owner.publish(status(TaskState.COMPLETED))
        followed.note(["task-1"])

        with anyio.fail_after(DEADLINE):
            await active.settled()
        assert active.log.last == owner.active.log.last > 1 << 20


async def test_a_task_whose_end_is_kept_no_longer_ends_its_streams(url: str) -> None:
    async with opened(url, poll=0.05) as (owner, followed):
        stored = await owner.store.task("task-1")
        assert stored is not None
        await owner.publish(status(TaskState.COMPLETED))
        await owner.store.commit([TasksExpired(1 << 62)])
        active = await followed.follow(stored)
        seen: list[Entry] = []
        with anyio.fail_after(DEADLINE):
            await read(active, seen)

        assert active.at_rest


async def test_the_end_of_this_server_ends_the_streams_and_not_the_task(url: str) -> None:
    async with opened(url) as (owner, followed):
        active = await follow(owner, followed)
        followed.leave()
        seen: list[Entry] = []
        with anyio.fail_after(DEADLINE):
            await read(active, seen)

        assert (seen, active.log.state) == ([], TaskState.WORKING)


async def test_a_store_that_fails_for_a_while_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened("memory", poll=0.02) as (owner, followed):
        active = await follow(owner, followed)
        later, failures = owner.store.later_events, iter(range(3))

        async def failing(after: dict[str, int], most: int) -> list[EventRow]:
            if next(failures, None) is not None:
                raise StoreUnavailableError("the database is away")
            return list(await later(after, most))

        monkeypatch.setattr(owner.store, "later_events", failing)
        await owner.publish(status(TaskState.COMPLETED))
        followed.note(["task-1"])

        with anyio.fail_after(DEADLINE):
            await active.settled()
        assert next(failures, None) is None


async def test_a_read_that_ends_after_the_task_was_handed_over_stores_nothing_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_store("memory") as store, anyio.create_task_group() as tasks:
        owner, followed = Owner(store), FollowedTasks(store, 60.0)
        await owner.begin()
        active = await follow(owner, followed)
        later_events, ends, begun = store.later_events, anyio.Event(), anyio.Event()

        async def late(after: Mapping[str, int], most: int) -> Sequence[EventRow]:
            rows = await later_events(after, most)
            if not begun.is_set():
                begun.set()
                await ends.wait()
            return rows

        await owner.publish(chunk("one", begun=False))
        await owner.save()
        monkeypatch.setattr(store, "later_events", late)
        tasks.start_soon(followed.run)
        followed.note(["task-1"])
        await begun.wait()
        stored = await store.task("task-1")
        assert stored is not None
        assert await followed.hand_over(stored) is active
        await store.commit(active.recover())
        active.publish([chunk(" two")])
        ends.set()
        await anyio.wait_all_tasks_blocked()
        row = active.unsaved()
        tasks.cancel_scope.cancel()

    assert row is not None
    assert row.last_seq == active.log.last


async def test_a_lost_notification_is_made_up_for_while_other_tasks_change_all_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_store("memory") as store, anyio.create_task_group() as tasks:
        followed = FollowedTasks(store, 0.05, gathering=0.001)
        quiet, busy = Owner(store), Owner(store, "task-2")
        await quiet.begin()
        await busy.begin()
        active = await follow(quiet, followed)
        stored = await store.task("task-2")
        assert stored is not None
        other = await followed.follow(stored)
        later_events = store.later_events

        async def noting(after: Mapping[str, int], most: int) -> Sequence[EventRow]:
            followed.note([other.facts.task_id])
            return await later_events(after, most)

        monkeypatch.setattr(store, "later_events", noting)
        tasks.start_soon(followed.run)
        followed.note(["task-2"])
        await quiet.publish(status(TaskState.COMPLETED))  # and its notification is lost
        with anyio.fail_after(DEADLINE):
            await active.settled()
        tasks.cancel_scope.cancel()
