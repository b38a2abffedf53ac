"""The ownership of all tasks by one server, which shares its store with nobody."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Sequence

import anyio

from opencode_a2a.server.store.protocol import Store
from opencode_a2a.server.store.rows import PushRow, Replica, StoredTask
from opencode_a2a.server.store.shared.change_feed import ChangeFeed
from sansio.a2a.replicas.changes import Changes


class SoleOwner:
    """An `Ownership` of everything in one store; see there for what its calls promise."""

    replica_id = None

    def __init__(self, store: Store) -> None:
        self._store = store
        self._left: deque[str] | None = None  # what an earlier server left, once that is known
        self._undelivered: deque[PushRow] | None = None

    @property
    def lost(self) -> bool:
        return False

    @property
    def lease(self) -> None:
        return None

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

    async def adopt_pushes(self, limit: int) -> list[PushRow]:
        if self._undelivered is None:
            self._undelivered = deque(await self._store.unfinished_pushes())
        adopted = [self._undelivered.popleft() for _ in range(min(limit, len(self._undelivered)))]
        if not adopted:
            self._undelivered = None
        return adopted

    async def claim_pushes(self, task_id: str) -> list[PushRow]:
        return [row for row in await self._store.push_configs(task_id) if not row.finished]

    async def claim_push(self, task_id: str, config_id: str) -> str | None:
        return None

    async def owner(self, task_id: str) -> str | None:
        return None

    async def replicas(self) -> Sequence[Replica]:
        return ()

    def doubt(self, task_id: str) -> None:
        """Leave it to the next start."""

    async def fenced(self) -> None:
        await anyio.sleep_forever()

    async def sure(self, *, patient: bool = True) -> None:
        return None

    async def rejoin(self) -> None:
        return None

    def changes(self) -> AsyncIterator[Changes]:
        return ChangeFeed()
