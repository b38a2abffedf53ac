"""The changes that one reader has not read yet, as one item. Knows nothing of where they come from."""

from __future__ import annotations

from typing import Self

from opencode_a2a.wakeup import Wakeup
from sansio.a2a.replicas.changes import NO_CHANGES, Changes


class ChangeFeed:
    """An iterator without end over changes. What is posted while nobody reads is merged, and so bounded."""

    def __init__(self) -> None:
        self._unread = NO_CHANGES
        self._posted = Wakeup()

    def post(self, changes: Changes) -> None:
        """Add changes, on the event loop."""
        self._unread = self._unread.then(changes)
        self._posted.wake()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Changes:
        while not self._unread:
            await self._posted.wait()
        unread, self._unread = self._unread, NO_CHANGES
        return unread
