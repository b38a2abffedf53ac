"""The Agent Card: one document that clients of both versions can read.

Built from a deployment's description of itself; a 0.3 client reads `url`, `preferredTransport` and
`additionalInterfaces`, a 1.0 client `supportedInterfaces`; security schemes have both forms in one object.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from urllib.parse import urlsplit

import orjson
from attrs import frozen

from sansio.a2a.cards.parse import GRPC, HTTP_JSON, JSONRPC, SERVED, WEBSOCKET, WEBSOCKET_URI
from sansio.a2a.cards.security import SecurityScheme, described
from sansio.a2a.cards.signatures import JWKS_PATH, Signer, signatures
from sansio.a2a.codecs.fields import compact
from sansio.a2a.dialects import DIALECTS, Dialect
from sansio.a2a.model import JsonObject, TaskState
from sansio.a2a.operations import Operation
from sansio.a2a.tasks.shared_metadata import PUSH_INTERRUPTS_URI
from sansio.a2a.versions import VERSIONS
from sansio.a2a.websocket.messages import PATH as WEBSOCKET_PATH

BINDINGS = (HTTP_JSON, JSONRPC)
"""The bindings that are on offer unless others are chosen, the preferred one first."""


@frozen(kw_only=True)
class Extension:
    """An extension the agent supports."""

    uri: str
    description: str
    params: JsonObject | None = None
    required: bool = False


PUSH_INTERRUPTS_EXTENSION = Extension(
    uri=PUSH_INTERRUPTS_URI,
    description="A push configuration may name interrupts only: nothing is sent but what the task waits for its user "
    "with.",
    params={
        "activated_on": [
            name
            for operation in (Operation.SEND, Operation.STREAM, Operation.SET_PUSH_CONFIG)
            for name in (operation.row.rpc_0_3, operation.row.rpc_1_0)
        ],
        "states": [state.value for state in TaskState if state.interrupted],
    },
)
"""The extension of every agent that sends push notifications."""


@frozen(kw_only=True)
class Skill:
    """Something the agent can do."""

    id: str
    name: str
    description: str
    tags: Sequence[str]
    input_modes: Sequence[str]
    output_modes: Sequence[str]
    examples: Sequence[str] = ()


@frozen(kw_only=True)
class CardSpec:
    """Description of a deployment. `schemes`: those it takes; `bearer` and `basic` need no more than their name.

    `url`: where the agent is; the server fills in an empty one. `versions`: the protocol versions on offer.
    `shown_versions`: those whose members the card has; None: as `versions`. `bindings`: on offer, preferred first.
    """

    name: str
    description: str
    version: str
    url: str = ""
    versions: Sequence[str] = VERSIONS
    schemes: Sequence[str | SecurityScheme]
    skills: Sequence[Skill]
    input_modes: Sequence[str]
    output_modes: Sequence[str]
    extensions: Sequence[Extension] = ()
    documentation_url: str | None = None
    streaming: bool = True
    push_notifications: bool = False
    extended_card: bool = False
    shown_versions: Sequence[str] | None = None
    bindings: Sequence[str] = BINDINGS


def _security(schemes: Sequence[str | SecurityScheme]) -> JsonObject:
    """Return the security members in both forms."""
    if not schemes:
        return {}
    found = described(schemes)
    return {
        "securitySchemes": {scheme.name: scheme.whole for scheme in found},
        "security": [{scheme.name: []} for scheme in found],
        "securityRequirements": [{"schemes": {scheme.name: {"list": []}}} for scheme in found],
    }


def grpc_address(url: str) -> str:
    """Return where a server at a URL is reached over gRPC: `host:port`, as clients of gRPC take it."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    if parts.port is not None or not host:
        return host
    return f"{host}:{443 if parts.scheme == 'https' else 80}"


def websocket_address(url: str) -> str:
    """Return where a server at a URL is reached over WebSocket, below the path of that URL."""
    parts = urlsplit(url)
    scheme = "wss" if parts.scheme == "https" else "ws"
    return f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}{WEBSOCKET_PATH}"


def _address(url: str, binding: str) -> str:
    if binding == GRPC:
        return grpc_address(url)
    return websocket_address(url) if binding == WEBSOCKET else url


def addresses_of(url: str) -> frozenset[str]:
    """Return the addresses of a server at a URL in its card, one for each binding, without slashes at their ends."""
    return frozenset(_address(url, binding).rstrip("/") for binding in SERVED)


def _interfaces(spec: CardSpec) -> JsonObject:
    newest_first = sorted(spec.versions, reverse=True)
    names = {binding: WEBSOCKET_URI if binding == WEBSOCKET else binding for binding in spec.bindings}
    addresses = {binding: _address(spec.url, binding) for binding in spec.bindings}
    supported = [
        {"url": addresses[binding], "protocolBinding": names[binding], "protocolVersion": version}
        for version in newest_first
        for binding in spec.bindings
    ]
    return {
        "url": addresses[spec.bindings[0]],
        "preferredTransport": names[spec.bindings[0]],
        "additionalInterfaces": [{"url": url, "transport": names[binding]} for binding, url in addresses.items()],
        "protocolVersion": min(spec.versions),
        "supportedInterfaces": supported,
    }


def of_versions(card: JsonObject, versions: Collection[str]) -> JsonObject:
    """Return the card without the members that only other versions have."""
    for version, dialect in DIALECTS.items():
        if version not in versions:
            card = _without(card, dialect)
    return card


def _without(card: JsonObject, dialect: Dialect) -> JsonObject:
    """Return the card without the members that only this version has."""
    found = _leave_out(card, dialect.card_members)
    found["capabilities"] = _leave_out(card["capabilities"], dialect.capability_members)
    schemes = card.get("securitySchemes")
    if schemes is not None:
        found["securitySchemes"] = {
            name: _leave_out(scheme, dialect.scheme_members) for name, scheme in schemes.items()
        }
    return found


def _leave_out(value: JsonObject, names: Collection[str]) -> JsonObject:
    return {name: member for name, member in value.items() if name not in names}


def render_card(spec: CardSpec) -> JsonObject:
    """Render the card as JSON, with the members of both versions."""
    return compact(
        name=spec.name,
        description=spec.description,
        version=spec.version,
        documentationUrl=spec.documentation_url,
        **_interfaces(spec),
        capabilities={
            "streaming": spec.streaming,
            "pushNotifications": spec.push_notifications,
            "extendedAgentCard": spec.extended_card,
            "extensions": [
                compact(uri=e.uri, description=e.description, required=e.required, params=e.params)
                for e in spec.extensions
            ],
        },
        supportsAuthenticatedExtendedCard=spec.extended_card,
        **_security(spec.schemes),
        defaultInputModes=list(spec.input_modes),
        defaultOutputModes=list(spec.output_modes),
        skills=[
            compact(
                id=skill.id,
                name=skill.name,
                description=skill.description,
                tags=list(skill.tags),
                examples=list(skill.examples) or None,
                inputModes=list(skill.input_modes),
                outputModes=list(skill.output_modes),
            )
            for skill in spec.skills
        ],
    )


@frozen
class CardDocument:
    """The card's bytes with what a cache wants to know."""

    body: bytes
    etag: str

    @classmethod
    def of(cls, spec: CardSpec, sign: Signer | None = None) -> CardDocument:
        """Render once, and sign where there is a key; the entity tag is that of the bytes."""
        whole = render_card(spec)
        card = of_versions(whole, spec.versions if spec.shown_versions is None else spec.shown_versions)
        if sign is not None:
            card = {**card, "signatures": signatures(whole, sign, f"{spec.url.rstrip('/')}{JWKS_PATH}", shown=card)}
        return cls.of_bytes(orjson.dumps(card))

    @classmethod
    def of_bytes(cls, body: bytes) -> CardDocument:
        """Return a document that is rendered already."""
        return cls(body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')


def matches(if_none_match: str | None, etag: str) -> bool:
    """Return whether a conditional request already has this version (RFC 9110, section 13.1.2: weak comparison)."""
    if if_none_match is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return "*" in tags or etag.removeprefix("W/") in tags
