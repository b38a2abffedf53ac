"""Bounds how many tasks a principal has: old ones make room for a new one."""

from __future__ import annotations

from opencode_a2a.server.store import Store, TaskQuery, TasksBeyond
from opencode_a2a.server.store.store_errors import from_store
from sansio.a2a.errors import ErrorKind, ProtocolError


class TaskQuota:
    """Makes room for tasks. `most`: tasks of one principal; 0: no bound."""

    def __init__(self, store: Store, most: int) -> None:
        self._store = store
        self._most = most

    async def make_room(self, principal: str) -> None:
        """Remove the tasks that ended first, as far as a new one needs their place.

        Where there are very many too many, each call removes some. Raises `ProtocolError` (RATE_LIMITED) where none
        of the tasks has ended, and what the store raises.
        """
        if not self._most:
            return
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
