"""Texts measured in the cells of a terminal: their width, cut to one, and wrapped to one."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator


def width_of(text: str) -> int:
    """Return the cells that a text takes. Control characters are taken to be replaced already."""
    if text.isascii():
        return len(text)
    return sum(map(_width, text))


def _width(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut(text: str, width: int) -> str:
    """Return the text, cut to the cells that there are, with an ellipsis where something is missing."""
    if width_of(text) <= width:
        return text
    return f"{_head(text, max(width - 1, 0))}…"


def _head(text: str, width: int) -> str:
    taken = 0
    for index, character in enumerate(text):
        taken += _width(character)
        if taken > width:
            return text[:index]
    return text


def wrap(text: str, width: int) -> Iterator[str]:
    """Yield one line of text as lines of at most so many cells, broken between words where there are some."""
    width = max(width, 2)
    rest = text.expandtabs()
    while width_of(rest) > width:
        head = _head(rest, width)
        space = head.rfind(" ", 1) if rest[len(head) : len(head) + 1] != " " else len(head)
        if space > 0 and head[:space].strip():
            head = head[:space]
        yield head.rstrip()
        rest = rest[len(head) :].lstrip(" ")
    yield rest.rstrip()
