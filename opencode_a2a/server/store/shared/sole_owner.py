"""The ownership of all tasks by one server, which shares its store with nobody."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Sequence

import anyio

from opencode_a2a.server.store.protocol import Store
from opencode_a2a.server.store.rows import Replica, StoredTask
from opencode_a2a.server.store.shared.change_feed import ChangeFeed
from sansio.a2a.replicas.changes import Changes


class SoleOwner:
    """An `Ownership` of everything in one store; see there for what its calls promise."""

    replica_id = None

    def __init__(self, store: Store) -> None:
        self._store = store
        self._left: deque[str] | None = None  # what an earlier server left, once that is known

    async def adopt(self, limit: int) -> list[StoredTask]:
        if self._left is None:
            self._left = deque(one.row.task_id for one in await self._store.unfinished() if one.row.at_work)
        adopted: list[StoredTask] = []
        while self._left and len(adopted) < limit:
            stored = await self._store.task(self._left[0])
            self._left.popleft()
            if stored is not None and stored.row.at_work:
                adopted.append(stored)
        return adopted

    async def claim(self, task_id: str) -> bool:
        stored = await self._store.task(task_id)
        return stored is not None and not stored.row.finished

    async def owner(self, task_id: str) -> str | None:
        return None

    async def replicas(self) -> Sequence[Replica]:
        return ()

    async def fenced(self) -> None:
        await anyio.sleep_forever()

    async def rejoin(self) -> None:
        return None

    def changes(self) -> AsyncIterator[Changes]:
        return ChangeFeed()
