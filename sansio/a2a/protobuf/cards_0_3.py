"""Cards of version 0.3 as its schema has them, and as its messages do: schemes by their kind, requirements.

Version 1.0 needs no such thing: its JSON is that of its messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sansio.a2a.model import JsonObject

_MEMBERS: Final[Mapping[str, str]] = {
    "apiKey": "apiKeySecurityScheme",
    "http": "httpAuthSecurityScheme",
    "oauth2": "oauth2SecurityScheme",
    "openIdConnect": "openIdConnectSecurityScheme",
    "mutualTLS": "mtlsSecurityScheme",
}
"""The members of a scheme's message by the types of its schema."""

_TYPES: Final[Mapping[str, str]] = {member: kind for kind, member in _MEMBERS.items()}


def in_message(card: JsonObject) -> JsonObject:
    """Return a card as its message has it: schemes by their kind, requirements as messages."""
    found = dict(card)
    schemes = card.get("securitySchemes")
    if schemes:
        found["securitySchemes"] = {name: _named_by_member(scheme) for name, scheme in schemes.items()}
    if card.get("security"):
        found["security"] = [
            {"schemes": {name: {"list": scopes} for name, scopes in needed.items()}} for needed in card["security"]
        ]
    return found


def of_message(card: JsonObject) -> JsonObject:
    """Return the card of a message as its schema has it: schemes named by `type`, requirements as lists of scopes."""
    found = dict(card)
    if "securitySchemes" in card:
        found["securitySchemes"] = {name: _named_by_type(scheme) for name, scheme in card["securitySchemes"].items()}
    if "security" in card:
        found["security"] = [
            {name: scopes.get("list", []) for name, scopes in needed.get("schemes", {}).items()}
            for needed in card["security"]
        ]
    return found


def _named_by_member(scheme: JsonObject) -> JsonObject:
    return {_MEMBERS[scheme["type"]]: {**scheme, "location": scheme.get("in")}}


def _named_by_type(scheme: JsonObject) -> JsonObject:
    for member, inner in scheme.items():
        members = {("in" if name == "location" else name): value for name, value in inner.items()}
        return {"type": _TYPES.get(member, member), **members}
    return {}
