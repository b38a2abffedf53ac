"""Requests that a reverse proxy passes on: the address of their client, and the URL that it asked for.

Proxies write one of two families of headers:

    X-FORWARDED  X-Forwarded-For, -Proto, -Host, -Port and -Prefix: a convention, in nearly every proxy
    FORWARDED    Forwarded (RFC 7239): one element for each hop, with `for`, `proto` and `host`

Each proxy adds its own client at the right end of a list. What stands further left came from that client, which may
have made it up. So the list is read from the right, for as long as those who wrote it are trusted; the first address
that is not trusted is the client. One family counts, as configured: most proxies pass the headers of the other one
on as their client sent them.

Headers of a peer that is not trusted count for nothing. Nothing is refused: at a malformed value the reading stops,
and the client has no name: the address is the last one that was read, a proxy's. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from enum import Enum
from typing import Final

from attrs import evolve, frozen

from sansio.a2a.bindings.http_messages import Source
from sansio.transport.addresses import NO_NETWORKS, Address, Networks, group_of, parse_address

LISTS: Final = (
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-proto",
)
"""Headers of proxies; a repeated one continues the list of the one before."""

UNNAMED: Final = "clients without an address"
"""Group of those who call by a trusted proxy that does not say from where, or says that it is this machine."""

_MOST_HOPS: Final = 32
_LONGEST_NODE: Final = 64
_LONGEST_HOST: Final = 255
_LONGEST_PREFIX: Final = 255
_SCHEMES: Final = ("http", "https")

_SPACE: Final = " \t"
_NODE: Final = re.compile(
    r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)|([0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*))(:[0-9]{1,5})?"
)
_PORT: Final = re.compile(r"[0-9]{1,5}")
_PREFIX: Final = re.compile(r"(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._~!$&'()*+,;=:@-]+)+")
_HOST: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")
_PAIR: Final = re.compile(r"""([!#$%&'*+.^_`|~0-9A-Za-z-]+)=(?:"([^"\\,;]*)"|([!#$%&'*+.^_`|~0-9A-Za-z-]+))""")


class ProxyHeaders(Enum):
    """The family of headers that proxies write; the value is its name in the configuration."""

    X_FORWARDED = "x-forwarded"
    FORWARDED = "forwarded"


@frozen(kw_only=True)
class _Hop:
    """An element that one proxy wrote: its client, as text, and the URL that it was asked for. None: not given."""

    node: str | None
    scheme: str | None = None
    host: str | None = None
    prefix: str | None = None


@frozen
class TrustedProxies:
    """Proxies whose headers count. None, unless networks are given."""

    networks: Networks = NO_NETWORKS
    headers: ProxyHeaders = ProxyHeaders.X_FORWARDED

    def source(self, peer: str, headers: Mapping[str, str]) -> Source:
        """Return the source of a request. `peer`: the connection's address; `headers`: by lower-case names."""
        if not self.networks:
            return Source(address=peer)
        address = parse_address(peer)
        if address is None or not self.networks.has(address):
            return Source(address=peer)
        hops = _forwarded(headers) if self.headers is ProxyHeaders.FORWARDED else _x_forwarded(headers)
        return self._walk(address, hops)

    def _walk(self, peer: Address, hops: Iterator[_Hop]) -> Source:
        """Go from hop to hop while those who wrote them are trusted. `hops`: the last one first."""
        reached: Address = peer
        hop: _Hop | None = None
        client: Address | None = None
        for hop in hops:
            client = _node(hop.node)
            if client is None:
                break
            reached = client
            if not self.networks.has(client):
                break
        source = Source(address=str(reached), is_by_proxy=True, is_unnamed=client is None)
        if hop is None:
            return source
        return evolve(source, scheme=_scheme(hop.scheme), host=_host(hop.host), prefix=_prefix(hop.prefix))


NO_PROXIES: Final = TrustedProxies()


def rate_group(source: Source) -> str | None:
    """Name the group of callers whose requests are counted together; None: they are not counted.

    Loopback itself is not counted. But who calls by a trusted proxy always is: nothing that a proxy fails to say, and
    nothing that a client has it say, gives a caller the rights of this machine.
    """
    group = None if source.is_unnamed else group_of(source.address)
    return UNNAMED if group is None and source.is_by_proxy else group


def is_passed_on(headers: Container[str]) -> bool:
    """Return whether a proxy, trusted or not, left its headers in a request. `headers`: lower-case names."""
    return any(name in headers for name in LISTS)


def parse_networks(entries: Iterable[str]) -> Networks:
    """Read the addresses and networks of proxies. Raises `ValueError`, for `*` too.

    Whoever trusts everybody takes the leftmost address, which clients make up.
    """
    try:
        return Networks.of(entries)
    except ValueError:
        raise ValueError("takes addresses and networks of proxies, such as 10.0.0.5 or 10.1.0.0/16") from None


def _forwarded(headers: Mapping[str, str]) -> Iterator[_Hop]:
    """Yield the elements of `Forwarded`, the last one first. Ends at a malformed one.

    A quoted value with a comma, a semicolon or a backslash counts as malformed. No address or host has one, and so
    what a client put further left cannot change how the right end is read.
    """
    for element in _from_right(headers.get("forwarded", "")):
        pairs: dict[str, str] = {}
        for part in element.split(";", 8):
            found = _PAIR.fullmatch(part.strip(_SPACE))
            if found is None or found[1].lower() in pairs:
                return
            pairs[found[1].lower()] = found[3] if found[2] is None else found[2]
        yield _Hop(node=pairs.get("for"), scheme=pairs.get("proto"), host=pairs.get("host"))


def _x_forwarded(headers: Mapping[str, str]) -> Iterator[_Hop]:
    """Yield the elements of `X-Forwarded-For`, the last one first, each with its elements of the other headers.

    Another header counts where it has one element, which proxies keep or replace, or as many as there are hops.
    """
    nodes: list[str | None] = [*_elements(headers, "x-forwarded-for")] or [None]
    schemes, hosts, ports, prefixes = (
        _elements(headers, f"x-forwarded-{name}") for name in ("proto", "host", "port", "prefix")
    )
    for number, node in enumerate(nodes):
        scheme, host, port, prefix = (
            _aligned(values, number, len(nodes)) for values in (schemes, hosts, ports, prefixes)
        )
        yield _Hop(node=node, scheme=scheme, host=_with_port(host, port, scheme), prefix=prefix)


def _elements(headers: Mapping[str, str], name: str) -> list[str]:
    return list(_from_right(headers[name])) if name in headers else []


def _from_right(text: str) -> Iterator[str]:
    """Yield the elements of a list in reverse order, some at most."""
    elements = text.rsplit(",", _MOST_HOPS)
    for element in elements[: -_MOST_HOPS - 1 : -1]:
        yield element.strip(_SPACE)


def _aligned(values: list[str], number: int, count: int) -> str | None:
    if len(values) == 1:
        return values[0]
    return values[number] if len(values) == count else None


def _with_port(host: str | None, port: str | None, scheme: str | None) -> str | None:
    """Add the port to a host that has none, unless it is the scheme's own."""
    if host is None or port is None or _PORT.fullmatch(port) is None or re.search(r":[0-9]+\Z", host):
        return host
    return host if port == {"http": "80", "https": "443"}.get((scheme or "").lower()) else f"{host}:{port}"


def _node(text: str | None) -> Address | None:
    """Return the address of a node, which may have a port (RFC 7239, section 6); None for any other text."""
    found = _NODE.fullmatch(text) if text and len(text) <= _LONGEST_NODE else None
    return None if found is None else parse_address(found[1] or found[2] or found[3])


def _scheme(text: str | None) -> str | None:
    scheme = (text or "").lower()
    return scheme if scheme in _SCHEMES else None


def _host(text: str | None) -> str | None:
    if text is None or len(text) > _LONGEST_HOST or _HOST.fullmatch(text) is None:
        return None
    return text.lower()


def _prefix(text: str | None) -> str:
    """Return a plain path without a slash at its end; empty for none, and for a malformed one."""
    path = (text or "").rstrip("/")
    return path if len(path) <= _LONGEST_PREFIX and _PREFIX.fullmatch(path) else ""
