"""Reads another agent's card: which interfaces it offers that this core can use, and which one to take.

Cards of version 0.3, of version 1.0, and both in one document. Knows neither how a card is fetched nor what is sent.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import orjson
from attrs import frozen

from sansio.a2a.client.client_errors import InvalidCardError, NoUsableInterfaceError
from sansio.a2a.codecs.json_values import member, objects_at, text_at
from sansio.a2a.model import JsonObject
from sansio.a2a.versions import VERSIONS, version_of

JSONRPC = "JSONRPC"
HTTP_JSON = "HTTP+JSON"
GRPC = "GRPC"
WEBSOCKET = "WEBSOCKET"

BINDINGS = (JSONRPC, HTTP_JSON, WEBSOCKET, GRPC)
"""The bindings that the client side supports."""

_LAST_CHOICES = (WEBSOCKET, GRPC)
"""The bindings that are chosen where nothing else fits: neither goes through proxies, and gRPC needs an extra."""

WEBSOCKET_URI = "urn:opencode-a2a:binding:websocket:v1"
"""The WebSocket binding on a card: a custom binding is named by a URI (specification 1.0, section 5.8)."""

SERVED = (HTTP_JSON, JSONRPC, GRPC, WEBSOCKET)
"""The bindings that the server side supports."""

CARD_PATHS = ("/.well-known/agent-card.json", "/.well-known/agent.json")
"""Paths of a card below an agent's base URL: today's, then the one of early 0.x agents."""

# Stricter than RFC 3986 on purpose: what is let through means the same to every URL parser.
_URL_TEXT = re.compile(r"https?://[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+\Z", re.IGNORECASE)
_EXTENSION = re.compile(r"[!-+\--~]{1,512}")  # visible, and no comma, which separates them
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_.])?\Z")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_WEBSOCKET_SCHEMES = {"ws": "http", "wss": "https"}


@frozen
class Origin:
    """Scheme, host and port: what a credential may be bound to."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Origin:
        """Return the origin of an absolute http(s) URL. Raises `ValueError`, which never holds the URL."""
        if not _URL_TEXT.match(url):
            raise ValueError("must be a URL that begins with http:// or https://")
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            raise ValueError("its host or port is not valid") from None
        if "@" in parts.netloc:
            raise ValueError("must not hold a user name or password")
        if not (_HOST.match(host) or _is_ipv6(host)) or port == 0:
            raise ValueError("its host or port is not valid")
        scheme = parts.scheme.lower()
        return cls(scheme, host, _DEFAULT_PORTS[scheme] if port is None else port)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can answer there."""
        if self.host == "localhost" or self.host.endswith(".localhost"):
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def is_other_name_of(self, other: Origin) -> bool:
        """Whether both are one port of this machine: `localhost`, `127.0.0.1` and `[::1]` are one host."""
        return self.is_loopback and other.is_loopback and (self.scheme, self.port) == (other.scheme, other.port)

    @property
    def authority(self) -> str:
        """The host and the port, which is there also where it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def __str__(self) -> str:
        shown = self.authority
        if self.port == _DEFAULT_PORTS[self.scheme]:
            shown = shown.rpartition(":")[0]
        return f"{self.scheme}://{shown}"


def at_origin(url: str, origin: Origin) -> str:
    """Return the URL with another scheme, host and port."""
    home = urlsplit(str(origin))
    return urlunsplit(urlsplit(url)._replace(scheme=home.scheme, netloc=home.netloc))


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return "%" not in host


def card_urls(url: str) -> tuple[str, ...]:
    """Return the URLs at which to look for an agent's card, in order. `url`: the card's own URL, or the agent's base
    URL.

    Raises `ValueError` where the text is no such URL.
    """
    Origin.of(url)
    parts = urlsplit(url)
    if parts.fragment:
        raise ValueError("must not hold a fragment (#…)")
    if parts.path.endswith(".json"):
        return (url,)
    if parts.query:
        raise ValueError("must not hold a query (?…) unless it is the URL of a card (….json)")
    root = url.rstrip("?/")
    return tuple(root + path for path in CARD_PATHS)


@frozen(kw_only=True)
class Interface:
    """One way to talk to the agent: a binding of `BINDINGS` on a version of `VERSIONS`, below `url`.

    gRPC's `url` is an origin: its paths are fixed. That of WebSocket is the URL of the handshake, which is HTTP.
    """

    binding: str
    version: str
    url: str
    tenant: str | None = None

    @property
    def address(self) -> str:
        """The URL as cards have it: that of gRPC is `host:port`."""
        if self.binding == GRPC:
            return Origin.of(self.url).authority
        return f"ws{self.url.removeprefix('http')}" if self.binding == WEBSOCKET else self.url

    def __str__(self) -> str:
        return f"{self.binding} {self.version}"


@frozen(kw_only=True)
class PeerCard:
    """The part of a card that a client needs.

    `interfaces`: in the card's order. `unusable`: labels of the entries that were left out.

    `extensions`: the URIs of those the agent has, as far as a header can hold them.
    """

    name: str
    streaming: bool
    interfaces: tuple[Interface, ...]
    unusable: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()


def read_card(body: bytes, source: str = "") -> PeerCard:
    """Parse the card in a JSON document.

    `source`: the URL that it came from, whose scheme an address without one has (`grpc_url`). Raises
    `InvalidCardError` where that is no card at all. An entry that cannot be used is no error: others may do.
    """
    try:
        card = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise InvalidCardError("The agent card is not JSON") from None
    if not isinstance(card, dict):
        raise InvalidCardError("The agent card is not a JSON object")
    interfaces: dict[Interface, None] = {}
    unusable: dict[str, None] = {}
    for entry in (*_entries_1_0(card), *_entries_0_3(card)):
        found = _interface(entry, source)
        if isinstance(found, Interface):
            interfaces[found] = None
        else:
            unusable[found] = None
    capabilities = card.get("capabilities")
    return PeerCard(
        name=text_at(card, "name") or "",
        streaming=member(capabilities, "streaming") is True,
        interfaces=tuple(interfaces),
        unusable=tuple(unusable),
        extensions=tuple(_extensions(capabilities)),
    )


def _extensions(capabilities: Any) -> Iterator[str]:
    for extension in objects_at(capabilities, "extensions"):
        uri = text_at(extension, "uri")
        if uri is not None and _EXTENSION.fullmatch(uri):
            yield uri


@frozen(kw_only=True)
class _Entry:
    url: Any
    binding: Any
    version: Any
    tenant: Any = None


def _entries_1_0(card: JsonObject) -> Iterator[_Entry]:
    """Yield the entries of version 1.0's cards. An entry without a version has the card's, else 1.0."""
    for item in objects_at(card, "supportedInterfaces"):
        version = item.get("protocolVersion") or card.get("protocolVersion") or "1.0"
        yield _Entry(
            url=item.get("url"),
            binding=item.get("protocolBinding"),
            version=version,
            tenant=item.get("tenant"),
        )


def _entries_0_3(card: JsonObject) -> Iterator[_Entry]:
    version = card.get("protocolVersion") or "0.3"
    if card.get("url") is not None:
        yield _Entry(
            url=card["url"],
            binding=card.get("preferredTransport") or JSONRPC,
            version=version,
        )
    for item in objects_at(card, "additionalInterfaces"):
        yield _Entry(url=item.get("url"), binding=item.get("transport"), version=version)


def _interface(entry: _Entry, source: str) -> Interface | str:
    """Return the interface, or a few words on what cannot be used."""
    name = entry.binding.upper() if isinstance(entry.binding, str) else "unnamed binding"
    # The word alone names another binding.
    binding = {WEBSOCKET_URI.upper(): WEBSOCKET, WEBSOCKET: ""}.get(name, name)
    named = entry.version if isinstance(entry.version, str) else "unnamed version"
    version = version_of(named)
    label = f"{name[:32]} {version or named[:32]}"
    if binding not in BINDINGS or version not in VERSIONS:
        return label
    if not isinstance(entry.url, str):
        return f"{label} (without a URL)"
    try:
        url = grpc_url(entry.url, source) if binding == GRPC else entry.url
        url = handshake_url(url) if binding == WEBSOCKET else url
        Origin.of(url)
    except ValueError as error:
        return f"{label} (its URL: {error})"
    tenant = entry.tenant if isinstance(entry.tenant, str) and entry.tenant else None
    return Interface(binding=binding, version=version, url=url, tenant=tenant)


def handshake_url(url: str) -> str:
    """Return the URL of HTTP at which a WebSocket connection begins. Raises `ValueError`."""
    scheme, _, rest = url.partition("://")
    if scheme.lower() not in _WEBSOCKET_SCHEMES:
        raise ValueError("must be a URL that begins with ws:// or wss://")
    return f"{_WEBSOCKET_SCHEMES[scheme.lower()]}://{rest}"


def grpc_url(address: str, source: str = "") -> str:
    """Return the origin of a gRPC interface, with a scheme that says whether it is reached over TLS.

    `address`: a URL, whose scheme decides, or as most cards have it `host:port`. Of those, port 443 is TLS, and
    so is the port from which the card came over https; another port of this machine is not; anything else is what
    its card was: `source` is the URL of that. Raises `ValueError`.
    """
    if "://" in address:
        return str(Origin.of(address))
    secure = Origin.of(f"https://{address}")
    if secure.port == _DEFAULT_PORTS["https"] or _is_from(source, secure):
        return str(secure)
    return str(Origin.of(f"http://{address}") if secure.is_loopback or _is_plain(source) else secure)


def _is_from(source: str, origin: Origin) -> bool:
    """Whether a card came from this origin, under this name of the host or another."""
    try:
        home = Origin.of(source)
    except ValueError:
        return False
    return home == origin or home.is_other_name_of(origin)


def _is_plain(url: str) -> bool:
    return url.lower().startswith("http://")


def choose(
    card: PeerCard,
    *,
    version: str | None = None,
    bindings: Sequence[str] | None = None,
    own_order: bool | None = None,
) -> Interface:
    """Choose the interface: of the newest version, and there by the order of the bindings.

    `version` insists on one. `bindings`: those that may be used; None: all. `own_order`: whether their order counts;
    None: where they are given. Otherwise the card's order counts, but WebSocket is chosen where nothing else fits but
    gRPC, and gRPC where nothing else does.

    Raises `NoUsableInterfaceError`, which names what was wanted and what there is, and `InvalidCardError` for a card
    that names no interface.
    """
    if not card.interfaces and not card.unusable:
        raise InvalidCardError("The agent card has neither supportedInterfaces nor url")
    allowed = BINDINGS if bindings is None else bindings
    fitting = [
        interface
        for interface in card.interfaces
        if version in (None, interface.version) and interface.binding in allowed
    ]
    if own_order is None:
        own_order = bindings is not None
    if own_order:
        fitting.sort(key=lambda interface: allowed.index(interface.binding))
    else:
        for late in reversed(_LAST_CHOICES):
            fitting = [one for one in fitting if one.binding != late] or fitting
    for newest in reversed(VERSIONS):
        for interface in fitting:
            if interface.version == newest:
                return interface
    wanted = " ".join((" or ".join(allowed), version or " or ".join(VERSIONS)))
    offered = ", ".join(dict.fromkeys((*map(str, card.interfaces), *card.unusable)))
    raise NoUsableInterfaceError(f"The agent card offers no {wanted}; it offers {offered}")
