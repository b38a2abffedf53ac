"""Pauses between attempts that fail. Pure: who counts the failures, and who waits, is elsewhere."""

from __future__ import annotations

from typing import Final

from attrs import field, frozen
from attrs.validators import min_len

PATIENCE: Final = 3600.0
"""Seconds for which a task may stay as it is before a client gives it up, where nobody says."""


@frozen
class Backoff:
    """The pauses before further attempts, in seconds: at least one. The last one repeats."""

    pauses: tuple[float, ...] = field(validator=min_len(1))

    @classmethod
    def growing(cls, first: float, longest: float, *, factor: float = 2.0) -> Backoff:
        """Make pauses that grow from `first` to `longest` seconds. `factor`, above 1: of each to the one before."""
        pauses = [first]
        while pauses[-1] < longest:
            pauses.append(min(pauses[-1] * factor, longest))
        return cls(tuple(pauses))

    def pause(self, done: int, *, chance: float = 1.0) -> float:
        """Return the seconds to wait after `done` earlier pauses.

        `chance`: the part of the pause that is taken, from 0 to 1; at random, where many that failed together must
        not come back together.
        """
        return chance * self.pauses[min(done, len(self.pauses) - 1)]
