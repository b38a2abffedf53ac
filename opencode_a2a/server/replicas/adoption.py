"""Takes over the tasks that nobody works on: at the start, and where servers share a store whenever one has gone.

The same recovery serves a restart and another server's death: no prompt is sent twice, and numbers of events go on.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import anyio

from opencode_a2a.server.replicas.followed_tasks import FollowedTasks
from opencode_a2a.server.store import Ownership, Store, StoredTask, StoreError
from opencode_a2a.server.tasks.active_task import ActiveTask
from opencode_a2a.server.tasks.loading import loaded
from sansio.a2a.counted import counted
from sansio.a2a.errors import LocalError, ProtocolError
from sansio.a2a.model import TaskState

_log = logging.getLogger(__name__)

_AT_ONCE: Final = 16  # tasks that a server takes before others may take some
_AGAIN: Final = 1.0  # seconds before a store that failed is asked again
_WAITING: Final = TaskState.AUTH_REQUIRED.value  # for somebody who mends the credentials, and asks again


class Adoption:
    """`recover`: begins the work on a task that was left unfinished."""

    def __init__(
        self, store: Store, followed: FollowedTasks, recover: Callable[[ActiveTask], Awaitable[None]]
    ) -> None:
        self._store = store
        self._followed = followed
        self._recover = recover

    async def begin(self) -> int:
        """Take over what was left at a start; return how many tasks. Raises `StoreError`."""
        if self._store.ownership.replica_id is not None:
            return await self._adopt()
        left = [stored for stored in await self._store.unfinished() if stored.row.state != _WAITING]
        await self._carry_on(left)
        return len(left)

    async def run(self) -> None:
        """Follow what other servers do, for ever: their events, and what they leave behind."""
        async for changes in self._store.ownership.changes():
            self._followed.note(None if changes.everything else changes.task_ids)
            if changes.orphans or changes.everything:
                await self._adopt_patiently()

    async def _adopt_patiently(self) -> None:
        """Take over what was left as soon as the store can be asked. The next change comes in time."""
        try:
            adopted = await self._adopt()
        except StoreError as error:
            _log.error("tasks that another server left cannot be taken over, and will be later: %s", error)
            await anyio.sleep(_AGAIN)
            return
        if adopted:
            _log.warning("resuming %s that another server left unfinished", counted(adopted, "task"))

    async def _adopt(self) -> int:
        number = 0
        while left := await self._store.ownership.adopt(_AT_ONCE):
            await self._carry_on(left)
            number += len(left)
        return number

    async def _carry_on(self, left: Sequence[StoredTask]) -> None:
        """Carry on tasks, those that an agent may be working on first. A task that cannot be read stays as it is."""
        for stored in sorted(left, key=lambda stored: stored.row.prompt_id is None):
            try:
                active = await self._followed.hand_over(stored)
                if active is None:
                    active = await loaded(stored, await self._store.events(stored.row.task_id))
                await self._recover(active)
            except (LocalError, ProtocolError) as exc:
                _log.error("task %s cannot be read and is left as it is: %s", stored.row.task_id, exc)
            except StoreError:
                raise
            except Exception:  # the server works all the same, on the other tasks
                _log.exception("task %s cannot be recovered and is left as it is", stored.row.task_id)
        await self._store.commit()


class Runner(Protocol):
    """The work on tasks in this server."""

    def abandon(self) -> None:
        """Stop all of it, without a word to whoever it works with: another server goes on with it."""


async def fenced_again(ownership: Ownership, runner: Runner) -> None:
    """Abandon the work each time that another server has taken it over, and join the servers again, for ever."""
    while True:
        await ownership.fenced()
        runner.abandon()
        try:
            await ownership.rejoin()
        except StoreError as error:
            _log.error("this server cannot join the others again, and will later: %s", error)
            await anyio.sleep(_AGAIN)
