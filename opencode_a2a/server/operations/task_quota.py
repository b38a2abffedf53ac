"""Bounds how many tasks a principal has: old ones make room for a new one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from opencode_a2a.server.store import Store, TaskQuery, TasksBeyond
from opencode_a2a.server.store.store_errors import Holding, from_store
from opencode_a2a.server.tasks.active_task import ActiveTask
from opencode_a2a.server.tasks.keyed_lock import Locks
from opencode_a2a.server.tasks.task_registry import TaskRegistry
from sansio.a2a.errors import ErrorKind, ProtocolError


class TaskQuota:
    """Makes room for tasks. `most`: tasks of one principal; 0: no bound. `settle`: makes a new task durable.

    Messages of one principal take their places one after the other, in all servers that share the store. A task that
    began, and that the store does not count yet, counts here. Other servers do not see it, so one that shares its
    store keeps the place until the task is in it.
    """

    def __init__(
        self,
        store: Store,
        registry: TaskRegistry,
        locks: Locks,
        most: int,
        settle: Callable[[ActiveTask], Awaitable[object]],
    ) -> None:
        self._store = store
        self._registry = registry
        self._locks = locks
        self._most = most
        self._settle = settle

    @asynccontextmanager
    async def place(self, principal: str) -> AsyncGenerator[None]:
        """Hold the place of a new task, which has to begin while this is entered.

        Removes the tasks that ended first, as far as a new one needs their place. Where there are very many too many,
        each call removes some. Raises `ProtocolError` (RATE_LIMITED) where none of the tasks has ended, and what the
        store raises.
        """
        if not self._most:
            yield
            return
        async with Holding(self._locks.of(("quota", principal))):
            await self._make_room(principal)
            yield
            if self._store.ownership.replica_id is not None:
                for active in self._begun(principal):
                    await from_store(self._settle(active))

    def _begun(self, principal: str) -> list[ActiveTask]:
        """The tasks of a principal that began, and that the store does not have yet."""
        return [task.active for task in self._registry if task.principal == principal and not task.active.in_store]

    async def _make_room(self, principal: str) -> None:
        begun = self._begun(principal)
        if await self._count(principal) + len(begun) < self._most:
            return
        for active in begun:
            if not active.lost:
                await from_store(active.changed(0))  # from then on, the store counts it
        before = await self._count(principal)
        if before < self._most:
            return
        await from_store(self._store.commit([TasksBeyond(principal, self._most - 1)]))
        if await self._count(principal) == before:
            raise ProtocolError(
                ErrorKind.RATE_LIMITED,
                f"You have {before} tasks, the most there may be, and none of them has ended. Cancel one or wait",
                metadata={"limit": str(self._most)},
            )

    async def _count(self, principal: str) -> int:
        return (await from_store(self._store.tasks(TaskQuery(principal=principal, limit=1)))).total
