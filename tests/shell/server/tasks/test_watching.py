"""Tasks at work are looked at now and then; however many there are, others have their turn in between."""

from __future__ import annotations

import time
from collections.abc import Sequence

import anyio
import anyio.lowlevel
import pytest

from opencode_a2a.server import AgentHooks, AgentRequest, RunningTask
from opencode_a2a.server.replicas.followed_tasks import FollowedTasks
from opencode_a2a.server.store import EventRow, MemoryStore, Write
from opencode_a2a.server.tasks.active_task import ActiveTask, Facts
from opencode_a2a.server.tasks.keyed_lock import LocalLocks
from opencode_a2a.server.tasks.task_publisher import TaskPublisher
from opencode_a2a.server.tasks.task_registry import TaskRegistry
from opencode_a2a.server.tasks.task_runner import TaskRunner
from sansio.a2a.model import Artifact, TaskState, TaskStatus, TextPart
from sansio.a2a.tasks.task_log import ArtifactChunk, StatusChanged
from tests.shell.harness import DEADLINE, until

pytestmark = pytest.mark.anyio

TASKS = 64
CHUNK = ArtifactChunk(artifact=Artifact(artifact_id="a", parts=(TextPart(text="more"),)))


class NotingStore(MemoryStore):
    """Notes in which turn of others each row is handed over."""

    def __init__(self) -> None:
        super().__init__()
        self.turns = 0
        self.met: dict[str, int] = {}

    def put(self, writes: Sequence[Write]) -> None:
        super().put(writes)
        self.met |= {row.task_id: self.turns for row in writes if isinstance(row, EventRow)}

    async def others(self) -> None:
        while True:
            await anyio.lowlevel.checkpoint()
            self.turns += 1


class Idle(AgentHooks):
    """An agent that does nothing."""

    async def accept(self, request: AgentRequest) -> None:
        """Take any message."""

    async def run(self, request: AgentRequest, task: RunningTask) -> None:
        """End at once."""


async def test_what_many_tasks_publish_is_handed_over_in_pieces() -> None:
    agent, store = Idle(), NotingStore()
    registry, publisher = TaskRegistry(store, LocalLocks(), FollowedTasks(store)), TaskPublisher(store)
    for number in range(TASKS):
        facts = Facts(task_id=f"t{number}", context_id="c", principal="ada", message_id="m", created_at=1)
        active = ActiveTask.new(facts)
        active.publish([StatusChanged(status=TaskStatus(state=TaskState.SUBMITTED))])
        await store.commit(active.rows())
        active.stored()
        active.reveal(1)
        active.publish([CHUNK])
        registry.add(RunningTask(active, str, publisher))
    store.met.clear()
    with anyio.fail_after(DEADLINE):
        async with anyio.create_task_group() as tasks:
            runner = TaskRunner(
                agent,
                agent,
                store=store,
                registry=registry,
                publisher=publisher,
                tasks=tasks,
                wall=time.time,
                locks=LocalLocks(),
            )
            tasks.start_soon(store.others)
            tasks.start_soon(runner.watch)
            await until(lambda: len(store.met) == TASKS)
            tasks.cancel_scope.cancel()

    assert len(set(store.met.values())) >= 2  # of four pieces; trio may begin a round with whom it ended the last
