"""Lines of standard input that is no terminal: a pipe or a file. A wait for the next one can be cancelled."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TextIO

import anyio
import anyio.to_thread
from attrs import define, field

_PIECE = 65_536  # bytes that are read at once


@define(eq=False)
class PipedLines:
    """A stream as lines of at most `limit` bytes."""

    stdin: TextIO
    limit: int
    _read: bytearray = field(factory=bytearray, init=False)
    _ended: bool = field(default=False, init=False)

    async def line(self) -> str | None:
        """Return the next line without its end; `None` after the last.

        Raises `ValueError` for a line that is too long, and for bytes that are no text in the stream's encoding.
        """
        while not self._ended and b"\n" not in self._read:
            if len(self._read) > self.limit:
                raise ValueError(f"a line of standard input is longer than {self.limit} bytes")
            await self._more()
        if not self._read:
            return None
        end = self._read.find(b"\n")
        line = bytes(self._read if end < 0 else self._read[:end])
        del self._read[: len(line) + 1]
        try:
            return line.decode(self.stdin.encoding or "utf-8").removesuffix("\r")
        except UnicodeDecodeError:
            raise ValueError("standard input is not text in the terminal's encoding") from None

    async def _more(self) -> None:
        descriptor = self.stdin.fileno()
        if sys.platform == "win32":  # pipes cannot be waited for
            piece = await anyio.to_thread.run_sync(os.read, descriptor, _PIECE, abandon_on_cancel=True)
        else:
            with suppress(PermissionError):  # a regular file is always ready, and epoll does not take it
                await anyio.wait_readable(descriptor)
            piece = os.read(descriptor, _PIECE)
        self._ended = not piece
        self._read += piece
