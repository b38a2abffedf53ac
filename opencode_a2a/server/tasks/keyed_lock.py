"""First come, first served: those who want the same thing, one after the other. Knows nothing of what they do.

A place is taken without waiting, so that who comes first does not depend on whom the event loop lets run first.
"""

from __future__ import annotations

from collections import deque

import anyio


class KeyedLock:
    """First come, first served for one key: inside is one, the others wait in order."""

    def __init__(self, queues: dict[object, deque[anyio.Event]], key: object) -> None:
        self._queues = queues
        self._key = key
        self._placed = False
        self._mine: anyio.Event | None = None  # set once it is this one's turn

    def take_place(self) -> bool:
        """Take the next place, unless it is taken already; False if somebody is before it."""
        if self._placed:
            return self._mine is None or self._mine.is_set()
        self._placed = True
        queue = self._queues.get(self._key)
        if queue is None:
            self._queues[self._key] = deque()
            return True
        self._mine = anyio.Event()
        queue.append(self._mine)
        return False

    async def wait(self) -> None:
        """Return once it is this one's turn. Whoever is cancelled meanwhile has to leave."""
        if self._mine is not None:
            await self._mine.wait()

    async def __aenter__(self) -> None:
        self.take_place()
        try:
            await self.wait()
        except BaseException:
            self.leave()
            raise

    async def __aexit__(self, *_exc: object) -> None:
        self.leave()

    def leave(self) -> None:
        """Give up the place, inside or queued; to leave twice is to leave once."""
        if not self._placed:
            return
        self._placed = False
        queue = self._queues[self._key]
        if self._mine is not None and not self._mine.is_set():
            queue.remove(self._mine)
        elif queue:
            queue.popleft().set()
        else:
            del self._queues[self._key]
