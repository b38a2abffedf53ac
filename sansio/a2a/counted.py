"""Numbers of things in words, for messages and the log."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """Return the number and the noun, with an `s` unless there is one: `1 task`, `2 tasks`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
