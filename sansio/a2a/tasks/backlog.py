"""Decides which tasks fail where events gather that a store cannot take: memory is bounded, and nothing seen is lost.

Events that readers have seen are kept until they are stored, so a task that fails frees nothing: it only adds no
more. Therefore tasks fail before all is used, the largest first, and leave room for the others:

    bytes that wait                         who fails, of those that go on publishing
    below half of the bound                 nobody
    half of the bound                       the largest
    half of what was left at the last one   the next largest
    the bound                               all

Once less than a quarter waits, this begins again. Knows nothing of stores, or of how a task fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

MOST_BYTES: Final = 64 * 1024 * 1024
"""Bytes of writes that wait for the store, at which all tasks fail that go on publishing."""


class Backlog:
    """The bound on what waits for the store. `most`: bytes."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._most = most
        self._next = most // 2  # bytes at which a task fails
        self.reached: bool = False  # some task had to fail since less than a quarter waited

    def overdue(self, held: int, publishing: Mapping[str, int]) -> list[str]:
        """Return the ids of the tasks that have to fail now, the largest first.

        `held`: all bytes that wait; `publishing`: those of each task that has just published, by its id.
        """
        if held < self._most // 4:
            self._next, self.reached = self._most // 2, False
        if held < self._next or not publishing:
            return []
        self.reached = True
        largest_first = sorted(publishing, key=publishing.__getitem__, reverse=True)
        if held >= self._most:
            return largest_first
        self._next = (held + self._most) // 2
        return largest_first[:1]
