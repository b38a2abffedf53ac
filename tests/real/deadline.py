"""A point in time after which a test stops waiting.

Must not know what is waited for.
"""

from __future__ import annotations

import time

import attrs


class TooLateError(AssertionError):
    """What was waited for did not happen in time."""


@attrs.frozen
class Deadline:
    """`at` is on the monotonic clock, in seconds."""

    at: float

    @classmethod
    def within(cls, seconds: float) -> Deadline:
        return cls(time.monotonic() + seconds)

    @property
    def left(self) -> float:
        return max(0.0, self.at - time.monotonic())

    @property
    def passed(self) -> bool:
        return self.left == 0.0

    def check(self, waiting_for: str) -> None:
        """Raise `TooLateError` if the deadline has passed."""
        if self.passed:
            raise TooLateError(f"gave up waiting for {waiting_for}")
