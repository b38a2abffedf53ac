"""The tasks that other replicas work on and somebody reads here: their logs grow as the owners store events.

A followed task is an active task like any other to its readers. However many they are, one read of the store after a
change serves all of them; the poll is for notifications that were lost. A task that nobody reads costs nothing: the
readers hold it, and with the last of them it goes.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final
from weakref import WeakValueDictionary

import anyio

from opencode_a2a.server.store import EventRow, Store, StoredTask, StoreError
from opencode_a2a.server.tasks.active_task import ActiveTask
from opencode_a2a.server.tasks.keyed_lock import LocalLocks
from opencode_a2a.server.tasks.loading import events_of, loaded
from opencode_a2a.wakeup import Wakeup
from sansio.a2a.errors import LocalError

_log = logging.getLogger(__name__)

POLL_SECONDS: Final = 5.0
"""Between two looks at what is followed, where no notification came."""


class FollowedTasks:
    """The followed tasks over one store. `poll`: seconds."""

    def __init__(self, store: Store, poll: float = POLL_SECONDS) -> None:
        self._store = store
        self._poll = poll
        self._tasks: WeakValueDictionary[str, ActiveTask] = WeakValueDictionary()
        self._following = LocalLocks()
        self._noted: set[str] = set()  # tasks with something new
        self._changed = Wakeup()
        self._failing = False
        self._closed = False

    def __iter__(self) -> Iterator[ActiveTask]:
        """The tasks that are read now."""
        return iter(list(self._tasks.values()))

    def __len__(self) -> int:
        return len(self._tasks)

    def get(self, task_id: str) -> ActiveTask | None:
        """A followed task; None where nobody reads it, or it cannot be followed any more."""
        active = self._tasks.get(task_id)
        return None if active is None or active.at_rest else active

    async def follow(self, stored: StoredTask, kept: Sequence[EventRow] | None = None) -> ActiveTask:
        """The task of a row that another replica works on, from now on with whatever that one stores.

        Readers share it. `kept`: all its event rows. Raises `LocalError` for what cannot be read, `StoreError`.
        """
        task_id = stored.row.task_id
        async with self._following.of((task_id,)):
            active = self.get(task_id)
            if active is not None:
                return active
            active = await loaded(stored, kept)
            if active.log.state.terminal:
                return active
            if not self._closed:
                active.begin_work()
            self._tasks[task_id] = active
            await self._catch_up([active])  # what was stored after it was read may have been notified before this
            return active

    async def hand_over(self, stored: StoredTask) -> ActiveTask | None:
        """The followed task of a row that this server works on from now on, with all that is stored of it.

        Its readers stay with it. None where nobody reads it. Raises `StoreError`.
        """
        task_id = stored.row.task_id
        async with self._following.of((task_id,)):
            active = self.get(task_id)
            if active is None:
                return None
            await self._catch_up([active])
            del self._tasks[task_id]
            if active.at_rest:
                return None
            active.refresh(stored.row)
            return active

    def note(self, task_ids: Collection[str] | None) -> None:
        """Note that tasks have changed in the store; None: any may have."""
        found = self._tasks.keys() if task_ids is None else task_ids
        noted = [task_id for task_id in found if task_id in self._tasks]
        if noted:
            self._noted.update(noted)
            self._changed.wake()

    async def run(self) -> None:
        """Read what was noted, for ever, and all that is followed where nothing is noted for long."""
        while True:
            changed = self._changed.next()
            if not self._noted:
                with anyio.move_on_after(self._poll):
                    await changed.wait()
            noted, self._noted = self._noted, set()
            tasks = [active for task_id in noted if (active := self._tasks.get(task_id)) is not None]
            try:
                if noted:
                    await self._catch_up(tasks)
                elif everything := list(self):
                    await self._catch_up(everything)
                    await self._end_unreachable(everything)
            except StoreError as error:
                if not self._failing:
                    _log.error("what other servers publish cannot be read, and will be later: %s", error)
                self._failing = True
                self._noted |= noted
                await anyio.sleep(self._poll)
            else:
                self._failing = False

    def leave(self) -> None:
        """End the streams of all followed tasks, which can be resumed elsewhere: this server ends."""
        self._closed = True
        for active in self:
            active.rest()

    async def _catch_up(self, tasks: Sequence[ActiveTask]) -> None:
        """Take in what the store has of some tasks beyond what they have. Raises `StoreError`."""
        by_id = {active.facts.task_id: active for active in tasks}
        rows = await self._store.later_events({task_id: active.log.last for task_id, active in by_id.items()})
        for row in rows:
            active = by_id[row.task_id]
            try:
                active.take_in(row, await events_of(row.body))
            except LocalError as error:
                _log.error("task %s cannot be followed: %s", row.task_id, error)
                active.rest()

    async def _end_unreachable(self, tasks: Sequence[ActiveTask]) -> None:
        """End the streams of tasks whose last events are kept no longer: a client reads the task instead."""
        ends = await self._store.ends([active.facts.task_id for active in tasks])
        behind = [active for active in tasks if _is_behind(active, ends)]
        if behind:
            await self._catch_up(behind)  # they may have ended since their events were read
        for active in behind:
            if _is_behind(active, ends):
                active.rest()


def _is_behind(active: ActiveTask, ends: Mapping[str, int]) -> bool:
    """Whether a task that has ended, or is gone, has more events than this."""
    end = ends.get(active.facts.task_id)
    return end is not None and (end == 0 or end > active.log.last)
