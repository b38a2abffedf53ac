"""Messages of WebSocket connections: how large one may be, how many wait, and how many frames carry nothing.

Pure: time is an argument, in seconds of any clock.
"""

from __future__ import annotations

from typing import Final

from attrs import define, field

_COST: Final = 512  # bytes that a message takes beside its text, roughly
_SMALL: Final = 16  # bytes; a fragment with fewer costs more to parse than it carries


@define
class MessageBudget:
    """Budget of a client's frames: full at first, refilled by time and by messages.

    A ping, a pong, and a fragment of few bytes that does not end its message cost 1. `largest`: bytes of a message,
    0 for no limit.
    """

    now: float
    largest: int = 0
    most: float = 200.0
    per_second: float = 10.0
    _left: float = field(init=False)
    _size: int = field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        self._left = self.most

    def control(self, now: float) -> bool:
        """Count a ping or a pong; False once the client has sent more than it may."""
        self._left = min(self.most, self._left + (now - self.now) * self.per_second) - 1
        self.now = now
        return self._left >= 0

    def fragment(self, size: int, now: float, *, frame_ends: bool, message_ends: bool) -> bool:
        """Count `size` bytes of a message; False once the client has sent more small fragments than it may."""
        self._size = 0 if message_ends else self._size + size
        return message_ends or not frame_ends or size >= _SMALL or self.control(now)

    def is_too_large(self, more: int) -> bool:
        """Return whether a message is too large with so many bytes more."""
        return bool(self.largest) and self._size + more > self.largest


@define
class ReadAhead:
    """Messages that wait for the application. `most`: bytes, with what each message costs beside its text.

    So a flood of empty messages fills it, too.
    """

    most: int = 262_144
    _waiting: int = field(init=False, default=0)

    @property
    def is_full(self) -> bool:
        """Whether the client has to wait until the application takes a message."""
        return self._waiting > self.most

    def put(self, size: int) -> None:
        """Count a message that waits. `size`: its characters or bytes."""
        self._waiting += size + _COST

    def take(self, size: int) -> None:
        """Count a message that the application takes."""
        self._waiting -= size + _COST
