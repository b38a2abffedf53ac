"""Upkeep of tasks that no request asks for: signs of life, pruning, recovery, the drain at the end."""

from __future__ import annotations

import logging
from collections.abc import Callable

import anyio
import anyio.lowlevel

from opencode_a2a.server.operations.admission import Admission
from opencode_a2a.server.push.notifier import Notifier
from opencode_a2a.server.replicas.followed_tasks import FollowedTasks
from opencode_a2a.server.store import EventsPruned, Store, StoreError, TasksExpired
from opencode_a2a.server.tasks.task_registry import TaskRegistry
from opencode_a2a.server.tasks.task_runner import TaskRunner

_log = logging.getLogger(__name__)

_KEEP_ALIVE = 15.0  # seconds
_POKED_AT_ONCE = 64  # tasks whose streams show it in one round of the loop
_PRUNING = 15.0  # seconds between two looks for events that are kept no longer


class Maintenance:
    """Maintains the tasks of one store. `wall`: epoch seconds.

    `retention`: seconds for which the events of a task that has ended are kept, so that its streams can be resumed.
    `task_retention`: seconds for which the task itself is kept then; 0: for ever.
    """

    def __init__(
        self,
        *,
        store: Store,
        registry: TaskRegistry,
        followed: FollowedTasks,
        runner: TaskRunner,
        admission: Admission,
        notifier: Notifier,
        wall: Callable[[], float],
        retention: float,
        task_retention: float = 0.0,
    ) -> None:
        self._store = store
        self._registry = registry
        self._followed = followed
        self._runner = runner
        self._admission = admission
        self._notifier = notifier
        self._wall = wall
        self._retention = retention
        self._task_retention = task_retention

    @property
    def draining(self) -> bool:
        """Whether the server is being stopped, and admits nothing new."""
        return self._admission.draining

    async def keep_alive(self, look_every: float | None = None) -> None:
        """Let every stream show that it lives, for ever; `look_every`: seconds, where they have a time limit."""
        pause = _KEEP_ALIVE if look_every is None else min(_KEEP_ALIVE, look_every)
        while True:
            await anyio.sleep(pause)
            for number, active in enumerate((*(task.active for task in self._registry), *self._followed), 1):
                active.poke()
                if number % _POKED_AT_ONCE == 0:
                    await anyio.lowlevel.checkpoint()

    async def prune(self) -> None:
        """Remove the events of tasks that ended long ago, for ever: each time until none is left.

        A write prunes a few tasks only, and other commits go in between.
        """
        while True:
            before = int((self._wall() - self._retention) * 1000)
            self._store.put([EventsPruned(before)])  # at once, before anybody reads
            try:
                while await self._store.prunable(before):
                    await self._store.commit([EventsPruned(before)])
                await self._expire()
            except StoreError as error:
                _log.warning("what is kept no longer could not be removed, and will be later: %s", error)
            await anyio.sleep(_PRUNING)

    async def _expire(self) -> None:
        """Remove the tasks that ended long ago, some by each commit. Raises `StoreError`."""
        if not self._task_retention:
            return
        before = int((self._wall() - self._task_retention) * 1000)
        while await self._store.expired(before):
            await self._store.commit([TasksExpired(before)])

    async def drain(self, grace: float) -> None:
        """Admit nothing new, let tasks end within `grace` seconds, then end or leave the others.

        What there is to notify by then gets the time that is left; the rest is kept for the next start.
        """
        self._admission.draining = True
        ends = anyio.current_time() + grace
        await self._runner.drain(grace)
        self._followed.leave()
        await self._notifier.drain(max(0.0, ends - anyio.current_time()))
