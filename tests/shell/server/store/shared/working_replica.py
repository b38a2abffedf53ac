"""A process that adopts tasks and writes them, until it is taken over; then it begins again. It names its tasks.

Each event row names its writer, so that the database can tell whose it is.
"""

from __future__ import annotations

import random
import sys

import anyio
import orjson
from anyio.abc import TaskGroup

from opencode_a2a.server.store import (
    EventRow,
    SharedOptions,
    Store,
    StoredTask,
    StoreError,
    TaskTakenError,
    open_store,
)
from tests.shell.server.store.shared.replica_process import say
from tests.shell.store_cases import task_row

_FINISHES = 0.01  # of the writes
_ADOPTED = 4


class WorkingReplica:
    """Works on tasks of a store. `owned`: their ids, and the numbers of their last events."""

    def __init__(self, store: Store, chance: random.Random) -> None:
        self._store = store
        self._chance = chance
        self.owned: dict[str, int] = {}
        self.refused = 0  # writes of tasks that another has, which must not be

    async def run(self) -> None:
        while True:
            async with anyio.create_task_group() as life:
                life.start_soon(self._adopt)
                life.start_soon(self._write, life)
                await self._store.ownership.fenced()
                life.cancel_scope.cancel()
            self.owned.clear()
            await self._rejoin()

    async def _rejoin(self) -> None:
        while True:
            try:
                await self._store.ownership.rejoin()
                return
            except StoreError:
                await anyio.sleep(0.05)

    async def _adopt(self) -> None:
        async for changes in self._store.ownership.changes():
            while changes.orphans:
                try:
                    adopted = await self._store.ownership.adopt(_ADOPTED)
                except StoreError:
                    break  # there will be a reminder
                self.owned.update((one.row.task_id, last_of(one)) for one in adopted)
                if not adopted:
                    break

    async def _write(self, life: TaskGroup) -> None:
        while True:
            await anyio.sleep(self._chance.uniform(0.0, 0.02))
            if self.owned:
                life.start_soon(self._write_one, self._chance.choice(sorted(self.owned)))

    async def _write_one(self, task_id: str) -> None:
        self.owned[task_id] = number = self.owned[task_id] + 1
        body = orjson.dumps({"by": self._store.ownership.replica_id})
        event = EventRow(task_id=task_id, first_seq=number, last_seq=number, body=body)
        if self._chance.random() < 0.5:
            self._store.put([event])
            return
        finished = self._chance.random() < _FINISHES
        if finished:
            del self.owned[task_id]
        try:
            await self._store.commit([task_row(task_id, last_seq=number, finished=finished), event])
        except TaskTakenError:
            self.refused += 1
        except StoreError:
            if finished:
                self.owned[task_id] = number  # not known to be finished: written again later


def last_of(stored: StoredTask) -> int:
    return max([stored.row.last_seq, *(event.last_seq for event in stored.events)])


async def serve(url: str, lease: float, seed: str) -> None:
    async with (
        open_store(url, shared=True, options=SharedOptions(lease=lease)) as store,
        anyio.create_task_group() as group,
    ):
        working = WorkingReplica(store, random.Random(seed))
        group.start_soon(working.run)
        say(result=store.ownership.replica_id)
        async for _ in anyio.wrap_file(sys.stdin):
            say(
                result={
                    "id": store.ownership.replica_id,
                    "owned": sorted(working.owned),
                    "refused": working.refused,
                }
            )
        group.cancel_scope.cancel()


if __name__ == "__main__":
    _, url_, backend_, lease_, seed_ = sys.argv
    anyio.run(serve, url_, float(lease_), seed_, backend=backend_)
