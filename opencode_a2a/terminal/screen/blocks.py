"""Markdown that streams, cut into blocks: what is finished can be laid out once and for all.

Every character is looked at once, and a block that goes on and on is cut, so that the open one is always small. Knows
no terminal, and of Markdown only where blocks begin and end.

    a paragraph   ends at an empty line, before a heading, before a fence
    a heading     is a block of one line
    fenced code   ends with its closing fence
    a list        goes on after an empty line where the next line is indented
"""

from __future__ import annotations

import re
from typing import Final

from attrs import Factory, define, frozen

_FENCE: Final = re.compile(r"( *)(`{3,}(?=[^`]*$)|~{3,})")
_HEADING: Final = re.compile(r"#{1,6}(?:\s|$)")
_ITEM: Final = re.compile(r" {0,3}(?:[-*+]|\d{1,9}[.)])\s")
_TABLE: Final = re.compile(r"\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$")

MOST_LINES: Final = 200
MOST_CHARACTERS: Final = 20_000


@frozen
class Block:
    """A finished block. `continues`: it belongs to the block before it, which was cut."""

    text: str
    continues: bool = False


@define
class MarkdownBlocks:
    """`feed` it text as it comes; `finish` it where the answer ends or something else goes between."""

    _lines: list[str] = Factory(list)  # of the open block
    _characters: int = 0
    _last: list[str] = Factory(list)  # pieces of the line that has not ended
    _fence: str | None = None  # the mark that closes the code
    _blank: bool = False  # an empty line may have ended the block
    _continues: bool = False

    def feed(self, text: str) -> list[Block]:
        """Add text; return the blocks that it has finished."""
        finished: list[Block] = []
        head, *lines = text.split("\n")
        self._last.append(head)
        for line in lines:
            self._take("".join(self._last).removesuffix("\r"), finished)
            self._last = [line]
        self._characters += len(head) if not lines else 0
        if self._characters > 2 * MOST_CHARACTERS:
            self._take("".join(self._last), finished)  # a line without an end
            self._last = []
            self._cut(finished)
        return finished

    def finish(self) -> list[Block]:
        """Return what is open as finished blocks."""
        finished: list[Block] = []
        last = "".join(self._last)
        self._last = []
        if last:
            self._take(last, finished)
        self._fence = None
        self._end(finished)
        return finished

    def tail(self, lines: int, width: int) -> Block:
        """Return the open block, or its end where it is longer than that many lines of that many characters."""
        last = "".join(self._last)
        self._last = [last]
        shown = [line[-lines * width :] for line in [*self._lines[-lines:], last]]
        if len(self._lines) > lines:
            heads = 1 if self._fence else 2 if len(self._lines) > 1 and _TABLE.match(self._lines[1]) else 0
            shown = [*self._lines[:heads], *shown]
        return Block("\n".join(shown), self._continues)

    def _take(self, line: str, finished: list[Block]) -> None:
        """Add a line that has ended."""
        if self._fence is None:
            self._open(line, finished)
            fence = _FENCE.match(line)
            if fence is not None:
                self._fence = fence[2]
            if line.strip():
                self._add(line)
            if _HEADING.match(line):
                self._end(finished)
        else:
            self._add(line)
            mark = line.strip()
            if len(mark) >= len(self._fence) and set(mark) == {self._fence[0]}:
                self._fence = None
                if _FENCE.match(self._lines[0]):
                    self._end(finished)
        if len(self._lines) > MOST_LINES or self._characters > MOST_CHARACTERS:
            self._cut(finished)

    def _open(self, line: str, finished: list[Block]) -> None:
        """End the block that a line outside of fenced code does not belong to."""
        is_list = bool(self._lines) and _ITEM.match(self._lines[0]) is not None
        if not line.strip():
            if not is_list:
                self._end(finished)
            elif not self._blank:
                self._add("")
                self._blank = True
            return
        indented = line[0] in " \t"
        fence = _FENCE.match(line)
        if (
            (self._blank and not indented)
            or _HEADING.match(line)
            or (fence is not None and len(fence[1]) < 4 and not (is_list and indented))
        ):
            self._end(finished)
        self._blank = False

    def _add(self, line: str) -> None:
        self._lines.append(line)
        self._characters += len(line) + 1

    def _end(self, finished: list[Block]) -> None:
        text = "\n".join(self._lines).rstrip()
        if text:
            finished.append(Block(text, self._continues))
        self._lines, self._characters = [], 0
        self._blank = self._continues = False

    def _cut(self, finished: list[Block]) -> None:
        """End a block that goes on; code goes on in a fence of its own."""
        opening = self._lines[0] if self._fence and self._lines and _FENCE.match(self._lines[0]) else None
        if opening is not None and self._fence is not None:
            self._lines.append(self._fence)
        self._end(finished)
        self._continues = True
        if opening is not None:
            self._add(opening)
