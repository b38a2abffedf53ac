"""The number of agents that a request has come through: agents that call each other in a circle come to an end.

A message carries it in `metadata.shared.a2a_call.hops`: 0, or nothing, is a person's. A turn's calls carry one more
than the message that the turn answers. An agent that drops the number ends the count; its own limits hold then.
"""

from __future__ import annotations

from typing import Final

from sansio.a2a.errors import invalid
from sansio.a2a.model import JsonObject, SendRequest

HOP_LIMIT: Final = 4
"""The largest number that a call may carry."""

_PATH: Final = ("metadata", "shared", "a2a_call", "hops")


def hops_of(request: SendRequest) -> int:
    """Return the number that a message carries, at most `HOP_LIMIT`. Raises `ProtocolError` naming the field."""
    for metadata in (request.metadata, request.message.metadata):
        shared = (metadata or {}).get("shared")
        found = shared.get("a2a_call") if isinstance(shared, dict) else None
        if found is None:
            continue
        hops = found.get("hops", 0) if isinstance(found, dict) else None
        if not isinstance(hops, int | float) or isinstance(hops, bool) or hops != hops // 1 or hops < 0:
            raise invalid(_PATH, "must be a whole number from 0")
        return int(min(hops, HOP_LIMIT))
    return 0


def hop_metadata(hops: int) -> JsonObject:
    """Return the metadata of a message that carries a number."""
    return {"shared": {"a2a_call": {"hops": hops}}}
