"""A read that many ask for at the same moment, carried out once for all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import anyio
from attrs import define, field

Value = TypeVar("Value")


@define(eq=False)
class _Line(Generic[Value]):
    """Those who want one thing to be read. `begun`, `ended`: the numbers of reads that have."""

    turn: anyio.Lock = field(factory=lambda: anyio.Lock(fast_acquire=True))
    waiting: int = 0
    begun: int = 0
    ended: int = 0
    value: Value | None = None
    error: Exception | None = None


class SharedRead(Generic[Value]):
    """Reads by key. Each caller gets what a read brought that began after the call, so nobody gets what is older."""

    def __init__(self) -> None:
        self._lines: dict[Hashable, _Line[Value]] = {}

    async def get(self, key: Hashable, read: Callable[[], Awaitable[Value]]) -> Value:
        """Return what a read brings, one's own or that of another caller; raises what it raises."""
        line = self._lines.setdefault(key, _Line())
        wanted = line.begun + 1
        line.waiting += 1
        try:
            async with line.turn:
                if line.ended < wanted:
                    await self._read(line, read)
                if line.error is not None:
                    raise line.error.with_traceback(None)
                return line.value  # type: ignore[return-value]  # that of a read which has ended
        finally:
            line.waiting -= 1
            if not line.waiting:
                del self._lines[key]

    async def _read(self, line: _Line[Value], read: Callable[[], Awaitable[Value]]) -> None:
        """Carry out a read. One that is cancelled has not ended: the next caller begins another."""
        line.begun += 1
        number = line.begun
        try:
            line.value, line.error = await read(), None
        except Exception as exc:
            line.value, line.error = None, exc
        line.ended = number
