"""Messages that wait to be sent on one connection: each request has a share, and they take turns.

Pure. A client that does not read fills the share of each of its streams, and no more: what fills one waits, or ends.
All of a connection's messages have a bound, too. Who waits for room gets it in the order of coming.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Final

from attrs import define, field

from sansio.a2a.websocket.messages import LargeMessage

SHARE: Final = 256 * 1024
"""Bytes that may wait for one request before it adds another message."""

MOST: Final = 1024 * 1024
"""Bytes that may wait on a connection before anybody adds another message."""


@define
class Outbox:
    """Messages that wait, by the request that they answer.

    `share`, `most`: bytes, of one request and of all. A message may be larger than either.
    """

    share: int = SHARE
    most: int = MOST
    size: int = field(init=False, default=0)
    """Bytes that wait."""
    # the next to have its turn is first
    _queues: dict[Hashable, deque[bytes | LargeMessage]] = field(init=False, factory=dict)
    _sizes: dict[Hashable, int] = field(init=False, factory=dict)
    _waiting: dict[Hashable, None] = field(init=False, factory=dict)  # for room, the first to come first

    @property
    def is_full(self) -> bool:
        """Return whether nobody may add a message."""
        return self.size >= self.most

    def has_room(self, key: Hashable) -> bool:
        """Return whether a request may add a message, where nobody has waited for that before it."""
        return not self.is_full and self._sizes.get(key, 0) < self.share

    def takes(self, key: Hashable) -> bool:
        """Return whether a request may add a message at once, since nobody waits before it."""
        return not self._waiting and self.has_room(key)

    def wait(self, key: Hashable) -> bool:
        """Let a request wait for room, behind those that wait already. Returns False where it need not."""
        if self.takes(key):
            return False
        self._waiting[key] = None
        return True

    def next_waiting(self) -> Hashable | None:
        """Return the first request that waits and has room by now; None where none has."""
        if self.is_full:
            return None
        return next((key for key in self._waiting if self._sizes.get(key, 0) < self.share), None)

    def leave(self, key: Hashable) -> None:
        """Let a request wait no longer."""
        self._waiting.pop(key, None)

    def put(self, key: Hashable, message: bytes | LargeMessage) -> None:
        """Add a message, whether there is room or not."""
        self._queues.setdefault(key, deque()).append(message)
        self._sizes[key] = self._sizes.get(key, 0) + len(message)
        self.size += len(message)

    def take(self) -> tuple[Hashable, bytes | LargeMessage] | None:
        """Take the next message, with the request that it answers; None where none waits."""
        for key in self._queues:
            queue = self._queues.pop(key)
            message = queue.popleft()
            self.size -= len(message)
            if queue:
                self._queues[key] = queue  # behind the others
                self._sizes[key] -= len(message)
            else:
                del self._sizes[key]
            return key, message
        return None

    def drop(self, key: Hashable) -> None:
        """Forget what waits for a request."""
        self._queues.pop(key, None)
        self.size -= self._sizes.pop(key, 0)
