"""First come, first served: those who want the same thing, one after the other. Knows nothing of what they do.

A place is taken without waiting, so that who comes first does not depend on whom the event loop lets run first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol, Self, TypeAlias

import anyio
import anyio.lowlevel

Key: TypeAlias = tuple[str | None, ...]
"""The names of something that one may have at a time; the first says of what kind it is."""


class Lock(Protocol):
    """The lock of one key: inside is one, the others wait in order."""

    def take_place(self) -> bool:
        """Take the next place, unless it is taken already; False if somebody is known to be before it."""

    async def wait(self, long: Callable[[], Awaitable[None]] | None = None) -> None:
        """Return once it is this one's turn. Whoever is cancelled meanwhile has to leave.

        `long`: awaited once, where it is not this one's turn yet. Raises `StoreError` where the database that
        servers share cannot be asked.
        """

    def leave(self) -> None:
        """Give up the place, inside or queued; to leave twice is to leave once."""

    async def __aenter__(self) -> Self:
        self.take_place()
        try:
            await self.wait()
        except BaseException:
            self.leave()
            raise
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self.leave()


class Locks(Protocol):
    """The locks of one server, or of several that share a database."""

    def of(self, key: Key, holder: str = "") -> Lock:
        """A lock, without a place yet. `holder`: the task that will have it, where it is to survive this process."""

    def is_taken(self, key: Key) -> bool:
        """Whether somebody in this process has a place."""

    def kept(self, key: Key, holder: str) -> Lock | None:
        """The lock of a task that is carried on, with the place that it has kept; None where it has none.

        It has to leave, and waits as any other: it was inside before, and its place may have been given up since.
        """

    def leave_all(self, holder: str) -> None:
        """Give up the places that a task has kept and that no lock has: the work on it is over."""

    async def run(self) -> None:
        """Do what the locks need as long as the server runs."""


class LocalLocks:
    """The locks of one process."""

    def __init__(self) -> None:
        self._queues: dict[Key, deque[anyio.Event] | None] = {}

    def of(self, key: Key, holder: str = "") -> KeyedLock:
        """A lock, without a place yet."""
        return KeyedLock(self._queues, key)

    def is_taken(self, key: Key) -> bool:
        """Whether somebody has a place."""
        return key in self._queues

    def kept(self, key: Key, holder: str) -> KeyedLock | None:
        """The lock with the first place; None where another has that, since none outlives the process."""
        if self.is_taken(key):
            return None
        lock = self.of(key, holder)
        lock.take_place()
        return lock

    def leave_all(self, holder: str) -> None:
        """Give up nothing: no place outlives the process."""

    async def run(self) -> None:
        """Return: the locks of one process need nothing."""


class KeyedLock(Lock):
    """First come, first served for one key in this process."""

    def __init__(self, queues: dict[Key, deque[anyio.Event] | None], key: Key) -> None:
        self._queues = queues
        self._key = key
        self._placed = False
        self._mine: anyio.Event | None = None  # set once it is this one's turn

    def take_place(self) -> bool:
        """Take the next place, unless it is taken already; False if somebody is before it."""
        if self._placed:
            return self._mine is None or self._mine.is_set()
        self._placed = True
        if self._key not in self._queues:
            self._queues[self._key] = None  # a queue is made for who comes second: there hardly ever is one
            return True
        self._mine = anyio.Event()
        queue = self._queues[self._key]
        if queue is None:
            queue = self._queues[self._key] = deque()
        queue.append(self._mine)
        return False

    async def wait(self, long: Callable[[], Awaitable[None]] | None = None) -> None:
        """Return once it is this one's turn. Whoever is cancelled meanwhile has to leave.

        `long`: awaited once, where it is not this one's turn yet.
        """
        if self._mine is None:
            return
        if long is not None and not self._mine.is_set():
            await long()
        await self._mine.wait()

    def leave(self) -> None:
        """Give up the place, inside or queued; to leave twice is to leave once."""
        if not self._placed:
            return
        self._placed = False
        queue = self._queues[self._key] or deque()
        if self._mine is not None and not self._mine.is_set():
            queue.remove(self._mine)
        elif queue:
            queue.popleft().set()
        else:
            del self._queues[self._key]


class OneAtATime:
    """First come, first served for one thing in this process. Nobody waits: nothing is kept for those who do.

    Whoever is cancelled does not get in, also where it is free.
    """

    __slots__ = ("_is_taken", "_waiting")

    def __init__(self) -> None:
        self._is_taken = False
        self._waiting: deque[anyio.Event] | None = None

    @property
    def is_taken(self) -> bool:
        """Whether somebody is inside."""
        return self._is_taken

    async def __aenter__(self) -> Self:
        await anyio.lowlevel.checkpoint_if_cancelled()
        if not self._is_taken:
            self._is_taken = True
            return self
        turn = anyio.Event()
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.append(turn)
        try:
            await turn.wait()
        except BaseException:
            if turn.is_set():
                self._leave()
            else:
                self._waiting.remove(turn)
            raise
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self._leave()

    def _leave(self) -> None:
        if self._waiting:
            self._waiting.popleft().set()
        else:
            self._is_taken, self._waiting = False, None
