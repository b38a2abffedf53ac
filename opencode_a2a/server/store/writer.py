"""Group commit: one thread that commits whatever has gathered while the commit before it ran.

It knows nothing of SQL: `transact` blocks until it has made writes durable together, for the server that was their
`owner` as they were queued. It raises WritesRefusedError, StoreUnavailableError or FencedError. A `put` is tried
until it can be committed, and at close for five seconds. What a caller waits for is tried once: the caller decides.
Its events may be kept, in their place: were they stored later than those that follow them, a reader elsewhere would
miss them. Who queues has to bound what waits, by `held`.

The thread takes writes from a queue and wakes their callers by itself. A worker thread of anyio's for each commit
costs some six turns of the event loop, which is most of what a caller waits for on a fast disk.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Hashable, Sequence
from itertools import groupby
from operator import attrgetter
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic, sleep
from typing import Final

import anyio
import anyio.from_thread
from anyio.lowlevel import EventLoopToken, current_token
from attrs import define, field

from opencode_a2a.metrics.meters import NO_METERS, Meters
from opencode_a2a.server.store.protocol import Pending
from opencode_a2a.server.store.rows import (
    Binding,
    EventRow,
    EventsPruned,
    FencedError,
    PushRow,
    SessionRow,
    StoreError,
    StoreUnavailableError,
    TaskRow,
    TasksBeyond,
    TasksExpired,
    Write,
    WritesRefusedError,
)
from sansio.a2a.counted import counted
from sansio.metrics import COMMIT_SECONDS

_CROWD: Final = 3  # writes that come together
_GATHERING: Final = 0.001  # seconds for which more of a crowd is awaited: 32 streams got 12 % more done
CLOSING_SECONDS: Final = 5.0  # after `close`, in which a commit that failed is tried again
_FIRST_DELAY: Final = 0.05
_LONGEST_DELAY: Final = 2.0
_ROW_BYTES: Final = 500  # of a row without its body
_AT_ONCE: Final = 4 * 1024 * 1024
"""Bytes in one transaction, about: one of all that has gathered in an outage could last longer than a lease."""

_log = logging.getLogger(__name__)


@define(eq=False)
class _Unit:
    """The writes that one call queued: they are committed or refused as a whole."""

    writes: tuple[Write, ...]
    awaited: bool
    owner: str | None
    keeps_events: bool = False  # though awaited, its events are tried until they can be committed
    fault: StoreError | None = None
    settled: anyio.Event = field(factory=anyio.Event)

    async def durable(self) -> None:
        """Return once the writes are durable. Raises `StoreError` where they are not."""
        await self.settled.wait()
        if self.fault is not None:
            raise type(self.fault)(str(self.fault))

    @property
    def size(self) -> int:
        """Bytes that the writes hold, roughly."""
        return sum(map(_size, self.writes))

    def kept(self) -> _Unit | None:
        """Return the part that is tried until it can be committed; None where nothing is."""
        if not self.awaited:
            return self
        events = tuple(write for write in self.writes if isinstance(write, EventRow)) if self.keeps_events else ()
        return _Unit(events, awaited=False, owner=self.owner) if events else None

    def keys(self) -> set[Hashable]:
        """The keys that this unit writes to: tasks with all that is theirs, contexts, pruned events."""
        return {_key(write) for write in self.writes}


def _size(write: Write) -> int:
    match write:
        case TaskRow():
            return len(write.snapshot) + len(write.options) + _ROW_BYTES
        case EventRow() | PushRow():
            return len(write.body) + _ROW_BYTES
        case _:
            return _ROW_BYTES


def _key(write: Write) -> Hashable:
    match write:
        case Binding():
            return write.principal, write.context_id
        case EventsPruned() | TasksExpired() | TasksBeyond():
            return type(write).__name__
        case SessionRow():
            return SessionRow, write.session_id
        case _:
            return write.task_id


def _drained(queue: SimpleQueue[_Unit | None]) -> list[_Unit | None]:
    """Take all that is queued, without waiting."""
    taken: list[_Unit | None] = []
    try:
        while True:
            taken.append(queue.get_nowait())
    except Empty:
        return taken


def _waiting(queue: SimpleQueue[_Unit | None]) -> list[_Unit]:
    return [unit for unit in _drained(queue) if unit is not None]


class GroupCommitWriter:
    """Queues writes on the event loop, and commits them in a thread of its own while `run` runs."""

    def __init__(
        self,
        transact: Callable[[Sequence[Write], str | None], None],
        meters: Meters = NO_METERS,
        owner: Callable[[], str | None] = lambda: None,
        *,
        longest_delay: float = _LONGEST_DELAY,
        at_once: int = _AT_ONCE,
    ) -> None:
        self._at_once = at_once
        self._longest_delay = longest_delay
        self._transact = transact
        self._owner = owner
        self._meters = meters
        self._queued: SimpleQueue[_Unit | None] = SimpleQueue()  # None: no more will come
        self._unsettled = 0
        self._held_by_task: dict[str, int] = {}
        self._closing = False
        self._closed_at = math.inf  # when to give up what cannot be committed
        self._failures = 0
        self._crowded = False  # many writes came together last time
        self._crash: BaseException | None = None
        self.lost_at_close = 0
        self.trouble: str | None = None  # why the last commit failed
        self.held = 0  # bytes that are not durable yet, but for what a caller waits for beside events
        self.closed = anyio.Event()

    def held_by(self, task_id: str) -> int:
        """Bytes of the task's events that are not durable yet."""
        return self._held_by_task.get(task_id, 0)

    @property
    def busy(self) -> bool:
        """Whether some write given so far may not be durable yet."""
        return self._unsettled > 0

    @property
    def queued(self) -> int:
        """The number of calls whose writes are not durable yet."""
        return self._unsettled

    def put(self, writes: Sequence[Write]) -> None:
        self._queue(_Unit(tuple(writes), awaited=False, owner=self._owner()))

    def submit(self, writes: Sequence[Write], *, keep_events: bool = False) -> Pending:
        unit = _Unit(tuple(writes), awaited=True, owner=self._owner(), keeps_events=keep_events)
        self._queue(unit)
        return unit

    async def commit(self, writes: Sequence[Write]) -> None:
        await self.submit(writes).durable()

    def close(self) -> None:
        """Lets `run` return once nothing is queued."""
        if not self._closing:
            self._closing = True
            self._closed_at = monotonic() + CLOSING_SECONDS
            self._queued.put(None)

    async def run(self) -> None:
        """Commits until closed. Cancelling does not stop it: what was queued does not depend on who is cancelled."""
        Thread(target=self._work, args=(current_token(),), name="store writer", daemon=True).start()
        with anyio.CancelScope(shield=True):
            await self.closed.wait()
        if self._crash is not None:
            raise self._crash

    def _queue(self, unit: _Unit) -> None:
        if self._closing:
            raise StoreError("the store is closed")
        self._hold(unit)
        self._queued.put(unit)

    def _hold(self, unit: _Unit, sign: int = 1) -> None:
        """Count a unit as not durable yet; with a `sign` of -1, as settled."""
        self._unsettled += sign
        for write in unit.writes:
            if unit.awaited and not isinstance(write, EventRow):
                continue  # tried once; a task that fails would bring all others to the bound with its last row
            size = sign * _size(write)
            self.held += size
            if isinstance(write, EventRow):
                of_task = self._held_by_task.get(write.task_id, 0) + size
                if of_task:
                    self._held_by_task[write.task_id] = of_task
                else:
                    del self._held_by_task[write.task_id]

    def _settled(self, units: Sequence[_Unit], trouble: str | None, kept: Sequence[_Unit] = ()) -> None:
        """On the event loop: a batch is done, so those who wait for it go on. `kept`: of those that failed."""
        self.trouble = trouble
        for unit in kept:
            self._hold(unit)
        for unit in units:
            self._hold(unit, -1)
            unit.settled.set()

    def _ended(self, crash: BaseException | None) -> None:
        """On the event loop: the thread ends, after `crash` if there was one. Nobody waits for what is left."""
        self._closing = True
        self._crash = crash
        left = _waiting(self._queued)
        for unit in left:
            unit.fault = StoreError("the writer of the store failed")
        self._settled(left, self.trouble)
        self.closed.set()

    # --- in the thread ------------------------------------------------------------------------------------

    def _work(self, token: EventLoopToken) -> None:
        crash: BaseException | None = None
        try:
            again: list[_Unit] = []
            open_ = True
            while open_ or again:
                open_ = self._commit_batch(again, token, wait=open_ and not again) and open_
        except BaseException as error:
            crash = error
        anyio.from_thread.run_sync(self._ended, crash, token=token)

    def _commit_batch(self, again: list[_Unit], token: EventLoopToken, *, wait: bool) -> bool:
        """Commit what is to be tried `again` and all that is queued; `wait` for something to come if need be.

        Returns False once no more will come. What must be tried once more is in `again` afterwards.
        """
        first = [self._queued.get()] if wait else []
        if self._crowded:
            sleep(_GATHERING)
        queued = first + _drained(self._queued)
        units = again + [unit for unit in queued if unit is not None]
        again.clear()
        if not units:
            return None not in queued
        self._crowded = len(units) >= _CROWD
        try:
            self._settle(units)
        except BaseException:
            for unit in units:
                unit.fault = StoreError("the writer of the store failed")
            anyio.from_thread.run_sync(self._settled, units, self.trouble, token=token)
            raise
        faults = [unit.fault for unit in units if isinstance(unit.fault, StoreUnavailableError)]
        self._failures = self._failures + 1 if faults else 0
        trouble = self.trouble
        if faults or any(unit.writes for unit in units):
            trouble = str(faults[0]) if faults else None
        settled: list[_Unit] = []
        kept: list[_Unit] = []
        for unit in units:
            left = self._tried_again(unit)
            if left is not None:
                again.append(left)
            if left is not unit:
                settled.append(unit)
                kept += [] if left is None else [left]
        anyio.from_thread.run_sync(self._settled, settled, trouble, kept, token=token)
        if self._failures:
            exponent = min(self._failures - 1, 16)
            sleep(min(_FIRST_DELAY * 2.0**exponent, self._longest_delay))
        return None not in queued

    def _tried_again(self, unit: _Unit) -> _Unit | None:
        """Return the part that stays queued after an attempt; None where nothing does. Logs what is given up."""
        passes = isinstance(unit.fault, StoreUnavailableError)
        left = unit.kept() if passes or (unit.fault is not None and not unit.awaited) else None
        if left is None:
            return None
        if passes and not (self._closing and monotonic() >= self._closed_at):
            left.fault = None
            return left
        if self._closing:
            self.lost_at_close += len(left.writes)
        else:
            _log.error("gave up %s: %s", counted(len(left.writes), "queued write"), unit.fault)
        return None

    def _settle(self, units: Sequence[_Unit]) -> None:
        for owner, owned in groupby(units, attrgetter("owner")):
            left = list(owned)
            while left:
                together = self._first_of(left)
                left = left[len(together) :]
                self._settle_together(together, owner)
                fault = together[-1].fault
                if isinstance(fault, StoreUnavailableError | FencedError):
                    for unit in left:
                        unit.fault = fault
                    break

    def _first_of(self, units: Sequence[_Unit]) -> Sequence[_Unit]:
        """The first units, as many as one transaction is to have."""
        size = 0
        for count, unit in enumerate(units):
            size += unit.size
            if count and size > self._at_once:
                return units[:count]
        return units

    def _settle_together(self, units: Sequence[_Unit], owner: str | None) -> None:
        """Commit all units at once, or one by one if the database refuses some row."""
        writes = [write for unit in units for write in unit.writes]
        try:
            if writes:
                began = monotonic()
                self._transact(writes, owner)
                self._meters.observe(COMMIT_SECONDS, monotonic() - began)
        except (StoreUnavailableError, FencedError) as fault:
            for unit in units:
                unit.fault = fault
        except WritesRefusedError:
            self._settle_one_by_one(units)

    def _settle_one_by_one(self, units: Sequence[_Unit]) -> None:
        """So that a row the database refuses fails its own caller and nobody else's.

        An awaited unit promises what was queued before it, too: it takes over the fault of an earlier unit of
        this batch that wrote to one of the same tasks, or, if it only flushes, of any.
        """
        refused: dict[Hashable, StoreError] = {}
        for position, unit in enumerate(units):
            keys = unit.keys()
            try:
                if keys:
                    self._transact(unit.writes, unit.owner)
            except WritesRefusedError as fault:
                unit.fault = fault
                refused.update(dict.fromkeys(keys, fault))
            except (StoreUnavailableError, FencedError) as fault:
                for remaining in units[position:]:
                    remaining.fault = fault
                return
            else:
                if unit.awaited:
                    inherited = (refused[key] for key in refused if not keys or key in keys)
                    unit.fault = next(inherited, None)
