"""OpenCode's ids: a prefix, twelve hex digits that sort by time, fourteen letters or digits.

Must know nothing of what the ids are for.
"""

from __future__ import annotations

import random
import string
import time

_ALPHABET = string.ascii_letters + string.digits
_SPAN = 2**48
_PER_MILLISECOND = 4096


def epoch_ms() -> int:
    """Now, in milliseconds, as OpenCode stamps everything."""
    return time.time_ns() // 1_000_000


class Ids:
    """Hands out ids in ascending order, also within one millisecond and when the clock steps back."""

    def __init__(self) -> None:
        self._last = 0

    def ascending(self, prefix: str) -> str:
        return f"{prefix}_{self._next():012x}{_tail()}"

    def descending(self, prefix: str) -> str:
        """Sessions count down, so that the newest sorts first."""
        return f"{prefix}_{_SPAN - 1 - self._next():012x}{_tail()}"

    def _next(self) -> int:
        self._last = max(self._last, epoch_ms() * _PER_MILLISECOND) + 1
        return self._last % _SPAN


def _tail() -> str:
    return "".join(random.choices(_ALPHABET, k=14))
