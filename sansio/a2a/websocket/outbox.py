"""Messages that wait to be sent on one connection: each request has a share, and they take turns.

Pure. A client that does not read fills the share of each of its streams, and no more: what fills one waits, or ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Final

from attrs import define, field

SHARE: Final = 256 * 1024
"""Bytes that may wait for one request before it adds another message."""


@define
class Outbox:
    """Messages that wait, by the request that they answer. `share`: bytes. A message may be larger than a share."""

    share: int = SHARE
    _queues: dict[Hashable, deque[bytes]] = field(init=False, factory=dict)  # the next to have its turn is first
    _sizes: dict[Hashable, int] = field(init=False, factory=dict)

    @property
    def size(self) -> int:
        """Bytes that wait."""
        return sum(self._sizes.values())

    def has_room(self, key: Hashable) -> bool:
        """Return whether a request may add a message."""
        return self._sizes.get(key, 0) < self.share

    def put(self, key: Hashable, message: bytes) -> None:
        """Add a message, whether there is room or not."""
        self._queues.setdefault(key, deque()).append(message)
        self._sizes[key] = self._sizes.get(key, 0) + len(message)

    def take(self) -> tuple[Hashable, bytes] | None:
        """Take the next message, with the request that it answers; None where none waits."""
        for key in self._queues:
            queue = self._queues.pop(key)
            message = queue.popleft()
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
        self._sizes.pop(key, None)
