"""A task that meets the loss of its server's lease: it goes on if it began since, and ends here if others have it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest

from opencode_a2a.server import AgentHooks, AgentRequest, RunningTask
from opencode_a2a.server.replicas.followed_tasks import FollowedTasks
from opencode_a2a.server.store import (
    FencedError,
    MemoryStore,
    StoreError,
    StoreUnavailableError,
    Write,
    open_store,
)
from opencode_a2a.server.tasks.active_task import ActiveTask, Facts
from opencode_a2a.server.tasks.keyed_lock import LocalLocks
from opencode_a2a.server.tasks.task_publisher import TaskPublisher
from opencode_a2a.server.tasks.task_registry import TaskRegistry
from opencode_a2a.server.tasks.task_runner import TaskRunner
from sansio.a2a.model import Message, Role, SendRequest, TaskState, TaskStatus, TextPart
from sansio.a2a.tasks.task_log import StatusChanged
from tests.shell.harness import DEADLINE

pytestmark = pytest.mark.anyio

FACTS = Facts(task_id="t", context_id="c", principal="ada", message_id="m", created_at=1)


class Step:
    """Meets the loss of the lease a number of times."""

    def __init__(self, losses: int) -> None:
        self.losses = losses

    async def __call__(self) -> str:
        self.losses -= 1
        if self.losses >= 0:
            raise FencedError("another server has taken over the tasks of this one")
        return "done"


async def test_a_task_that_began_since_goes_on() -> None:
    publisher = TaskPublisher(MemoryStore())

    assert await publisher.patiently(ActiveTask.new(FACTS), Step(1)) == "done"


async def test_a_task_that_others_have_does_not() -> None:
    publisher, active = TaskPublisher(MemoryStore()), ActiveTask.new(FACTS)
    active.leave_to_others(FencedError("another server works on the task now"))

    with pytest.raises(FencedError):
        await publisher.patiently(active, Step(1))
    with pytest.raises(FencedError):
        await publisher.commit(active)


class Slow(MemoryStore):
    """A store whose second commit ends when it is let, with this error or none."""

    def __init__(self, fault: StoreError | None) -> None:
        super().__init__()
        self.fault = fault
        self.commits = 0
        self.lets = anyio.Event()

    async def commit(self, writes: Sequence[Write] = (), *, keep_events: bool = False) -> None:
        self.commits += 1
        if self.commits == 2:
            await self.lets.wait()
            if self.fault is not None:
                raise self.fault
        await super().commit(writes, keep_events=keep_events)


@pytest.mark.parametrize(
    "fault", [None, StoreUnavailableError("away"), FencedError("taken over")], ids=["stored", "unknown", "fenced"]
)
async def test_a_commit_that_ends_after_others_took_the_task_over_is_the_last(fault: StoreError | None) -> None:
    store, active = Slow(fault), ActiveTask.new(FACTS)
    publisher = TaskPublisher(store)
    ended: list[StoreError] = []

    async def publish(*states: TaskState) -> None:
        try:
            await publisher.publish(active, [StatusChanged(status=TaskStatus(state=state)) for state in states])
        except StoreError as error:
            ended.append(error)

    with anyio.fail_after(DEADLINE):
        await publish(TaskState.SUBMITTED)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(publish, TaskState.WORKING)
            await anyio.wait_all_tasks_blocked()
            active.leave_to_others(FencedError("another server works on the task now"))
            active.publish([StatusChanged(status=TaskStatus(state=TaskState.COMPLETED))])
            store.lets.set()
        await publish()

    assert store.commits == 2
    assert active.over
    assert active.unsaved() is None
    assert len(ended) == 2


class Slowly(AgentHooks):
    """An agent whose work ends some time after it was cancelled."""

    def __init__(self) -> None:
        self.lets = anyio.Event()

    async def accept(self, request: AgentRequest) -> None:
        """Take any message."""

    async def run(self, request: AgentRequest, task: RunningTask) -> None:
        with anyio.move_on_after(5, shield=True):
            await self.lets.wait()


async def test_a_drain_does_not_wait_for_a_task_that_others_took_over(tmp_path: Path) -> None:
    agent, active = Slowly(), ActiveTask.new(FACTS)
    message = Message(message_id="m", role=Role.USER, parts=(TextPart(text="hi"),))
    with anyio.fail_after(DEADLINE):
        async with open_store(f"sqlite:///{tmp_path / 'tasks.db'}") as store, anyio.create_task_group() as tasks:
            locks = LocalLocks()
            registry = TaskRegistry(store, locks, FollowedTasks(store))
            publisher = TaskPublisher(store)
            runner = TaskRunner(
                agent,
                agent,
                store=store,
                registry=registry,
                publisher=publisher,
                tasks=tasks,
                wall=time.time,
                locks=locks,
            )
            active.publish([StatusChanged(status=TaskStatus(state=TaskState.SUBMITTED))])
            runner.start(active, AgentRequest(principal="ada", send=SendRequest(message=message)))
            await active.changed(1)
            async with anyio.create_task_group() as draining:
                draining.start_soon(runner.drain, 4.0)
                await anyio.wait_all_tasks_blocked()
                runner.abandon()
            left = len(registry)
            agent.lets.set()

    assert left == 1


@pytest.mark.parametrize(
    ("error", "is_new", "doubted"),
    [
        (StoreUnavailableError("a read met a database that crashed"), True, ["t"]),
        (StoreUnavailableError("a read met a database that crashed"), False, []),
        (StoreError("the database takes no such rows"), True, []),
    ],
)
async def test_a_new_task_that_is_given_up_while_its_commit_is_under_way_is_looked_for(
    error: StoreError, is_new: bool, doubted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, active = MemoryStore(), ActiveTask.new(FACTS)
    looked_for: list[str] = []
    monkeypatch.setattr(store.ownership, "doubt", looked_for.append)
    if not is_new:
        active.stored()

    TaskPublisher(store).give_up(active, error)

    assert looked_for == doubted
