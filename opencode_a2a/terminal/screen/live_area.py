"""The end of a terminal's output that is drawn again and again, below what stays.

The cursor waits at the first cell of the area. So the area can be erased whatever has become of the terminal's width:
everything below the cursor goes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final, TextIO

_ERASE: Final = "\r\x1b[J"
_HIDE_CURSOR: Final = "\x1b[?25l"
_SHOW_CURSOR: Final = "\x1b[?25h"


class LiveArea:
    """The area of one terminal. Lines drawn must be narrower than the terminal, and fewer than its lines."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._drawn: tuple[str, ...] = ()

    def erase(self) -> None:
        """Remove the area; what is written next takes its place."""
        if self._drawn:
            self._drawn = ()
            self._write(_ERASE + _SHOW_CURSOR)

    def draw(self, lines: Sequence[str]) -> None:
        """Draw the area in place of what it was."""
        if not lines:
            self.erase()
            return
        drawn = tuple(lines)
        if drawn == self._drawn:
            return
        up = f"\x1b[{len(lines) - 1}A" if len(lines) > 1 else ""
        hide = "" if self._drawn else _HIDE_CURSOR
        self._drawn = drawn
        self._write(hide + _ERASE + "\n".join(lines) + up + "\r")

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def size_of(stream: TextIO) -> tuple[int, int]:
    """Return a terminal's columns and lines; 80 and 24, or `COLUMNS`, where there is none."""
    try:
        size = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        columns = os.environ.get("COLUMNS", "")
        return (min(max(int(columns), 20), 500) if columns.isdecimal() and len(columns) < 5 else 80), 24
    return max(size.columns, 4) if size.columns else 80, size.lines or 24
