"""Signs an Agent Card: which bytes a signature covers, and its JSON form (specification 1.0, section 8.4).

Our card is one document for both versions, and a client canonicalises what it knows of it. So there is a signature
for each such view; a verifier accepts the card if one of them fits. Holds no key: what signs is an argument.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any, Protocol

import orjson

from sansio.a2a.dialects import DIALECTS
from sansio.a2a.model import JsonObject

_SCHEME = "SecurityScheme"
_NEW_CAPABILITIES = DIALECTS["1.0"].capability_members

JWKS_PATH = "/.well-known/jwks.json"
"""Path of the public key, to which `jku` of every signature points."""


class Signer(Protocol):
    """A signing key. `canonical`: RFC 8785. `sign`: makes a signature as JWS has it for `alg` (RFC 7518)."""

    @property
    def alg(self) -> str: ...

    @property
    def kid(self) -> str: ...

    def sign(self, message: bytes) -> bytes: ...

    def canonical(self, value: JsonObject) -> bytes: ...


def signatures(card: JsonObject, signer: Signer, jku: str, *, shown: JsonObject) -> list[JsonObject]:
    """Return the signatures of a card with the members of both versions. `jku`: the URL of the key set.

    `shown`: the card as it is served, maybe with one version's members alone.
    """
    header = {"alg": signer.alg, "typ": "JOSE", "kid": signer.kid, "jku": jku}
    protected = _base64url(orjson.dumps(header))
    return [
        {
            "protected": protected,
            "signature": _base64url(signer.sign(f"{protected}.{_base64url(payload)}".encode())),
        }
        for payload in dict.fromkeys([*payloads(card, signer), signer.canonical(shown)])
    ]


def payloads(card: JsonObject, signer: Signer) -> list[bytes]:
    """Return the byte strings to sign of a card without signatures. The first is the one that the specification
    demands.
    """
    new, old = view_1_0(card), view_0_3(card)
    forms = [
        signer.canonical(new),
        # The SDKs of version 1.0 go further than the specification: they leave out all that is empty, wherever it is.
        signer.canonical(cleaned(new)),
        # One of them, on version 0.3, makes a card of its own version out of that version's members.
        signer.canonical(cleaned({**new, "supportedInterfaces": _interfaces_0_3(old)})),
        # Version 0.3 defines no canonical form. Its one verifier writes JSON in ASCII instead of RFC 8785's.
        json.dumps(cleaned(old), separators=(",", ":"), sort_keys=True).encode(),
        # For those who take the document as it is.
        signer.canonical(card),
    ]
    return list(dict.fromkeys(forms))


def view_1_0(card: JsonObject) -> JsonObject:
    """Return the members of the card that version 1.0 knows, without the defaults that section 8.4.1 drops.

    Any card has the view; a member that is not of its type stays as it is.
    """
    view = {name: value for name, value in card.items() if name not in DIALECTS["0.3"].card_members}
    _change(view, "capabilities", _capabilities_1_0)
    _change_each(view, "skills", lambda skill: _without_empty(_skill_1_0(skill), "id", "name", "description", "tags"))
    _change(view, "securitySchemes", lambda schemes: {name: _scheme_1_0(one) for name, one in schemes.items()})
    _change_each(view, "securityRequirements", _requirement)
    return view


def _change(holder: JsonObject, name: str, change: Callable[[JsonObject], JsonObject]) -> None:
    """Put another value in the place of an object."""
    if isinstance(holder.get(name), dict):
        holder[name] = change(holder[name])


def _change_each(holder: JsonObject, name: str, change: Callable[[JsonObject], JsonObject]) -> None:
    """Put other values in the places of the objects of a list."""
    if isinstance(holder.get(name), list):
        holder[name] = [change(item) if isinstance(item, dict) else item for item in holder[name]]


def _capabilities_1_0(capabilities: JsonObject) -> JsonObject:
    found = dict(capabilities)
    _change_each(found, "extensions", lambda extension: _without_empty(extension, "params"))
    return _without_empty(found, "streaming", "pushNotifications", "extendedAgentCard")


def _skill_1_0(skill: JsonObject) -> JsonObject:
    """Return the skill without the one member of it that has another name in version 1.0."""
    found = {name: value for name, value in skill.items() if name not in DIALECTS["0.3"].card_members}
    _change_each(found, "securityRequirements", _requirement)
    return found


def _scheme_1_0(scheme: Any) -> Any:
    """Return a security scheme as version 1.0 has it: one member, which names the kind."""
    if not isinstance(scheme, dict):
        return scheme
    return {name: value for name, value in scheme.items() if name.endswith(_SCHEME)}


def _requirement(requirement: JsonObject) -> JsonObject:
    found = dict(requirement)
    _change(
        found,
        "schemes",
        lambda schemes: {
            name: _without_empty(scopes) if isinstance(scopes, dict) else scopes for name, scopes in schemes.items()
        },
    )
    return found


def _without_empty(value: JsonObject, *kept: str) -> JsonObject:
    """Return the members that are not the default of their type, and `kept`."""
    return {name: member for name, member in value.items() if member or name in kept}


def view_0_3(card: JsonObject) -> JsonObject:
    """Return the members of the card that version 0.3 knows, without the defaults of its SDK's models.

    Any card has the view; a member that is not of its type stays as it is.
    """
    view = {name: value for name, value in card.items() if name not in DIALECTS["1.0"].card_members}
    _change(
        view,
        "capabilities",
        lambda all_of: {name: one for name, one in all_of.items() if name not in _NEW_CAPABILITIES},
    )
    _change(view, "securitySchemes", lambda schemes: {name: _scheme_0_3(one) for name, one in schemes.items()})
    return view


def _scheme_0_3(scheme: Any) -> Any:
    if not isinstance(scheme, dict):
        return scheme
    return {name: value for name, value in scheme.items() if name != "type" and not name.endswith(_SCHEME)}


def _interfaces_0_3(presentation: JsonObject) -> list[JsonObject]:
    """Return the interfaces in version 0.3's members, in the form of version 1.0."""
    main = {"transport": presentation["preferredTransport"], "url": presentation["url"]}
    return [
        {"url": one["url"], "protocolBinding": one["transport"], "protocolVersion": presentation["protocolVersion"]}
        for one in (main, *presentation["additionalInterfaces"])
    ]


def cleaned(value: Any) -> Any:
    """Return the value without empty texts, lists and objects, and without what becomes empty by that."""
    if isinstance(value, dict):
        return {name: kept for name, member in value.items() if not _is_empty(kept := cleaned(member))}
    if isinstance(value, list):
        return [kept for member in value if not _is_empty(kept := cleaned(member))]
    return value


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str | list | dict) and not value)


def _base64url(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
