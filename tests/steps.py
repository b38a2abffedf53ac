"""Takes work that comes in steps to its end, at once."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")


def counted(steps: Generator[None, None, T]) -> tuple[T, int]:
    """Return what the steps make, and how many there are."""
    count = 1
    while True:
        try:
            next(steps)
        except StopIteration as end:
            made: T = end.value
            return made, count
        count += 1


def taken(steps: Generator[None, None, T]) -> T:
    """Return what the steps make."""
    return counted(steps)[0]
