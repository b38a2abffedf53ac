"""The locks of servers that share a database: first come, first served, by tickets in the database.

A ticket is taken in the order in which places were taken here, so the order of arrival holds within a server, and
between servers in the order in which the database got the tickets. Whoever has to wait is woken by a notification of
the database, which `note` brings; the poll is for those that were lost, and for tickets that are gone.

A ticket is given back once the last of its locks here has left. It belongs to the id that this server had when it
was taken: with that id go the tickets, to the servers that adopt the tasks, or to nobody.

Tickets that are asked for while others are being taken are taken together, in one transaction: a turn takes three,
and a transaction for each was most of what a turn cost. One whose key is busy in another server is taken alone, so
that nobody else waits for that server.
"""

from __future__ import annotations

import logging
import math
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, TypeVar

import anyio
import orjson
from anyio.abc import TaskGroup
from attrs import define, field

from opencode_a2a.server.store import StoreError, StoreUnavailableError
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


class SharedDatabase(Protocol):
    """A database that servers share, as one of them has it."""

    replica_id: str
    """This server, as the others know it."""

    async def transact(self, work: Callable[[Connection, str], T], *, at_once: bool = False) -> T:
        """Do work in a transaction, in a thread, with the id of this server. Raises `StoreError`.

        It waits until what was written before is durable, or begins `at_once`.
        """

    def subscribe(self, channel: str, notified: Callable[[Sequence[str] | None], None]) -> None:
        """Call a function on the event loop with what a channel notifies of; None: anything may have been."""


@define(eq=False)
class _Asked:
    """A ticket that is being taken. `first`: whether it is its turn; `fault`: why it could not be taken.

    `replica_id`: the server that has it, or may have it where the answer was lost, as it was known then.
    """

    ticket: _Ticket
    first: bool = False
    replica_id: str = ""
    fault: StoreError | None = None
    done: anyio.Event = field(factory=anyio.Event)


@define(eq=False)
class _Turn:
    """A ticket that somebody waits with. `replica_id`: this server as the ticket has it; "": there is none yet.

    `again`: the ticket is gone, and has to be taken again.
    """

    ticket: _Ticket
    replica_id: str = ""
    again: bool = False
    woken: anyio.Event = field(factory=anyio.Event)


@define(eq=False)
class _Held:
    """A ticket of some locks here: two have it where work on a task ends while the next work on it begins.

    `replica_id`: this server as the ticket has it.
    """

    replica_id: str
    locks: int = 0


class SharedLocks:
    """The locks of one server among several. `poll`: seconds."""

    def __init__(self, database: SharedDatabase, poll: float = POLL_SECONDS) -> None:
        self._database = database
        self._poll = poll
        self.order = LocalLocks()  # in which tickets are taken
        self._placed: Counter[Key] = Counter()
        self._held: dict[_Ticket, _Held] = {}
        self._waiting: set[_Turn] = set()
        self._left: dict[_Ticket, str] = {}  # to be given back, with the server that took it
        self._left_holders: dict[str, str] = {}  # whose tickets are to be given back, with the server that has them
        self._leaving: frozenset[_Ticket] = frozenset()  # being given back
        self._leaving_holders: frozenset[str] = frozenset()
        self._noted: set[str] = set()
        self._asked: list[_Asked] = []
        self._asking = Wakeup()
        self._changed = Wakeup()
        self._gave_back = Wakeup()
        self._failing = False
        self._ended = False

    def of(self, key: Key, holder: str = "") -> SharedLock:
        """A lock, without a place yet. `holder`: the task that will have it, where it is to survive this process."""
        return SharedLock(self, key, holder or uuid.uuid4().hex)

    def is_taken(self, key: Key) -> bool:
        """Whether somebody in this process has a place."""
        return self._placed[key] > 0

    def kept(self, key: Key, holder: str) -> SharedLock:
        """The lock of a task that was adopted, and its ticket with it: before all who wait, in the database.

        Where the ticket was given back before the task was adopted, it takes its turn as any other.
        """
        lock = self.of(key, holder)
        lock.take_place()
        return lock

    def leave_all(self, holder: str) -> None:
        """Give back the tickets of a task that no lock here has: they came with the task, whose work is over."""
        self._left_holders[holder] = self._database.replica_id
        self._changed.wake()

    def note(self, keys: Collection[str] | None) -> None:
        """Note that tickets of these keys were given back; None: of any."""
        waited_for = {turn.ticket[0] for turn in self._waiting}
        noted = waited_for if keys is None else waited_for.intersection(keys)
        if noted:
            self._noted |= noted
            self._changed.wake()

    async def run(self) -> None:
        """Take tickets, give them back, and wake those whose turn it is, for ever."""
        self._database.subscribe(tickets.CHANNEL, self.note)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._take_all, tasks)
                await self._give_back_all()
        finally:
            self._ended = True
            _refuse(self._asked)

    async def _take_all(self, tasks: TaskGroup) -> None:
        """Take what is asked for, together, for ever."""
        while True:
            asking = self._asking.next()
            if not self._asked:
                await asking.wait()
            asked, self._asked = self._asked, []
            wanted = [one.ticket for one in asked]
            for one in asked:
                one.replica_id = self._database.replica_id
            try:
                taken = await self._database.transact(partial(_taken_together, wanted=wanted), at_once=True)
            except StoreError as error:
                _refuse(asked, error)
                continue
            except BaseException:
                _refuse(asked)
                raise
            for one in asked:
                if one.ticket in taken:
                    one.first = taken[one.ticket]
                    one.done.set()
                else:
                    tasks.start_soon(self._take_alone, one)

    async def _take_alone(self, one: _Asked) -> None:
        """Take a ticket whose key is busy in another server."""
        key, holder = one.ticket
        one.replica_id = self._database.replica_id
        try:
            one.first = await self._database.transact(
                lambda connection, replica_id: tickets.take_ticket(connection, key, holder, replica_id), at_once=True
            )
        except StoreError as error:
            _refuse([one], error)
        except BaseException:
            _refuse([one])
            raise
        else:
            one.done.set()

    async def _give_back_all(self) -> None:
        due = math.inf
        while True:
            changed = self._changed.next()
            # However much changes meanwhile: others do not put off the look for those who wait.
            due = min(due, anyio.current_time() + self._poll) if self._waiting else math.inf
            if not (self._left or self._left_holders or self._noted):
                with anyio.CancelScope(deadline=due):
                    await changed.wait()
            if anyio.current_time() >= due:
                due = math.inf
                self.note(None)
            self._wake_fenced()
            left, self._left = self._left, {}
            holders, self._left_holders = self._left_holders, {}
            noted, self._noted = self._noted, set()
            try:
                await self._exchange(self._mine(left).difference(self._held), self._mine(holders), noted)
            except StoreError as error:
                if not self._failing:
                    _log.error("tickets cannot be given back, and will be later: %s", error)
                self._failing = True
                self._left |= left
                self._left_holders |= holders
                self._noted |= noted
                await anyio.sleep(_AGAIN)
            else:
                self._failing = False

    def _mine(self, left: Mapping[T, str]) -> frozenset[T]:
        """Those that are this server's. What it took with an id that it had before, others adopt or remove."""
        return frozenset(one for one, replica_id in left.items() if replica_id == self._database.replica_id)

    async def _exchange(self, left: frozenset[_Ticket], holders: frozenset[str], noted: set[str]) -> None:
        """Give back tickets, and see whose turn it is. Raises `StoreError`."""
        me = self._database.replica_id
        keys = noted | {key for key, _ in left}.intersection(turn.ticket[0] for turn in self._waiting)
        if not (left or holders or keys):
            return
        waiting = [turn for turn in self._waiting if turn.ticket[0] in keys and turn.replica_id == me]
        held = {ticket for ticket in self._held if ticket[1] in holders}

        def work(connection: Connection, replica_id: str) -> dict[_Ticket, bool]:
            kept = tickets.tickets_of(connection, holders, replica_id) - held if holders else frozenset()
            tickets.give_back(connection, [(*ticket, replica_id) for ticket in left | kept])
            return tickets.turns_of(connection, keys, replica_id) if keys else {}

        self._leaving, self._leaving_holders = left, holders
        try:
            turns = await self._database.transact(work)
        finally:
            self._leaving, self._leaving_holders = frozenset(), frozenset()
            self._gave_back.wake()
        for turn in self._waiting:
            if turns.get(turn.ticket):
                turn.woken.set()
        for turn in waiting:
            if turn.ticket not in turns:
                turn.again = True
                turn.woken.set()

    def _wake_fenced(self) -> None:
        """Wake those whose tickets went with the id that this server had: they have to take others."""
        for turn in self._waiting:
            if turn.replica_id not in ("", self._database.replica_id):
                turn.again = True
                turn.woken.set()

    # --- for a lock -----------------------------------------------------------------------------------------

    @property
    def replica_id(self) -> str:
        """This server, as the others know it."""
        return self._database.replica_id

    def place(self, key: Key, ticket: _Ticket) -> bool:
        """Count a place that is taken; True for the first in this process."""
        self._placed[key] += 1
        held = self._held.setdefault(ticket, _Held(""))
        held.replica_id, held.locks = self._database.replica_id, held.locks + 1
        return self._placed[key] == 1

    def expect(self, ticket: _Ticket) -> _Turn:
        """Expect the turn of a ticket."""
        turn = _Turn(ticket)
        self._waiting.add(turn)
        self._changed.wake()  # from now on there is something to poll for
        return turn

    def forget(self, turn: _Turn) -> None:
        """Nobody waits for a turn any more."""
        self._waiting.discard(turn)

    async def take(self, turn: _Turn) -> bool:
        """Take the ticket of a turn; whether it is its turn. Raises `StoreError`.

        Whoever is cancelled meanwhile waits for the database, too: a ticket is given back after it was taken.
        """
        ticket = turn.ticket
        while ticket in self._leaving or ticket[1] in self._leaving_holders:
            await self._gave_back.wait()
        self._left.pop(ticket, None)
        asked = _Asked(ticket)
        if self._ended:
            _refuse([asked])
        else:
            self._asked.append(asked)
            self._asking.wake()
        with anyio.CancelScope(shield=True):
            await asked.done.wait()
        if asked.replica_id:
            self._held[ticket].replica_id = asked.replica_id
        if asked.fault is not None:
            raise type(asked.fault)(str(asked.fault))
        turn.replica_id = asked.replica_id
        return asked.first

    def leave(self, key: Key, ticket: _Ticket) -> None:
        """Give up a place, and its ticket where no other lock here has it."""
        self._placed[key] -= 1
        if not self._placed[key]:
            del self._placed[key]
        held = self._held[ticket]
        held.locks -= 1
        if not held.locks:
            del self._held[ticket]
            self._left[ticket] = held.replica_id
            self._changed.wake()


class SharedLock(Lock):
    """The lock of one key for one holder."""

    def __init__(self, locks: SharedLocks, key: Key, holder: str) -> None:
        self._locks = locks
        self._key = key
        self._ticket = (name_of(key), holder)
        self._order = locks.order.of(key)
        self._placed = False

    def take_place(self) -> bool:
        """Take the next place in this process, unless it is taken already; False if somebody is before it here."""
        if not self._placed:
            self._placed = True
            self._order.take_place()
            return self._locks.place(self._key, self._ticket)
        return True

    async def wait(self, long: Callable[[], Awaitable[None]] | None = None) -> None:
        """Return once it is this one's turn among all servers. Whoever is cancelled meanwhile has to leave.

        `long`: awaited once, where it is not this one's turn yet. Raises `StoreError`.
        """
        await self._order.wait()
        while True:
            turn = self._locks.expect(self._ticket)
            try:
                first = await self._locks.take(turn)
                self._order.leave()  # a wait that failed may be tried again, in its place
                if first:
                    return
                if long is not None:
                    await long()
                    long = None
                await turn.woken.wait()
                if not turn.again and turn.replica_id == self._locks.replica_id:
                    return
            finally:
                self._locks.forget(turn)

    def leave(self) -> None:
        """Give up the place, inside or queued; to leave twice is to leave once.

        A place that was taken and never waited for is that of a task which has its ticket from another server.
        """
        if self._placed:
            self._placed = False
            self._order.leave()
            self._locks.leave(self._key, self._ticket)


def _taken_together(connection: Connection, replica_id: str, wanted: Sequence[_Ticket]) -> dict[_Ticket, bool]:
    return tickets.take_tickets(connection, wanted, replica_id)


def _refuse(asked: Sequence[_Asked], fault: StoreError | None = None) -> None:
    """Take none of some tickets. `fault`: None where the server ends."""
    for one in asked:
        one.fault = fault or StoreUnavailableError("the server ends")
        one.done.set()


def name_of(key: Key) -> str:
    """The name of a key in the database: short, whatever clients have chosen."""
    return f"{key[0]}:{blake2b(orjson.dumps(key), digest_size=16).hexdigest()}"
