"""Takes work that comes in steps, with everybody's turn in between. Knows nothing of the work."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

import anyio.lowlevel

T = TypeVar("T")


async def in_turns(steps: Generator[None, None, T]) -> T:
    """Take the steps, and let everybody else have their turn between two of them."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            made: T = end.value
            return made
        await anyio.lowlevel.checkpoint()
