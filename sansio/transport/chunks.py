"""Chunks of HTTP/1.1 request bodies that cost a server work and carry next to nothing.

Pure. A parser spends about ten microseconds on a chunk, however small it is: a body of chunks of one byte costs a
hundred times what it is worth.
"""

from __future__ import annotations

from attrs import define


@define
class ChunkBudget:
    """Count the chunks of one body. After `free` chunks they must average `least` bytes."""

    free: int = 1000
    least: int = 16
    _chunks: int = 0
    _bytes: int = 0

    def take(self, size: int, *, begins: bool) -> bool:
        """Count a piece of `size` bytes; `begins`: it is the first piece of a chunk. False: too many chunks."""
        self._chunks += begins
        self._bytes += size
        return self._chunks <= self.free or self._bytes >= self._chunks * self.least
