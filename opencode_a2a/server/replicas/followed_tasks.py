"""The tasks that other replicas work on and somebody reads here: their logs grow as the owners store events.

A followed task is an active task like any other to its readers. However many they are, one read of the store after a
change serves all of them, and all tasks that change within a moment. The poll is for notifications that were lost. A
task that nobody reads costs nothing: the readers hold it, and with the last of them it goes.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final
from weakref import WeakValueDictionary

import anyio

from opencode_a2a.server.store import EventRow, Store, StoredTask, StoreError
from opencode_a2a.server.tasks.active_task import STOPPING, UNREADABLE, ActiveTask
from opencode_a2a.server.tasks.keyed_lock import LocalLocks
from opencode_a2a.server.tasks.loading import events_of, loaded
from opencode_a2a.wakeup import Wakeup
from sansio.a2a.errors import LocalError

_log = logging.getLogger(__name__)

POLL_SECONDS: Final = 5.0
"""Between two looks at what is followed, where no notification came."""

GATHERING_SECONDS: Final = 0.05
"""Between two reads at least: tasks that change meanwhile are read together."""

READ_BYTES: Final = 8 * 1024 * 1024
"""Of stored events, in one read: however many tasks have changed, and by how much."""


class FollowedTasks:
    """The followed tasks over one store. `poll`, `gathering`: seconds."""

    def __init__(self, store: Store, poll: float = POLL_SECONDS, gathering: float = GATHERING_SECONDS) -> None:
        self._store = store
        self._poll = poll
        self._gathering = gathering
        self._tasks: WeakValueDictionary[str, ActiveTask] = WeakValueDictionary()
        self._following = LocalLocks()
        self._noted: set[str] = set()  # tasks with something new
        self._changed = Wakeup()
        self._failing = False
        self._closed = False
        self.adopting = anyio.Lock()  # while tasks are taken over that this server does not work on yet

    async def settled(self) -> None:
        """Return once no task is being taken over: each that this server owns is at work in it."""
        async with self.adopting:
            return

    def __iter__(self) -> Iterator[ActiveTask]:
        """The tasks that are read now."""
        return iter(list(self._tasks.values()))

    def __len__(self) -> int:
        return len(self._tasks)

    @property
    def growing(self) -> int:
        """The number of followed tasks that may have more to read."""
        return sum(not (active.at_rest or active.log.state.terminal) for active in self)

    def get(self, task_id: str) -> ActiveTask | None:
        """A followed task; None where nobody reads it, or it cannot be followed any more."""
        active = self._tasks.get(task_id)
        return None if active is None or active.at_rest else active

    async def current(self, task_id: str) -> ActiveTask | None:
        """A followed task, as the store has it now; None where there is none. Raises `StoreError`.

        Whoever asks may have seen more of it in another server than was notified here.
        """
        active = self.get(task_id)
        if active is not None:
            await self._catch_up([active])
        return active

    async def follow(self, stored: StoredTask, kept: Sequence[EventRow] | None = None) -> ActiveTask:
        """The task of a row that another replica works on, from now on with whatever that one stores.

        Readers share it. `kept`: all its event rows. Raises `LocalError` for what cannot be read, `StoreError`.
        """
        task_id = stored.row.task_id
        async with self._following.of((task_id,)):
            active = self.get(task_id)
            if active is not None:
                if active.log.last < stored.last:
                    await self._catch_up([active])
                return active
            active = await loaded(stored, kept)
            if active.log.state.terminal:
                return active
            if self._closed:
                active.rest(STOPPING)
            else:
                active.begin_work()
            self._tasks[task_id] = active
            self.note([task_id])  # what was stored after it was read may have been notified before this
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
        """Read what was noted, for ever, and again and again all that is followed, however much is noted."""
        due = anyio.current_time() + self._poll
        while True:
            changed = self._changed.next()
            if not self._noted:
                with anyio.CancelScope(deadline=due):
                    await changed.wait()
            noted, self._noted = self._noted, set()
            everything = anyio.current_time() >= due
            try:
                await self._look(None if everything else noted)
            except StoreError as error:
                if not self._failing:
                    _log.error("what other servers publish cannot be read, and will be later: %s", error)
                self._failing = True
                self._noted |= noted
                await anyio.sleep(self._poll)
            else:
                self._failing = False
                if everything:
                    due = anyio.current_time() + self._poll
                if noted:
                    await anyio.sleep(self._gathering)

    async def _look(self, noted: Collection[str] | None) -> None:
        """Read what was noted; None: all that is followed. Raises `StoreError`.

        A call of its own: while `run` waits, nothing may hold a task that nobody reads any more.
        """
        if noted is None:
            everything = list(self)
            await self._catch_up(everything)
            await self._end_unreachable(everything)
        else:
            await self._catch_up([active for task_id in noted if (active := self._tasks.get(task_id)) is not None])

    def leave(self) -> None:
        """End the streams of all followed tasks, which can be resumed elsewhere: this server ends."""
        self._closed = True
        for active in self:
            active.rest(STOPPING)

    async def _catch_up(self, tasks: Sequence[ActiveTask]) -> None:
        """Take in what the store has of some tasks beyond what they have. Raises `StoreError`.

        A task that was handed over meanwhile is left alone: what was read is less than it has, and what it publishes
        itself by now is not stored yet.
        """
        by_id = {active.facts.task_id: active for active in tasks}
        after: dict[str, int] = {}
        size = READ_BYTES
        while size >= READ_BYTES:
            before, after = after, {task_id: active.log.last for task_id, active in by_id.items()}
            if after in ({}, before):
                return
            rows = await self._store.later_events(after, READ_BYTES)
            size = sum(len(row.body) for row in rows)
            for row in rows:
                active = by_id.get(row.task_id)
                if active is not None and not await self._take_in(active, row):
                    del by_id[row.task_id]

    async def _take_in(self, active: ActiveTask, row: EventRow) -> bool:
        """Take in a row of a task; False where the task is followed no more."""
        try:
            events = await events_of(row.body)
            if self._tasks.get(row.task_id) is not active:
                return False
            active.take_in(row, events)
        except LocalError as error:
            _log.error("task %s cannot be followed: %s", row.task_id, error)
            active.rest(UNREADABLE)
            return False
        return True

    async def _end_unreachable(self, tasks: Sequence[ActiveTask]) -> None:
        """End the streams of tasks whose last events are kept no longer: a client reads the task instead."""
        ends = await self._store.ends([active.facts.task_id for active in tasks])
        behind = [active for active in tasks if _is_behind(active, ends)]
        if behind:
            await self._catch_up(behind)  # they may have ended since their events were read
        for active in behind:
            if _is_behind(active, ends):
                active.rest(UNREADABLE)


def _is_behind(active: ActiveTask, ends: Mapping[str, int]) -> bool:
    """Whether a task that has ended, or is gone, has more events than this."""
    end = ends.get(active.facts.task_id)
    return end is not None and (end == 0 or end > active.log.last)
