"""Group commit: one thread that commits whatever has gathered while the commit before it ran.

It knows nothing of SQL: `transact` blocks until it has made writes durable together, for the server that was their
`owner` as they were queued. It raises WritesRefusedError, StoreUnavailableError or FencedError. A `put` is tried
`ATTEMPTS` times, and at close for five seconds. What a caller waits for is tried once: the caller decides.

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
    EventsPruned,
    FencedError,
    SessionRow,
    StoreError,
    StoreUnavailableError,
    TasksBeyond,
    TasksExpired,
    Write,
    WritesRefusedError,
)
from sansio.a2a.counted import counted
from sansio.metrics import COMMIT_SECONDS

ATTEMPTS: Final = 10
_CROWD: Final = 3  # writes that come together
_GATHERING: Final = 0.001  # seconds for which more of a crowd is awaited: 32 streams got 12 % more done
CLOSING_SECONDS: Final = 5.0  # after `close`, in which a commit that failed is tried again
_FIRST_DELAY: Final = 0.05
_LONGEST_DELAY: Final = 2.0

_log = logging.getLogger(__name__)


@define(eq=False)
class _Unit:
    """The writes that one call queued: they are committed or refused as a whole."""

    writes: tuple[Write, ...]
    awaited: bool
    owner: str | None
    attempts: int = 0
    fault: StoreError | None = None
    settled: anyio.Event = field(factory=anyio.Event)

    async def durable(self) -> None:
        """Return once the writes are durable. Raises `StoreError` where they are not."""
        await self.settled.wait()
        if self.fault is not None:
            raise type(self.fault)(str(self.fault))

    def keys(self) -> set[Hashable]:
        """The keys that this unit writes to: tasks with all that is theirs, contexts, pruned events."""
        return {_key(write) for write in self.writes}


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
    ) -> None:
        self._transact = transact
        self._owner = owner
        self._meters = meters
        self._queued: SimpleQueue[_Unit | None] = SimpleQueue()  # None: no more will come
        self._unsettled = 0
        self._closing = False
        self._closed_at = math.inf  # when to give up what cannot be committed
        self._failures = 0
        self._crowded = False  # many writes came together last time
        self._crash: BaseException | None = None
        self.lost_at_close = 0
        self.trouble: str | None = None  # why the last commit failed
        self.closed = anyio.Event()

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

    def submit(self, writes: Sequence[Write]) -> Pending:
        unit = _Unit(tuple(writes), awaited=True, owner=self._owner())
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
        self._unsettled += 1
        self._queued.put(unit)

    def _settled(self, units: Sequence[_Unit], trouble: str | None) -> None:
        """On the event loop: a batch is done, so those who wait for it go on."""
        self._unsettled -= len(units)
        self.trouble = trouble
        for unit in units:
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
        for unit in units:
            (again if self._tries_again(unit) else settled).append(unit)
        anyio.from_thread.run_sync(self._settled, settled, trouble, token=token)
        if self._failures:
            exponent = min(self._failures - 1, 16)
            sleep(min(_FIRST_DELAY * 2.0**exponent, _LONGEST_DELAY))
        return None not in queued

    def _tries_again(self, unit: _Unit) -> bool:
        """Whether an unawaited unit stays queued; logs it where it is given up."""
        if unit.fault is None or unit.awaited:
            return False
        unit.attempts += 1
        more = monotonic() < self._closed_at if self._closing else unit.attempts < ATTEMPTS
        if isinstance(unit.fault, StoreUnavailableError) and more:
            unit.fault = None
            return True
        if self._closing:
            self.lost_at_close += len(unit.writes)
            return False
        lost, attempts = counted(len(unit.writes), "queued write"), counted(unit.attempts, "attempt")
        _log.error("gave up %s after %s: %s", lost, attempts, unit.fault)
        return False

    def _settle(self, units: Sequence[_Unit]) -> None:
        for owner, owned in groupby(units, attrgetter("owner")):
            self._settle_together(list(owned), owner)

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
