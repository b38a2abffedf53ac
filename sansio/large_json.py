"""Decodes large JSON in steps, so that others get their turn between two of them.

One call into a JSON decoder holds the interpreter until it is done: 40 ms and more for OpenCode's list of providers,
in whichever thread that is. So the text is cut where a bracket closes, and decoded slice by slice. Knows nothing of
what is decoded, nor of who waits.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from typing import Any, TypeAlias, TypeVar

import orjson
from attrs import define, field

SLICE = 32 * 1024
"""Bytes that are decoded in one go: well below a millisecond."""

_STOPS_AT_ONCE = 256
_SCANNED_AT_ONCE = 256 * 1024  # bytes, of which many may stand between two brackets

T = TypeVar("T")
Steps: TypeAlias = Generator[None, None, T]
"""Work in steps: it yields wherever it may be interrupted, and returns what it made."""

# Up to the next bracket outside of strings, past a few small containers that hold no other: most containers are such,
# and a stop at each took two fifths of the time. Possessive: what was passed is never looked at again.
_STRING_TEXT = rb'"(?:[^"\\]++|\\.)*+"'
_TEXT = rb'[^"{}\[\]]*+(?:%b[^"{}\[\]]*+)*+' % _STRING_TEXT
_SMALL = rb'[^"{}\[\]]{0,256}+(?:"[^"\\]{0,256}+"[^"{}\[\]]{0,256}+){0,32}+'
_TO_BRACKET = re.compile(rb"%b(?:(?:\{%b\}|\[%b\])%b){0,4}+" % (_TEXT, _SMALL, _SMALL, _TEXT), re.DOTALL)
_STRING = re.compile(_STRING_TEXT, re.DOTALL)
_WHITE = b" \t\r\n"
_DEEPEST = 128
_OPENING, _CLOSING = frozenset(b"{["), {ord("}"): ord("{"), ord("]"): ord("[")}


@define
class _Container:
    """An object or array, `start` to `end`. `pieces` are where it is cut, and empty as long as it is small.

    A piece is a run of members, from one offset to another, and the large container that is the last one's value.
    """

    kind: int
    start: int
    end: int = 0
    last: int = 0
    pieces: list[tuple[int, int, _Container | None]] = field(factory=list)


def decoded(body: bytes, shrink: Callable[[Any], Any] | None = None, *, size: int = SLICE) -> Steps[Any]:
    """Parse the value of a JSON text, in steps. Raises `ValueError`.

    `shrink` makes less of each element of an array that is large, as soon as it is decoded. `size`: of a slice.
    """
    if len(body) <= size:
        return orjson.loads(body)
    root = yield from _scanned(body, size)
    if root is None or not root.pieces:
        return orjson.loads(body)  # one long string, or what is no JSON
    if body[: root.start].strip(_WHITE) or body[root.end :].strip(_WHITE):
        raise ValueError("there is more than one JSON value")
    return (yield from _value(body, root, shrink or _whole))


def _whole(value: Any) -> Any:
    return value


def _scanned(body: bytes, slice_size: int) -> Steps[_Container | None]:
    """Return where the outermost container can be cut; `None` where there is none, or none that is complete."""
    match = _TO_BRACKET.match
    open_: list[_Container] = []
    position, end, count, looked = 0, len(body), 0, 0
    while True:
        count += 1
        if count % _STOPS_AT_ONCE == 0 or position - looked > _SCANNED_AT_ONCE:
            looked = position
            yield
        found = match(body, position)
        assert found is not None  # it matches nothing, too
        position = found.end()
        if position >= end:
            return None
        kind = body[position]
        position += 1
        if kind in _OPENING:
            open_.append(_Container(kind, position - 1, last=position))
            if len(open_) > _DEEPEST:
                raise ValueError(f"nested more than {_DEEPEST} levels deep")
            continue
        if not open_ or open_[-1].kind != _CLOSING.get(kind):
            return None
        inner = open_.pop()
        inner.end = position
        if inner.pieces:
            inner.pieces.append((inner.last, position - 1, None))
        if not open_:
            return inner
        outer = open_[-1]
        if inner.pieces:
            outer.pieces.append((outer.last, inner.start, inner))
            outer.last = position
        elif position - outer.last >= slice_size:
            outer.pieces.append((outer.last, position, None))
            outer.last = position


def _value(body: bytes, container: _Container, shrink: Callable[[Any], Any]) -> Steps[Any]:
    if container.kind == ord("["):
        return (yield from _array(body, container, shrink))
    return (yield from _object(body, container, shrink))


def _array(body: bytes, container: _Container, shrink: Callable[[Any], Any]) -> Steps[list[Any]]:
    items: list[Any] = []
    for number, (start, end, inner) in enumerate(container.pieces):
        text = _members(body, number, start, end, inner)
        if inner is None:
            items += [shrink(item) for item in orjson.loads(b"[%b]" % text)]
        else:
            items += [shrink(item) for item in orjson.loads(b"[%bnull]" % text)[:-1]]
            items.append(shrink((yield from _value(body, inner, shrink))))
        yield
    return items


def _object(body: bytes, container: _Container, shrink: Callable[[Any], Any]) -> Steps[dict[str, Any]]:
    members: dict[str, Any] = {}
    for number, (start, end, inner) in enumerate(container.pieces):
        text = _members(body, number, start, end, inner)
        if inner is None:
            members |= orjson.loads(b"{%b}" % text)
        else:
            members |= orjson.loads(b"{%bnull}" % text)
            members[_last_key(text)] = yield from _value(body, inner, shrink)
        yield
    return members


def _members(body: bytes, number: int, start: int, end: int, inner: _Container | None) -> bytes:
    """Return the members of a piece, without the comma that parts them from those before."""
    text = body[start:end].strip(_WHITE)
    if number:
        if text.startswith(b","):
            text = text[1:].strip(_WHITE)
            if not text and inner is None:
                raise ValueError("a comma that parts nothing")
        elif text or inner is not None:
            raise ValueError("a comma is missing")
    return text


def _last_key(text: bytes) -> str:
    """Return the key before a value that is decoded by itself: the last string in the valid members."""
    key = b'""'
    for found in _STRING.finditer(text):
        key = found[0]
    return str(orjson.loads(key))
