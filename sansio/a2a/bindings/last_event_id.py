"""Resumption of streams: the id of the last event that a client received, from a header or the metadata."""

from __future__ import annotations

from sansio.a2a.errors import invalid
from sansio.a2a.model import JsonObject

HEADER = "last-event-id"
METADATA_FIELD = ("metadata", "shared", "resume", "last_event_id")
"""Member of the request's metadata, for clients that cannot set headers."""

_MOST_DIGITS = 18
PATTERN = f"[0-9]{{1,{_MOST_DIGITS}}}"
"""Regular expression of an id."""
SCHEMA: JsonObject = {
    "anyOf": [
        {"type": "string", "pattern": f"^{PATTERN}$"},
        {"type": "integer", "minimum": 0, "maximum": 10**_MOST_DIGITS - 1},
    ]
}
"""JSON Schema of the member."""


def cursor_in(header: str | None, metadata: JsonObject | None) -> int | None:
    """Return the number of the event after which to resume; `None`: the client named none. The header takes
    precedence.

    Raises `ProtocolError` naming the field that is no event's id.
    """
    if header is not None and header.strip():
        return _number(header.strip(), ("Last-Event-ID",))
    found: object = metadata
    for name in METADATA_FIELD[1:]:
        if found is None:
            return None
        if not isinstance(found, dict):
            raise invalid(METADATA_FIELD, "must be in an object")
        found = found.get(name)
    if isinstance(found, float) and found.is_integer():
        found = int(found)  # JSON has one kind of number, and a Struct of gRPC holds nothing but floats
    return None if found is None else _number(str(found), METADATA_FIELD)


def _number(text: str, path: tuple[str, ...]) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        raise invalid(path, "is not the id of an event of this agent's")
    return int(text)
