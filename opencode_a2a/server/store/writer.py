"""Group commit: one task that commits whatever has gathered while the commit before it ran.

It knows nothing of SQL: `transact` blocks until it has made writes durable together, or raises WritesRefused or
StoreUnavailable. What was `put` is tried `ATTEMPTS` times; what a caller waits for is tried once: the caller decides.
"""

import logging
from collections.abc import Callable, Hashable, Sequence
from threading import Lock
from typing import Final

import anyio
import anyio.to_thread
from attrs import define, field

from opencode_a2a.server.store.rows import (
    Binding,
    EventsPruned,
    Pending,
    SessionRow,
    StoreError,
    StoreUnavailable,
    Write,
    WritesRefused,
)

ATTEMPTS: Final = 10
_ATTEMPTS_AT_CLOSE: Final = 3
_FIRST_DELAY: Final = 0.05
_LONGEST_DELAY: Final = 2.0

_log = logging.getLogger(__name__)


@define(eq=False)
class _Unit:
    """What one call queued: it is committed or refused as a whole."""

    writes: tuple[Write, ...]
    awaited: bool
    attempts: int = 0
    fault: StoreError | None = None

    def keys(self) -> set[Hashable]:
        """What this unit writes to: tasks and all that is theirs, contexts, the events of whatever is pruned."""
        return {_key(write) for write in self.writes}


def _key(write: Write) -> Hashable:
    match write:
        case Binding():
            return write.principal, write.context_id
        case EventsPruned():
            return EventsPruned
        case SessionRow():
            return SessionRow, write.session_id
        case _:
            return write.task_id


@define(eq=False)
class _Batch:
    units: list[_Unit] = field(factory=list)
    done: anyio.Event = field(factory=anyio.Event)


@define(eq=False)
class _Queued:
    unit: _Unit
    batch: _Batch

    async def durable(self) -> None:
        await self.batch.done.wait()
        if self.unit.fault is not None:
            raise type(self.unit.fault)(str(self.unit.fault))


class GroupCommitWriter:
    """Gathers writes on the event loop and commits them in a worker thread of its own."""

    def __init__(self, transact: Callable[[Sequence[Write]], None]) -> None:
        self._transact = transact
        self._gathering = _Batch()
        self._taking = Lock()  # nothing joins a batch while the thread takes it
        self._committing = False
        self._wake = anyio.Event()
        self._closing = False
        self._failures = 0
        self.lost_at_close = 0
        self.trouble: str | None = None  # why the last commit failed
        self.closed = anyio.Event()
        # The writer must not wait for a thread behind the readers.
        self.limiter = anyio.CapacityLimiter(1)

    @property
    def busy(self) -> bool:
        """Whether some write given so far may not be durable yet."""
        return self._committing or bool(self._gathering.units)

    def put(self, writes: Sequence[Write]) -> None:
        self._queue(_Unit(tuple(writes), awaited=False))

    def submit(self, writes: Sequence[Write]) -> Pending:
        unit = _Unit(tuple(writes), awaited=True)
        return _Queued(unit, self._queue(unit))

    async def commit(self, writes: Sequence[Write]) -> None:
        await self.submit(writes).durable()

    def close(self) -> None:
        """Lets `run` return once nothing is queued."""
        self._closing = True
        self._wake.set()

    async def run(self) -> None:
        """Commits until closed. Cancelling does not stop it: what was queued does not depend on who is cancelled."""
        try:
            with anyio.CancelScope(shield=True):
                while self._gathering.units or not self._closing:
                    if self._gathering.units:
                        await self._commit_gathered()
                    else:
                        self._wake = anyio.Event()
                        await self._wake.wait()
        finally:
            self.closed.set()

    def _queue(self, unit: _Unit) -> _Batch:
        if self._closing:
            raise StoreError("the store is closed")
        with self._taking:
            batch = self._gathering
            batch.units.append(unit)
        self._wake.set()
        return batch

    async def _commit_gathered(self) -> None:
        """Commits a batch. It gathers until the thread takes it: turns that move together share a commit."""
        batch, following = self._gathering, _Batch()
        self._committing = True
        try:
            await anyio.to_thread.run_sync(self._take, following, limiter=self.limiter)
        except BaseException:
            for unit in batch.units:
                unit.fault = StoreError("the writer of the store failed")
            raise
        finally:
            self._committing = False
            batch.done.set()
        faults = [unit.fault for unit in batch.units if isinstance(unit.fault, StoreUnavailable)]
        unavailable = bool(faults)
        if unavailable or any(unit.writes for unit in batch.units):
            self.trouble = str(faults[0]) if faults else None
        self._failures = self._failures + 1 if unavailable else 0
        self._gathering.units[:0] = [unit for unit in batch.units if self._tries_again(unit)]
        if self._failures:
            exponent = min(self._failures - 1, 16)
            await anyio.sleep(min(_FIRST_DELAY * 2.0**exponent, _LONGEST_DELAY))

    def _tries_again(self, unit: _Unit) -> bool:
        """Whether an unawaited unit stays queued; says so in the log where it is given up."""
        if unit.fault is None or unit.awaited:
            return False
        unit.attempts += 1
        allowed = _ATTEMPTS_AT_CLOSE if self._closing else ATTEMPTS
        if isinstance(unit.fault, StoreUnavailable) and unit.attempts < allowed:
            unit.fault = None
            return True
        if self._closing:
            self.lost_at_close += len(unit.writes)
        lost = len(unit.writes)
        _log.error("gave up %d queued write(s) after %d attempt(s): %s", lost, unit.attempts, unit.fault)
        return False

    def _take(self, following: _Batch) -> None:
        """In the worker thread: lets the next batch gather, and commits this one."""
        with self._taking:
            batch, self._gathering = self._gathering, following
        self._settle(batch.units)

    def _settle(self, units: Sequence[_Unit]) -> None:
        """In the worker thread: commits all units at once, or one by one if the database refuses some row."""
        writes = [write for unit in units for write in unit.writes]
        try:
            if writes:
                self._transact(writes)
        except StoreUnavailable as fault:
            for unit in units:
                unit.fault = fault
        except WritesRefused:
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
                    self._transact(unit.writes)
            except WritesRefused as fault:
                unit.fault = fault
                refused.update(dict.fromkeys(keys, fault))
            except StoreUnavailable as fault:
                for remaining in units[position:]:
                    remaining.fault = fault
                return
            else:
                if unit.awaited:
                    inherited = (refused[key] for key in refused if not keys or key in keys)
                    unit.fault = next(inherited, None)
