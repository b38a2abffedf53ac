"""Review of an agent card: the facts that a person wants to read, and each member that breaks its specification.

A row per requirement: adding one is adding a row. Knows neither how a card is fetched nor how a review is printed.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from itertools import islice
from typing import Any

import orjson
from attrs import frozen

from sansio.a2a.cards.parse import PeerCard, read_card
from sansio.a2a.codecs.json_values import list_at, object_at, objects_at, text_at, texts_at
from sansio.a2a.model import JsonObject

_MOST_PROBLEMS = 50
_SCHEME = "SecurityScheme"
_LONGEST = 300  # characters of a text of the card


@frozen
class _Member:
    """A requirement: the member at `path`, whose last name may stand in every object of a list.

    `kind`: the type that JSON gives it. `required`: it must be there; else it only has to have the type.
    `versions`: the versions of the protocol that require it, of those that the card offers.
    """

    path: tuple[str, ...]
    kind: type
    required: bool = True
    versions: tuple[str, ...] = ("0.3", "1.0")


_NAMES = {str: "a string", bool: "true or false", list: "a list", dict: "an object"}

# version 0.3: `AgentCard` of its JSON Schema; version 1.0: `AgentCard` of its proto, fields with REQUIRED
_MEMBERS = (
    _Member(("name",), str),
    _Member(("description",), str),
    _Member(("version",), str),
    _Member(("url",), str, versions=("0.3",)),
    _Member(("protocolVersion",), str, versions=("0.3",)),
    _Member(("supportedInterfaces",), list, versions=("1.0",)),
    _Member(("capabilities",), dict),
    _Member(("capabilities", "streaming"), bool, required=False),
    _Member(("capabilities", "pushNotifications"), bool, required=False),
    _Member(("capabilities", "extendedAgentCard"), bool, required=False),
    _Member(("supportsAuthenticatedExtendedCard",), bool, required=False),
    _Member(("defaultInputModes",), list),
    _Member(("defaultOutputModes",), list),
    _Member(("skills",), list),
    _Member(("documentationUrl",), str, required=False),
    _Member(("securitySchemes",), dict, required=False),
    _Member(("signatures",), list, required=False),
)
_SKILL = (
    _Member(("id",), str),
    _Member(("name",), str),
    _Member(("description",), str),
    _Member(("tags",), list),
    _Member(("examples",), list, required=False),
    _Member(("inputModes",), list, required=False),
    _Member(("outputModes",), list, required=False),
)


@frozen(kw_only=True)
class SkillFacts:
    """A skill of an agent."""

    id: str
    name: str
    description: str
    tags: tuple[str, ...]


@frozen(kw_only=True)
class CardReview:
    """A card as a person reads it.

    `problems`: a line for each member that is wrong, beginning with its path, 50 at most. `schemes`: names of the
    security schemes, each with its type. `keys`: ids of the keys that signed the card, as it names them; whether a
    signature is good is not looked at.
    """

    card: PeerCard
    description: str
    version: str
    skills: tuple[SkillFacts, ...]
    input_modes: tuple[str, ...]
    output_modes: tuple[str, ...]
    push_notifications: bool
    extended_card: bool
    schemes: tuple[tuple[str, str], ...]
    keys: tuple[str, ...]
    problems: tuple[str, ...]


def review(body: bytes, source: str = "") -> CardReview:
    """Review the card in a JSON document. Raises `ProtocolError` where it is none at all.

    `source`: the URL that it came from.
    """
    card = read_card(body, source)
    document: JsonObject = orjson.loads(body)
    capabilities = object_at(document, "capabilities")
    return CardReview(
        card=card,
        description=_text(document, "description"),
        version=_text(document, "version"),
        skills=tuple(
            SkillFacts(
                id=_text(skill, "id"),
                name=_text(skill, "name"),
                description=_text(skill, "description"),
                tags=_texts(skill, "tags"),
            )
            for skill in objects_at(document, "skills")
        ),
        input_modes=_texts(document, "defaultInputModes"),
        output_modes=_texts(document, "defaultOutputModes"),
        push_notifications=capabilities.get("pushNotifications") is True,
        extended_card=any(
            flag is True
            for flag in (capabilities.get("extendedAgentCard"), document.get("supportsAuthenticatedExtendedCard"))
        ),
        schemes=tuple(_schemes(document)),
        keys=tuple(_key(signature) for signature in objects_at(document, "signatures")),
        problems=tuple(islice(_problems(document, card), _MOST_PROBLEMS)),
    )


def _problems(document: JsonObject, card: PeerCard) -> Iterator[str]:
    offered = {interface.version for interface in card.interfaces} or {"0.3", "1.0"}
    for member in _MEMBERS:
        if not offered.isdisjoint(member.versions):
            yield from _wrong(document, member, "")
    for index, skill in enumerate(list_at(document, "skills")):
        if not isinstance(skill, dict):
            yield f"skills.{index}: must be an object"
            continue
        for member in _SKILL:
            yield from _wrong(skill, member, f"skills.{index}.")
    for name in ("defaultInputModes", "defaultOutputModes"):
        if not all(isinstance(mode, str) for mode in list_at(document, name)):
            yield f"{name}: must be a list of strings"
    for label in card.unusable:
        if ":" not in label.partition(" ")[0]:  # a binding that a URI names is somebody's own (section 5.8)
            yield f"interface {label}: cannot be used"


def _wrong(holder: JsonObject, member: _Member, prefix: str) -> Iterator[str]:
    value: Any = holder
    for name in member.path:
        value = value.get(name) if isinstance(value, dict) else None
    path = prefix + ".".join(member.path)
    if value is None:
        if member.required:
            yield f"{path}: is missing"
    elif not isinstance(value, member.kind):
        yield f"{path}: must be {_NAMES[member.kind]}"


def _schemes(document: JsonObject) -> Iterator[tuple[str, str]]:
    """Yield the security schemes: version 0.3 names the type, version 1.0 the member that holds it."""
    for name, scheme in object_at(document, "securitySchemes").items():
        members = object_at(scheme)
        kind = text_at(members, "type") or next((key for key in members if key.endswith(_SCHEME)), "")
        detail = text_at(scheme, "scheme") or text_at(scheme, "httpAuthSecurityScheme", "scheme")
        yield _short(name), _short(" ".join(filter(None, (kind.removesuffix(_SCHEME) or "unknown", detail))))


def _key(signature: JsonObject) -> str:
    """Return the id of the key that a signature names, empty for none (RFC 7515, sections 4.1.4 and 7.2.1)."""
    protected = text_at(signature, "protected") or ""
    try:
        header = orjson.loads(base64.urlsafe_b64decode(protected + "=" * (-len(protected) % 4)))
    except (ValueError, binascii.Error):
        header = {}
    return _text({**object_at(signature, "header"), **(header if isinstance(header, dict) else {})}, "kid")


def _text(holder: JsonObject, name: str) -> str:
    return _short(text_at(holder, name) or "")


def _texts(holder: JsonObject, name: str) -> tuple[str, ...]:
    return tuple(_short(value) for value in texts_at(holder, name))


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
