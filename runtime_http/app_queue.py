"""Messages on their way to one application. Knows no event loop: its events are the runtime's.

The queues of asyncio and trio keep deques and ordered dicts for those who wait, some 3 kB. Most applications take
their messages at once, and wait for the last one as long as their stream lasts.
"""

from __future__ import annotations

from typing import Any

from hypercorn.typing import Event


class AppQueue:
    """Messages for one application, of which at most so many wait."""

    __slots__ = ("_came", "_event_class", "_messages", "_most", "_room")

    def __init__(self, most: int, event_class: type[Event]) -> None:
        self._most = most
        self._event_class = event_class
        self._messages: list[Any] = []
        self._came: Event = event_class()
        self._room: Event | None = None  # there is one once somebody has waited for it

    async def put(self, message: Any) -> None:
        """Add a message, once there is room."""
        while len(self._messages) >= self._most:
            if self._room is None:
                self._room = self._event_class()
            await self._room.clear()
            await self._room.wait()
        self._messages.append(message)
        await self._came.set()

    async def get(self) -> Any:
        """Take the next message, once there is one."""
        while not self._messages:
            await self._came.clear()
            await self._came.wait()
        message = self._messages.pop(0)
        if self._room is not None:
            await self._room.set()
        return message
