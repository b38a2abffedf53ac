"""Encodes large JSON in steps, as pieces, so that others get their turn between two of them.

One call into a JSON encoder holds the interpreter until it is done, some milliseconds for each 5 MB, and so does the
copying of a large text. The value is taken apart where it is large, and its pieces are never joined.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any, TypeAlias, TypeVar

import orjson

SLICE = 128 * 1024
"""Bytes, about, that are encoded in one go: well below a millisecond."""

_MOST_AT_ONCE = 128  # items of a list
_STEPS_A_PIECE = 4

T = TypeVar("T")
Steps: TypeAlias = Generator[None, None, T]
"""Work in steps: it yields wherever it may be interrupted, and returns what it made."""


def kept_json(value: Any) -> bytes:
    """Render a small value as JSON that is kept for long, or many times over.

    It is a copy: what orjson gives keeps the 4 kB that it was written into.
    """
    return b"%b" % orjson.dumps(value)


def encoded_pieces(value: Any, *, size: int = SLICE) -> Steps[list[bytes]]:
    """Render the value as JSON, in pieces of about `size` bytes; most values are one piece, made without a step."""
    if not is_heavier(value, size):
        return [orjson.dumps(value)]
    yield  # to make the value took a while as well
    return (yield from joined_pieces(_pieces(value, size), size))


def joined_pieces(pieces: Iterable[bytes], size: int) -> Steps[list[bytes]]:
    """Join small pieces to ones of about `size` bytes, in steps."""
    made: list[bytes] = []
    gathered: list[bytes] = []
    length = since = 0
    for piece in pieces:
        gathered.append(piece)
        length += len(piece)
        since += len(piece)
        if length >= size:
            made.append(b"".join(gathered))
            gathered.clear()
            length = 0
        if since >= size // _STEPS_A_PIECE:  # to weigh many small values takes longer than to encode them
            since = 0
            yield
    made.append(b"".join(gathered))
    return made


def _pieces(value: Any, size: int) -> Iterator[bytes]:
    if not value or not isinstance(value, str | dict | list) or not is_heavier(value, size):
        yield orjson.dumps(value)
    elif isinstance(value, str):
        yield b'"'
        for start in range(0, len(value), size):
            yield orjson.dumps(value[start : start + size])[1:-1]
        yield b'"'
    elif isinstance(value, dict):
        mark = b"{"
        for name, member in value.items():
            yield b"%b%b:" % (mark, orjson.dumps(name))
            yield from _pieces(member, size)
            mark = b","
        yield b"}"
    else:
        mark = b"["
        for run in runs(value, size):
            yield mark
            if len(run) == 1:
                yield from _pieces(run[0], size)
            else:
                yield orjson.dumps(run)[1:-1]
            mark = b","
        yield b"]"


def runs(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """Yield the items, one at least, in runs of about `size` bytes as JSON, or of one item that is larger."""
    start, weight = 0, 0
    for index, item in enumerate(items):
        more = _weight(item, size)
        if index > start and (weight + more > size or index - start >= _MOST_AT_ONCE):
            yield items[start:index]
            start, weight = index, 0
        weight += more
    yield items[start:]


def is_heavier(value: Any, size: int) -> bool:
    """Return whether the value takes more than about `size` bytes as JSON."""
    return _weight(value, size) > size


def _weight(value: Any, enough: int) -> int:
    """Estimate the bytes that the value takes as JSON; beyond `enough` it is not looked at any further."""
    if isinstance(value, str):
        return len(value) + 2
    if not isinstance(value, dict | list):
        return 4
    weight = 2
    for item in value.values() if isinstance(value, dict) else value:
        weight += len(item) + 2 if isinstance(item, str) else 4 + _weight(item, enough - weight)
        if weight > enough:
            break
    if isinstance(value, dict):
        weight += 8 * len(value)
    return weight
