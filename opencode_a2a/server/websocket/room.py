"""Room for what waits to be sent on one WebSocket connection: who makes an answer, and who adds a message.

A client that does not read makes its own requests wait, before their answers are made. So what a connection holds is
a few answers, however many it asks for.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

import anyio
from attrs import define

from sansio.a2a.websocket.messages import LargeMessage
from sansio.a2a.websocket.outbox import Outbox

PATIENCE: Final = 30.0
"""Seconds for which a message waits until the client has taken what was sent before."""

MAKING: Final = 4
"""Requests of one connection whose answers are made, or wait for room, at the same time."""


class Room:
    """Room in an outbox. Who waits gets it in the order of coming, one after the other."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._wakes: dict[Hashable, anyio.Event] = {}  # of those that wait
        self._next: Hashable | None = None  # who has been woken, and has not added its message yet
        self._of_operations = anyio.Semaphore(MAKING, fast_acquire=True)
        self._of_methods = anyio.Semaphore(MAKING, fast_acquire=True)

    def place(self) -> Place:
        """Return the place of a request, which has to leave it in the end."""
        return Place(self._of_operations, self._of_methods)

    async def put(self, key: Hashable, message: bytes | LargeMessage) -> bool:
        """Add a message once there is room; False where the client does not read for long."""
        if not self._outbox.wait(key):  # a timer for each event costs a tenth of the stream
            self._outbox.put(key, message)
            return True
        wake = self._wakes[key] = anyio.Event()
        try:
            self.look()
            with anyio.move_on_after(PATIENCE):
                await wake.wait()
            if has_room := wake.is_set():
                self._outbox.put(key, message)
            return has_room
        finally:
            self._outbox.leave(key)
            del self._wakes[key]
            if self._next is key:
                self._next = None
            self.look()

    def look(self) -> None:
        """Wake who waits and has room by now: a message was taken, or thrown away."""
        if self._next is None and (key := self._outbox.next_waiting()) is not None:
            self._next = key
            self._wakes[key].set()


@define(eq=False)
class Place:
    """A place among those whose answers are made. The agent's own methods, which may take long, have others."""

    _of_operations: anyio.Semaphore
    _of_methods: anyio.Semaphore
    _taken: anyio.Semaphore | None = None

    async def take(self, *, for_method: bool = False) -> None:
        """Wait for the place, unless it is taken already."""
        if self._taken is None:
            places = self._of_methods if for_method else self._of_operations
            await places.acquire()
            self._taken = places

    def leave(self) -> None:
        """Give up the place, if it is taken."""
        taken, self._taken = self._taken, None
        if taken is not None:
            taken.release()
