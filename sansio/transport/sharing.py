"""Connections that several processes accept from one listening socket: who takes the next, so that all have as many.

Pure: the counts are a sequence of whole numbers, which lies in memory that the processes share.

The kernel wakes every process that waits for a connection, and the fastest takes it. A process that has more
connections than another one lets that one go first: it waits for `PAUSE` seconds, and takes what is still there then.
So no connection waits for long for a process that hangs, and a socket of its own for each process is not needed: a
connection that is bound to the socket of a dead process waits for the next one.
"""

from __future__ import annotations

from typing import Final, Protocol

from attrs import define

ABSENT: Final = -1
"""The count of a process that accepts nothing."""

PAUSE: Final = 0.002
"""Seconds for which a process that has more than another one lets it go first."""

_LEAD: Final = 2  # connections that a process may have more than another one, so that bursts do not alternate
_PART: Final = 16  # and one more for so many that it has


class Counts(Protocol):
    """Open connections by process; `memoryview` and `list` are such sequences."""

    def __getitem__(self, place: int, /) -> int: ...

    def __setitem__(self, place: int, count: int, /) -> None: ...

    def __len__(self) -> int: ...


@define(eq=False)
class AcceptShare:
    """The share of one process. `place`: the index of its own count."""

    _counts: Counts
    place: int

    def join(self) -> None:
        """Begin to accept, without a connection."""
        self._counts[self.place] = 0

    def note(self, connections: int) -> None:
        """Set the number of connections that this process has open. No effect while it accepts nothing."""
        if self._counts[self.place] != ABSENT:
            self._counts[self.place] = connections

    def leave(self) -> None:
        """Accept nothing any more: the others need not let this process go first."""
        self._counts[self.place] = ABSENT

    @property
    def others_accept(self) -> bool:
        """Whether another process accepts connections."""
        return bool(self._others)

    @property
    def lets_others_first(self) -> bool:
        """Whether another process has so few connections that it should take the next one."""
        mine = self._counts[self.place]
        return mine > min(self._others, default=mine) + _LEAD + mine // _PART

    @property
    def _others(self) -> list[int]:
        """The counts of the other processes that accept."""
        counts = (self._counts[place] for place in range(len(self._counts)) if place != self.place)
        return [count for count in counts if count != ABSENT]
