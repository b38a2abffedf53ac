"""Decodes the JSON of a request, which may hold a bounded number of values.

A megabyte can hold half a million numbers or objects. To decode and read them takes seconds, and to keep them takes
many times their bytes. They are counted first, which takes a thousandth of that.
"""

from __future__ import annotations

from typing import Any

import orjson

from sansio.a2a.errors import ErrorKind, ProtocolError

MOST_VALUES = 20_000
"""Values in one request: texts, numbers, lists, objects. Text is one value, however long it is."""

_SLICE = 65536


def decoded(body: bytes) -> Any:
    """Decode a JSON text. Raises `ProtocolError`: PARSE_ERROR, or PAYLOAD_TOO_LARGE for too many values."""
    if len(body) > MOST_VALUES and values_in(body, MOST_VALUES) > MOST_VALUES:
        raise too_many_values()
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise ProtocolError(ErrorKind.PARSE_ERROR, f"Invalid JSON payload: {exc}") from None


def too_many_values() -> ProtocolError:
    """Make the error for a request of more than `MOST_VALUES` values."""
    return ProtocolError(
        ErrorKind.PAYLOAD_TOO_LARGE,
        f"The request body holds more than {MOST_VALUES} values",
        data={"type": "TOO_MANY_VALUES", "max_values": MOST_VALUES},
        metadata={"maxValues": str(MOST_VALUES)},
    )


def values_in(body: bytes, enough: int) -> int:
    """Count the values in a JSON text, at most: each but the outermost follows a comma or an opening bracket.

    Beyond `enough` the number is not exact. What stands within strings is not counted.
    """
    rough = _separators(body, enough)
    if rough <= enough:
        return rough
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    quotes = body.count(b'"')
    if quotes > 4 * enough:  # a string is a value or the name of one
        return -(-quotes // 4)
    return _separators(b"".join(body.split(b'"')[::2]) if quotes else body, enough)


def _separators(text: bytes, enough: int) -> int:
    """Return the separators, each slice of the text counted until there are `enough`."""
    found = 1
    for start in range(0, len(text), _SLICE):
        end = start + _SLICE
        found += text.count(b",", start, end) + text.count(b"[", start, end) + text.count(b"{", start, end)
        if found > enough:  # perhaps: empty containers hold no value
            found -= text.count(b"[]", start, end) + text.count(b"{}", start, end)
            if found > enough:
                break
    return found
