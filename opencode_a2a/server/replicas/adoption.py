"""Takes over the tasks that nobody works on: at the start, and where servers share a store whenever one has gone.

The same recovery serves a restart and another server's death: no prompt is sent twice, and numbers of events go on.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Protocol

import anyio
import anyio.lowlevel

from opencode_a2a.server.replicas.followed_tasks import FollowedTasks
from opencode_a2a.server.store import EventRow, FencedError, Ownership, Store, StoredTask, StoreError
from opencode_a2a.server.tasks.active_task import ELSEWHERE, ActiveTask
from opencode_a2a.server.tasks.keyed_lock import Locks
from opencode_a2a.server.tasks.loading import loaded
from sansio.a2a.counted import counted
from sansio.a2a.errors import LocalError, ProtocolError
from sansio.a2a.model import TaskState

_log = logging.getLogger(__name__)

_AT_ONCE: Final = 16  # tasks that a server takes before others may take some
_READ_AT_ONCE: Final = 64  # tasks whose events are read together
_BEGUN_AT_ONCE: Final = 4  # tasks whose work begins in one step; a server that starts waits for a round of all others
_EVENT_BYTES: Final = 1024 * 1024  # of events that are read together
_AGAIN: Final = 1.0  # seconds before a store that failed is asked again
_WAITING: Final = TaskState.AUTH_REQUIRED.value  # for somebody who mends the credentials, and asks again


class Adoption:
    """`recover`: begins the work on a task that was left unfinished. `notify`: delivers notifications left behind.

    `gone`: is called where a server may have gone. `again`: seconds before a store that failed is asked again.
    """

    def __init__(
        self,
        store: Store,
        followed: FollowedTasks,
        locks: Locks,
        recover: Callable[[ActiveTask], Awaitable[None]],
        notify: Callable[[], Awaitable[None]],
        gone: Callable[[], None],
        again: float = _AGAIN,
    ) -> None:
        self._store = store
        self._followed = followed
        self._locks = locks
        self._recover = recover
        self._notify = notify
        self._gone = gone
        self._again = again
        self.total = 0  # tasks that were taken over
        self._adopted: list[StoredTask] = []  # this server's, whose work has not begun

    async def begin(self) -> int:
        """Take over what was left at a start; return how many tasks. Raises `StoreError`."""
        if self._store.ownership.replica_id is not None:
            return await self._adopt()
        self._adopted = [stored for stored in await self._store.unfinished() if stored.row.state != _WAITING]
        number = len(self._adopted)
        await self._carry_on()
        await self._notify()
        return number

    async def run(self) -> None:
        """Follow what other servers do, for ever: their events, and what they leave behind."""
        async for changes in self._store.ownership.changes():
            self._followed.note(None if changes.everything else changes.task_ids)
            if changes.orphans or changes.everything:
                self._gone()
                await self._adopt_patiently()

    async def _adopt_patiently(self) -> None:
        """Take over what was left as soon as the store can be asked.

        It is tried until it works: what was taken over and has not begun has an owner, and nobody else would take it.
        """
        while True:
            try:
                adopted = await self._adopt()
            except StoreError as error:
                _log.error("tasks that another server left cannot be taken over, and will be later: %s", error)
                await anyio.sleep(self._again)
            else:
                break
        if adopted:
            _log.warning("resuming %s that another server left unfinished", counted(adopted, "task"))

    async def _adopt(self) -> int:
        number, more = 0, True
        while more:
            async with self._followed.adopting:
                self._adopted = await self._still_here()
                adopted = await self._store.ownership.adopt(_AT_ONCE)
                self.total += len(adopted)
                self._adopted += adopted
                more = bool(self._adopted)
                number += len(self._adopted)
                await self._carry_on()
        await self._notify()
        return number

    async def _still_here(self) -> list[StoredTask]:
        """The tasks of an attempt that failed which are still this server's. Raises `StoreError`."""
        found = [await self._store.task(stored.row.task_id) for stored in self._adopted]
        here = self._store.ownership.replica_id
        return [stored for stored in found if stored is not None and stored.row.replica_id == here]

    async def _carry_on(self) -> None:
        """Carry on what was adopted, tasks that an agent may be working on first.

        A task that cannot be read stays as it is. Raises `StoreError`; what has not begun then is kept.
        """
        self._adopted.sort(key=lambda stored: stored.row.prompt_id is None)
        while self._adopted:
            kept = await self._kept_events(self._adopted[:_READ_AT_ONCE])
            for number in range(1, 1 + min(_READ_AT_ONCE, len(self._adopted))):
                await self._begin_work(self._adopted[0], kept)
                del self._adopted[0]
                if number % _BEGUN_AT_ONCE == 0:
                    await anyio.lowlevel.checkpoint()
        await self._store.commit()

    async def _kept_events(self, some: Sequence[StoredTask]) -> Mapping[str, Sequence[EventRow]]:
        """Read the events of some tasks that are kept. Those of which one read may not have all are left out.

        A read waits until all that was recovered before it is stored, so there is none for each task.
        """
        kept: dict[str, list[EventRow]] = {task_id: [] for task_id in sorted(one.row.task_id for one in some)}
        rows = await self._store.later_events(dict.fromkeys(kept, 0), _EVENT_BYTES)
        for row in rows:
            kept[row.task_id].append(row)
        if sum(len(row.body) for row in rows) < _EVENT_BYTES:
            return kept
        return {task_id: events for task_id, events in kept.items() if task_id < rows[-1].task_id}

    async def _begin_work(self, stored: StoredTask, kept: Mapping[str, Sequence[EventRow]]) -> None:
        """Begin the work on a task. `kept`: the events of those that were read before."""
        try:
            active = await self._followed.hand_over(stored)
            if active is None:
                events = kept.get(stored.row.task_id)
                if events is None:
                    events = await self._store.events(stored.row.task_id)
                active = await loaded(stored, events)
            try:
                self._check_owned(stored)
                await self._recover(active)
            except BaseException:
                active.rest(ELSEWHERE)  # its readers go on elsewhere
                raise
        except (LocalError, ProtocolError) as exc:
            _log.error("task %s cannot be read and is left as it is: %s", stored.row.task_id, exc)
            self._locks.leave_all(stored.row.task_id)
        except StoreError:
            raise
        except Exception:  # the server works all the same, on the other tasks
            _log.exception("task %s cannot be recovered and is left as it is", stored.row.task_id)
            self._locks.leave_all(stored.row.task_id)

    def _check_owned(self, stored: StoredTask) -> None:
        """Refuse a task that others may have taken over while it was read. Raises `FencedError`.

        What this server wrote of it by its next id would not be stopped.
        """
        ownership = self._store.ownership
        if ownership.lost or ownership.replica_id != stored.row.replica_id:
            raise FencedError(f"task {stored.row.task_id} may be another server's by now")


class Abandoned(Protocol):
    """Work that another server can go on with."""

    def abandon(self) -> None:
        """Stop all of it, without a word to whoever it works with."""


async def fenced_again(ownership: Ownership, *works: Abandoned) -> None:
    """Abandon all work each time that another server has taken it over, and join the servers again, for ever."""
    while True:
        await ownership.fenced()
        for work in works:
            work.abandon()
        try:
            await ownership.rejoin()
        except StoreError as error:
            _log.error("this server cannot join the others again, and will later: %s", error)
            await anyio.sleep(_AGAIN)
