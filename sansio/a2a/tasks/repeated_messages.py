"""Recognises a message that is sent again: equal parts, and a filter of the message ids that may be known.

Pure, but for the seed of Python's `hash`, on which no answer depends. Knows nothing of stores.
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from sansio.a2a.model import DataPart, FilePart, JsonObject, Message, Part, Task, TextPart

_BITS = 1 << 24  # 2 MiB; with a million ids, one unknown id in 400 is taken for a known one
_PROBES = 4


class MessageFilter:
    """A Bloom filter of (principal, message id) pairs, 2 MiB whatever it holds.

    A pair that was added is always found. One that was not may be found as well: then a look into the store
    costs time and nothing else. `complete`: all pairs of the store were added; until then every pair is found.
    """

    def __init__(self) -> None:
        self._bits = bytearray(_BITS // 8)
        self.complete = False

    def add(self, principal: str, message_id: str) -> None:
        for bit in _bits_of(principal, message_id):
            self._bits[bit >> 3] |= 1 << (bit & 7)

    def may_hold(self, principal: str, message_id: str) -> bool:
        """Return false only if the pair was never added, and cannot be in the store."""
        if not self.complete:
            return True
        return all(self._bits[bit >> 3] >> (bit & 7) & 1 for bit in _bits_of(principal, message_id))


def _bits_of(principal: str, message_id: str) -> Sequence[int]:
    """Return the positions of a pair's bits, by double hashing."""
    found = hash((principal, message_id))
    step = (found >> 32) | 1
    return [(found + probe * step) & (_BITS - 1) for probe in range(_PROBES)]


def first_message(task: Task, message_id: str) -> Message | None:
    """Return the message of a task's history that has this id."""
    return next((message for message in task.history if message.message_id == message_id), None)


def same_parts(one: Sequence[Part], other: Sequence[Part]) -> bool:
    """Return whether two messages have the same parts. Empty counts as absent; numbers are compared as written."""
    return len(one) == len(other) and all(map(_same_part, one, other))


def _same_part(one: Part, other: Part) -> bool:
    about = (one.media_type or None, one.filename or None) == (other.media_type or None, other.filename or None)
    return about and _same_content(one, other) and _same_json(one.metadata or {}, other.metadata or {})


def _same_content(one: Part, other: Part) -> bool:
    match one, other:
        case TextPart(), TextPart():
            return one.text == other.text
        case FilePart(), FilePart():
            return (one.raw, one.url) == (other.raw, other.url)
        case DataPart(), DataPart():
            return _same_json(one.data, other.data)
        case _:
            return False


def _same_json(one: JsonObject, other: JsonObject) -> bool:
    """Compare two values as JSON: to Python, `True` equals 1."""
    return orjson.dumps(one, option=orjson.OPT_SORT_KEYS) == orjson.dumps(other, option=orjson.OPT_SORT_KEYS)
