"""Answers where a task is: at work here, at work in another server, or stored. Nobody else keeps a map of tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Protocol

from opencode_a2a.server.store import EventRow, FencedError, Store, StoredTask, StoreUnavailableError, TaskQuery
from opencode_a2a.server.tasks.active_task import ActiveTask
from opencode_a2a.server.tasks.keyed_lock import Lock, Locks
from opencode_a2a.server.tasks.loading import loaded
from opencode_a2a.server.tasks.running_task import RunningTask
from opencode_a2a.wakeup import Wakeup
from sansio.a2a.model import TaskState

_MOST_WAITING: Final = 10  # tasks of a context that are looked at


class Followed(Protocol):
    """The tasks of other servers that somebody reads here."""

    async def current(self, task_id: str) -> ActiveTask | None: ...

    async def follow(self, stored: StoredTask, kept: Sequence[EventRow] | None = None) -> ActiveTask: ...

    async def settled(self) -> None: ...


class TaskRegistry:
    """The tasks at work in this process by id, over a store that has all tasks. `followed`: of other servers."""

    def __init__(self, store: Store, locks: Locks, followed: Followed) -> None:
        self._store = store
        self._followed = followed
        self._locks = locks
        self._running: dict[str, RunningTask] = {}
        self._ended = Wakeup()

    def __iter__(self) -> Iterator[RunningTask]:
        """The tasks at work, in the order in which they began; they may end meanwhile."""
        return iter(list(self._running.values()))

    def __len__(self) -> int:
        return len(self._running)

    def running(self, task_id: str) -> RunningTask | None:
        """A task at work here; None where it is not."""
        return self._running.get(task_id)

    def add(self, task: RunningTask) -> None:
        """Take in a task whose work begins."""
        task.active.begin_work()
        self._running[task.id] = task

    def resting(self, task_id: str) -> Lock:
        """The right to change a task at which nobody works; whoever has it has to `find` the task again.

        Each reader of a stored task has a copy of its own: two that change their copies would undo each other.
        """
        return self._locks.of(("task", task_id))

    def remove(self, task: RunningTask) -> None:
        """Leave out a task whose work has ended: from now on, the store has it.

        Where this server lost the task and has taken it over again, the later work on it stays.
        """
        if self._running.get(task.id) is task:
            del self._running[task.id]
        task.active.rest()
        self._ended.wake()

    async def empty(self) -> None:
        """Return once no task is at work."""
        while self._running:
            await self._ended.wait()

    def is_elsewhere(self, active: ActiveTask) -> bool:
        """Whether another server works on a task."""
        return not active.at_rest and not active.log.state.terminal and active.facts.task_id not in self._running

    async def working_elsewhere(self, principal: str, context_id: str) -> str | None:
        """A task of a context that another server works on; None where none does. Raises `StoreError`."""
        ownership = self._store.ownership
        if ownership.replica_id is None:
            return None
        query = TaskQuery(principal=principal, limit=_MOST_WAITING, context_id=context_id)
        for row in (await self._store.tasks(query)).rows:
            if row.at_work and await ownership.owner(row.task_id) not in (None, ownership.replica_id):
                return row.task_id
        return None

    async def waiting_elsewhere(self, principal: str, context_id: str) -> list[str]:
        """The tasks of a context that wait for their user in other servers. Raises `StoreError`."""
        here = self._store.ownership.replica_id
        if here is None:
            return []
        state = TaskState.INPUT_REQUIRED.value
        found = await self._store.tasks(
            TaskQuery(principal=principal, limit=_MOST_WAITING, context_id=context_id, state=state)
        )
        return [row.task_id for row in found.rows if row.replica_id not in (None, here)]

    async def find(self, task_id: str, *, kept: bool = False, doubtful: bool = False) -> ActiveTask | None:
        """A task, at work or stored; a stored one with its past only where that is `kept`. Raises `StoreError`.

        `doubtful`: one at work here is found though it may have ended elsewhere, and the store cannot be asked.
        """
        active = await self._here(task_id, doubtful=doubtful) or await self._followed.current(task_id)
        if active is not None:
            return active
        stored = await self._store.task(task_id)
        if stored is not None and self._is_adopted(stored):
            await self._followed.settled()
            stored = await self._store.task(task_id)
        if stored is None:
            return None
        return await self.of_stored(stored, await self._store.events(task_id) if kept else None)

    async def _here(self, task_id: str, *, doubtful: bool = False) -> ActiveTask | None:
        """A task at work here; None where it is not, or other servers have taken it over. Raises `StoreError`.

        A server that was stopped, or cut off from the store, remembers tasks that have ended elsewhere meanwhile.
        """
        if task_id not in self._running:
            return None
        try:
            await self._store.ownership.sure(patient=False)
        except FencedError:
            return None
        except StoreUnavailableError:
            if not doubtful:
                raise
        running = self._running.get(task_id)
        return None if running is None or running.active.lost else running.active

    def _is_adopted(self, stored: StoredTask) -> bool:
        """Whether this server has taken over a task, and may be about to begin its work."""
        here = self._store.ownership.replica_id
        return here is not None and stored.row.at_work and stored.row.replica_id == here

    async def of_stored(self, stored: StoredTask, kept: Sequence[EventRow] | None = None) -> ActiveTask:
        """A stored task, unless it is at work here.

        Raises `LocalError` for what cannot be read, `StoreError`.

        `kept`: all its event rows; with them, its past can be read too.
        """
        here = await self._here(stored.row.task_id)
        if here is not None:
            return here
        owner = stored.row.replica_id
        if owner is not None and owner != self._store.ownership.replica_id and stored.row.at_work:
            return await self._followed.follow(stored, kept)
        active = await loaded(stored, kept)
        return await self._here(stored.row.task_id) or active
