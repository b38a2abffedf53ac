"""The locks of servers that share a database: first come, first served, by tickets in the database.

A ticket is taken in the order in which places were taken here, so the order of arrival holds within a server, and
between servers in the order in which the database got the tickets. Whoever has to wait is woken by a notification of
the database, which `note` brings; the poll is for those that were lost.
"""

from __future__ import annotations

import logging
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, TypeVar

import anyio
import orjson

from opencode_a2a.server.store import StoreError
from opencode_a2a.server.store.shared import tickets
from opencode_a2a.server.tasks.keyed_lock import Key, LocalLocks, Lock
from opencode_a2a.wakeup import Wakeup

if TYPE_CHECKING:
    from sqlalchemy import Connection

T = TypeVar("T")

_log = logging.getLogger(__name__)

POLL_SECONDS: Final = 2.0
"""Between two looks at what is waited for, where no notification came."""
_AGAIN: Final = 0.5  # seconds before what could not be given back is tried again

_Ticket: TypeAlias = tuple[str, str]  # key, holder
_Taken: TypeAlias = tuple[str, str, str]  # key, holder, the server that took it


class SharedDatabase(Protocol):
    """A database that servers share, as one of them has it."""

    replica_id: str
    """This server, as the others know it."""

    async def transact(self, work: Callable[[Connection, str], T]) -> T:
        """Do work in a transaction, in a thread, with the id of this server. Raises `StoreError`."""

    def subscribe(self, channel: str, notified: Callable[[Sequence[str] | None], None]) -> None:
        """Call a function on the event loop with what a channel notifies of; None: anything may have been."""


class SharedLocks:
    """The locks of one server among several. `poll`: seconds."""

    def __init__(self, database: SharedDatabase, poll: float = POLL_SECONDS) -> None:
        self._database = database
        self._poll = poll
        self.order = LocalLocks()  # in which tickets are taken
        self._placed: Counter[Key] = Counter()
        self._waiting: dict[_Ticket, anyio.Event] = {}
        self._left: set[_Taken] = set()  # to be given back
        self._leaving: frozenset[_Taken] = frozenset()  # being given back
        self._noted: set[str] = set()
        self._changed = Wakeup()
        self._gave_back = Wakeup()
        self._failing = False

    def of(self, key: Key, holder: str = "") -> SharedLock:
        """A lock, without a place yet. `holder`: the task that will have it, where it is to survive this process."""
        return SharedLock(self, key, holder or uuid.uuid4().hex)

    def is_taken(self, key: Key) -> bool:
        """Whether somebody in this process has a place."""
        return self._placed[key] > 0

    def note(self, keys: Collection[str] | None) -> None:
        """Note that tickets of these keys were given back; None: of any."""
        waited_for = {key for key, _ in self._waiting}
        noted = waited_for if keys is None else waited_for.intersection(keys)
        if noted:
            self._noted |= noted
            self._changed.wake()

    async def run(self) -> None:
        """Give tickets back, and wake those whose turn it is, for ever."""
        self._database.subscribe(tickets.CHANNEL, self.note)
        while True:
            changed = self._changed.next()
            if not (self._left or self._noted):
                with anyio.move_on_after(self._poll if self._waiting else None) as waiting:
                    await changed.wait()
                if not waiting.cancelled_caught:
                    continue
                self.note(None)
            noted, self._noted = self._noted, set()
            left, self._left = frozenset(self._left), set()
            try:
                await self._exchange(left, noted)
            except StoreError as error:
                if not self._failing:
                    _log.error("tickets cannot be given back, and will be later: %s", error)
                self._failing = True
                self._left |= left
                self._noted |= noted
                await anyio.sleep(_AGAIN)
            else:
                self._failing = False

    async def _exchange(self, left: frozenset[_Taken], noted: set[str]) -> None:
        """Give back tickets, and see whose turn it is. Raises `StoreError`."""
        keys = noted | {key for key, *_ in left}.intersection(key for key, _ in self._waiting)
        if not (left or keys):
            return

        def work(connection: Connection, replica_id: str) -> frozenset[_Ticket]:
            tickets.give_back(connection, left)
            return tickets.first_tickets(connection, keys, replica_id) if keys else frozenset()

        self._leaving = left
        try:
            first = await self._database.transact(work)
        finally:
            self._leaving = frozenset()
            self._gave_back.wake()
        for ticket in first:
            if ticket in self._waiting:
                self._waiting[ticket].set()

    # --- for a lock -----------------------------------------------------------------------------------------

    def place(self, key: Key) -> bool:
        """Count a place that is taken; True for the first in this process."""
        self._placed[key] += 1
        return self._placed[key] == 1

    @property
    def replica_id(self) -> str:
        """This server, as the others know it."""
        return self._database.replica_id

    async def take(self, taken: _Taken) -> bool:
        """Take a ticket; True where it is its turn. Raises `StoreError`."""
        while taken in self._leaving:
            await self._gave_back.wait()
        self._left.discard(taken)
        key, holder, _ = taken
        return await self._database.transact(
            lambda connection, replica_id: tickets.take_ticket(connection, key, holder, replica_id)
        )

    def expect(self, ticket: _Ticket) -> anyio.Event:
        """The event that is set once it is the turn of a ticket."""
        event = self._waiting[ticket] = anyio.Event()
        self._changed.wake()  # from now on there is something to poll for
        return event

    def leave(self, key: Key, taken: _Taken) -> None:
        """Give up a place and its ticket, if there is one."""
        self._placed[key] -= 1
        if not self._placed[key]:
            del self._placed[key]
        self._waiting.pop(taken[:2], None)
        self._left.add(taken)
        self._changed.wake()


class SharedLock(Lock):
    """The lock of one key for one holder."""

    def __init__(self, locks: SharedLocks, key: Key, holder: str) -> None:
        self._locks = locks
        self._key = key
        self._ticket = (_name_of(key), holder)
        self._replica_id = ""
        self._order = locks.order.of(key)
        self._placed = False

    def take_place(self) -> bool:
        """Take the next place in this process, unless it is taken already; False if somebody is before it here."""
        if not self._placed:
            self._placed = True
            self._replica_id = self._locks.replica_id
            self._order.take_place()
            return self._locks.place(self._key)
        return True

    async def wait(self, long: Callable[[], Awaitable[None]] | None = None) -> None:
        """Return once it is this one's turn among all servers. Whoever is cancelled meanwhile has to leave.

        `long`: awaited once, where it is not this one's turn yet. Raises `StoreError`.
        """
        await self._order.wait()
        turn = self._locks.expect(self._ticket)
        try:
            first = await self._locks.take((*self._ticket, self._replica_id))
        finally:
            self._order.leave()
        if first:
            turn.set()
        elif long is not None:
            await long()
        await turn.wait()

    def leave(self) -> None:
        """Give up the place, inside or queued; to leave twice is to leave once.

        A place that was taken and never waited for is that of a task which has its ticket from another server.
        """
        if self._placed:
            self._placed = False
            self._order.leave()
            self._locks.leave(self._key, (*self._ticket, self._replica_id))


def _name_of(key: Key) -> str:
    """The name of a key in the database: short, whatever clients have chosen."""
    return f"{key[0]}:{blake2b(orjson.dumps(key), digest_size=16).hexdigest()}"
