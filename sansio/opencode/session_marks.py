"""The mark in a session's metadata by which it is known whom this server made it for.

OpenCode stores the mark with the session, in one step with making it. So a session has an owner before anybody can
see it, also where the answer was lost, or the server was killed before its own store knew. A fork has the mark of its
source.
"""

from __future__ import annotations

import hashlib

from sansio.a2a.codecs.json_values import integer_at, text_at
from sansio.a2a.model import JsonObject

_NAME = "opencode-a2a"
_OWNER = "owner"


def mark_of(principal: str) -> str:
    """Return the mark of a principal: a digest, as users of OpenCode itself can see a session's metadata."""
    return hashlib.sha256(principal.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def marked_for(principal: str) -> JsonObject:
    """Return the metadata of a session that is made for a principal."""
    return {_NAME: {_OWNER: mark_of(principal)}}


def mark_in(session: JsonObject) -> str | None:
    """Return the mark that a session has, None for none. `session`: as OpenCode's REST API has it."""
    return text_at(session, "metadata", _NAME, _OWNER) or None


def created_at(session: JsonObject) -> int | None:
    """Return when a session was made: epoch milliseconds of OpenCode's clock; `None` where that is not known."""
    return integer_at(session, "time", "created")
