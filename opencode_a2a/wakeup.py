"""Wakes everybody who waits for the next time that something happens. Knows nothing of what happens."""

from __future__ import annotations

from collections.abc import Awaitable

import anyio


class Wakeup:
    """An event that happens again and again. Each waiter is woken by the next one. Nobody waits: nothing is made."""

    __slots__ = ("_next",)

    def __init__(self) -> None:
        self._next: anyio.Event | None = None

    def wake(self) -> None:
        """Wake all that wait now."""
        event, self._next = self._next, None
        if event is not None:
            event.set()

    def next(self) -> anyio.Event:
        """Return the event that the next `wake` sets: for those who look first and wait afterwards."""
        if self._next is None:
            self._next = anyio.Event()
        return self._next

    def wait(self) -> Awaitable[None]:
        """Return at the next `wake`. There are many who wait for long: it is no coroutine around another."""
        return self.next().wait()
