"""Policy of outbound connections: URLs that callers give us, and the addresses to which those lead.

Pure: names are resolved elsewhere, and what they resolve to is judged here. Knows no caller and no purpose.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, TypeAlias

from attrs import field, frozen

from sansio.a2a.errors import ProtocolError, invalid
from sansio.transport.addresses import bracketed, host_and_port

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network
FieldPath: TypeAlias = Sequence[str | int]

LONGEST_URL: Final = 4096
NOT_IN_URLS: Final = re.compile(r"[^\x21-\x7e]|\\")
"""A character that no URL has: URL parsers differ about it."""

METADATA_NAMES: Final = frozenset(
    {
        "instance-data",
        "instance-data.ec2.internal",
        "metadata",
        "metadata.goog",
        "metadata.google.internal",
        "metadata.tencentyun.com",
    }
)
"""Host names under which clouds give a machine its secrets."""


class Reach(Enum):
    """Kind of an address; the value is its name in error texts."""

    PUBLIC = "public"
    LOOPBACK = "loopback"
    PRIVATE = "private"
    SHARED = "shared by the customers of a network"
    LINK_LOCAL = "link-local"
    METADATA = "that of a cloud's metadata"
    MULTICAST = "multicast"
    UNSPECIFIED = "unspecified"
    RESERVED = "reserved"
    UNASSIGNED = "that of a tunnel, a translator or nobody"


_REACHES: Final[tuple[tuple[Network, Reach], ...]] = tuple(
    (ipaddress.ip_network(network), reach)
    for reach, networks in (
        # Amazon and most others; Amazon's containers; Alibaba; Azure's host; Oracle; Tencent; Google on IPv6
        (Reach.METADATA, "169.254.169.254 169.254.170.2 169.254.170.23 169.254.0.23 100.100.100.200"),
        (Reach.METADATA, "168.63.129.16 192.0.0.192 fd00:ec2::254 fd00:ec2::23 fd20:ce::254"),
        (Reach.LOOPBACK, "127.0.0.0/8 ::1"),
        (Reach.PRIVATE, "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7"),
        (Reach.SHARED, "100.64.0.0/10"),
        (Reach.LINK_LOCAL, "169.254.0.0/16 fe80::/10"),
        (Reach.MULTICAST, "224.0.0.0/4 ff00::/8"),
        (Reach.UNSPECIFIED, "0.0.0.0/8 ::"),
        # Teredo, whose packets end at an IPv4 address
        (Reach.UNASSIGNED, "2001::/32"),
        # assignments of the IETF, documentation, benchmarks, relays, the future
        (Reach.RESERVED, "192.0.0.0/24 192.0.2.0/24 192.88.99.0/24 198.18.0.0/15 198.51.100.0/24"),
        (Reach.RESERVED, "203.0.113.0/24 240.0.0.0/4 2001::/23 2001:db8::/32 3fff::/20"),
        (Reach.PUBLIC, "0.0.0.0/0 2000::/3"),
        # translators of a network's own among them, which may lead to any IPv4 address
        (Reach.UNASSIGNED, "::/0"),
    )
    for network in networks.split()
)
"""The special-purpose registries; the first row that fits counts. Python's own differ from version to version."""

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")

_OWN: Final = frozenset({Reach.LOOPBACK, Reach.PRIVATE})
_NEARBY: Final = _OWN | {Reach.SHARED, Reach.LINK_LOCAL, Reach.RESERVED}
_NOT_PUBLIC: Final = _NEARBY | {Reach.UNASSIGNED}
"""Kinds that settings can open. A cloud's metadata has a rule of its own, and the others nothing opens."""


def plain(address: Address) -> Address:
    """Return the address, or the IPv4 address that an IPv4-mapped IPv6 address connects to."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped


def _inside(address: Address) -> IPv4Address | None:
    """Return the IPv4 address that a translator or tunnel would send this one's packets to."""
    if isinstance(address, IPv4Address):
        return None
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.sixtofour


def reach_of(address: Address) -> Reach:
    """Return the kind of an address."""
    address = plain(address)
    address = _inside(address) or address
    return next(reach for network, reach in _REACHES if address in network)


# --- hosts that are allowed by name -----------------------------------------------------------------------

_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


def _host_name(text: str) -> str | None:
    """Return a host name in its one spelling, lower-case and without a dot at its end; None where it is none.

    A name that ends in a number would be read as an address by some resolvers, and is none here.
    """
    name = text.lower().removesuffix(".")
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels) or _NUMBER.fullmatch(labels[-1]):
        return None
    return name


def _literal(text: str) -> Address | None:
    """Return the address that is meant by the text, in its one usual spelling; None where it is none."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


@frozen
class AllowedHosts:
    """Hosts the operator vouches for: by name, by the end of their name (`.example.org`), by network."""

    names: frozenset[str] = frozenset()
    suffixes: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()

    def has_name(self, host: str) -> bool:
        """Return whether the settings allow a host name."""
        return host in self.names or host.endswith(self.suffixes)

    def has_address(self, address: Address) -> bool:
        """Return whether the settings allow an address itself, not one that is embedded in it."""
        return any(address in network for network in self.networks)

    def names_address(self, address: Address) -> bool:
        """Return whether this very address has an entry of its own."""
        return any(address in network and network.num_addresses == 1 for network in self.networks)


def parse_allowed_hosts(text: str) -> AllowedHosts:
    """Parse a comma-separated list of names, `*.` and the end of names, addresses, networks. Raises `ValueError`."""
    names: set[str] = set()
    suffixes: list[str] = []
    networks: list[Network] = []
    for entry in (entry.strip() for entry in text.split(",")):
        bare = entry[1:-1] if entry.startswith("[") and entry.endswith("]") else entry
        if "/" in entry or _literal(bare) is not None:
            networks.append(ipaddress.ip_network(bare))
        elif name := _host_name(entry.removeprefix("*.")):
            suffixes += [f".{name}"] if entry.startswith("*.") else []
            names |= set() if entry.startswith("*.") else {name}
        elif entry:
            raise ValueError("not a host name, an address or a network")
    return AllowedHosts(frozenset(names), tuple(suffixes), tuple(networks))


# --- URLs -------------------------------------------------------------------------------------------------

_URL = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/?#]*)(?P<rest>[^#]*)(?P<fragment>#.*)?", re.IGNORECASE)
_AUTHORITY = re.compile(r"(?:\[(?P<six>[0-9a-f:.]+)\]|(?P<host>[^:\[\]]+))(?::(?P<port>[0-9]{1,5}))?", re.IGNORECASE)
_PORTS: Final = {"http": 80, "https": 443}


@frozen(kw_only=True)
class Target:
    """Target of a URL. `path` includes the query, and is not shown: it may hold a secret.

    `address`: the host, where it is an address and no name.
    """

    scheme: str
    host: str
    port: int
    path: str = field(repr=False)
    address: Address | None = None

    @property
    def authority(self) -> str:
        """The host, with the port if it is not the usual one: the value of a `Host` header."""
        host = bracketed(self.host)
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """The part of the target that may be shown."""
        return f"{self.scheme}://{self.authority}"

    def at(self, address: Address) -> str:
        """Return the URL with the host's address in the place of its name."""
        return f"{self.scheme}://{host_and_port(str(address), self.port)}{self.path}"


def parse_target(url: str, path: FieldPath) -> Target:
    """Parse a URL. Whether it may be connected to is not checked here.

    Raises `ProtocolError` that names the field at `path` and never repeats the URL.
    """
    if len(url) > LONGEST_URL:
        raise invalid(path, f"must not be longer than {LONGEST_URL} characters")
    if NOT_IN_URLS.search(url):
        raise invalid(path, "holds a character no URL has; an international host name is written with xn--")
    parts = _URL.fullmatch(url)
    if parts is None:
        raise invalid(path, "must be an http or https URL")
    if parts["fragment"]:
        raise invalid(path, "must not have a fragment")
    if "@" in parts["authority"]:
        raise invalid(path, "must not carry a login")
    found = _AUTHORITY.fullmatch(parts["authority"])
    host, address = _host_of(found) if found is not None else (None, None)
    if found is None or host is None:
        raise invalid(path, "its host must be a plain name or address")
    scheme = parts["scheme"].lower()
    port = int(found["port"]) if found["port"] else _PORTS[scheme]
    if not 0 < port < 65536:
        raise invalid(path, "its port must be from 1 to 65535")
    rest = parts["rest"]
    return Target(
        scheme=scheme, host=host, port=port, path=rest if rest.startswith("/") else f"/{rest}", address=address
    )


def _host_of(found: re.Match[str]) -> tuple[str | None, Address | None]:
    """Return a URL's host in its one spelling, and the address if it is one."""
    six = found["six"]
    address = _literal(six or found["host"].removesuffix("."))
    if address is None:
        return (None if six else _host_name(found["host"])), None
    if six and address.version == 4:
        return None, None
    address = plain(address)
    return str(address), address


def origin_of(url: str) -> str:
    """Return the part of an accepted URL that may be shown; empty for any other text."""
    try:
        return parse_target(url, ()).origin
    except ProtocolError:
        return "an unreadable URL"


# --- the policy -------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class Rules:
    """Rules of one purpose: how its settings count, and what its requests may carry.

    `by_flag`, `by_name`: the kinds of addresses that `allow_private` opens, and that a name among the allowed hosts
    opens. `plain_http`: http is allowed to every host. `listed_only`: a list of allowed hosts excludes all others.
    `brings_credentials`: who names the URL gives the credentials too, so they go wherever it leads.
    """

    by_flag: frozenset[Reach]
    by_name: frozenset[Reach]
    plain_http: bool
    listed_only: bool
    brings_credentials: bool


PUSH_RULES: Final = Rules(
    by_flag=_OWN, by_name=_NOT_PUBLIC, plain_http=False, listed_only=False, brings_credentials=True
)
"""Notifications for clients, who register their own receivers: https is the rule, and a name is vouched for."""

PEER_RULES: Final = Rules(
    by_flag=_NEARBY, by_name=frozenset(), plain_http=True, listed_only=True, brings_credentials=False
)
"""Calls of other agents that a model chooses, with credentials of the operator: the list says who may get them.

A name opens no address that is not public: whoever runs the name's zone would choose the address.
"""

CALLER_RULES: Final = Rules(
    by_flag=frozenset(Reach), by_name=frozenset(), plain_http=True, listed_only=False, brings_credentials=True
)
"""Calls of agents that a person names, who may reach them anyway."""


@frozen(kw_only=True)
class OutboundPolicy:
    """Policy of the targets that may be connected to, and of those that may be given credentials.

    `rules`: those of the purpose. `allow_private`: addresses that are not public are allowed, as far as the rules
    go. `allowed`: hosts that the operator names; an address or network among them is allowed whatever its kind.
    A cloud's metadata is opened by an entry of its very own only, multicast and unspecified addresses by nothing.

    `vouched`: origins that are allowed whatever their addresses. `credential_origins`: the only origins that get
    credentials; None leaves it to `allowed`.
    """

    rules: Rules = PUSH_RULES
    allow_private: bool = False
    allowed: AllowedHosts = AllowedHosts()
    vouched: frozenset[str] = frozenset()
    credential_origins: frozenset[str] | None = None

    def target(self, url: str, path: FieldPath) -> Target:
        """Return the target of a URL, if it can be allowed. `admit` decides in the end, once the addresses are known.

        Raises `ProtocolError` that names the field at `path` and never repeats the URL.
        """
        target = parse_target(url, path)
        if target.host in METADATA_NAMES and target.host not in self.allowed.names:
            raise invalid(path, f"leads to an address that is {Reach.METADATA.value}, which is not allowed")
        if target.address is not None:
            self.admit(target, [target.address], path)
        elif self._excludes(target, None):
            raise invalid(path, _NOT_LISTED)
        elif target.scheme == "http" and not self._may_be_plain(target.host):
            raise invalid(path, "must be an https URL")
        return target

    def admit(
        self, target: Target, addresses: Iterable[Address], path: FieldPath, *, credentials: bool = False
    ) -> tuple[Address, ...]:
        """Return the addresses of the target, each once. If one is refused, all are. Raises like `target`.

        `credentials`: the request carries some of the operator's.
        """
        admitted = tuple(dict.fromkeys(plain(address) for address in addresses))
        if not admitted:
            raise invalid(path, "its host cannot be resolved")
        if any(self._excludes(target, address) for address in admitted):
            raise invalid(path, _NOT_LISTED)
        for address in admitted:
            reach = reach_of(address)
            if reach is not Reach.PUBLIC and not self._lifts(target, address, reach):
                raise invalid(path, f"leads to an address that is {reach.value}, which is not allowed")
        if target.scheme == "http":
            if not self.rules.plain_http and not all(self._vouched(target.host, address) for address in admitted):
                raise invalid(path, "must be an https URL")
            if credentials and not self.rules.brings_credentials and _any_public(admitted):
                raise invalid(path, "must be an https URL: credentials do not go to a public address over http")
        return admitted

    def may_have_credentials(self, target: Target) -> bool:
        """Return whether credentials may go to a target.

        `admit` refuses them later where a name leads over plain http to a public address.
        """
        if self.rules.brings_credentials:
            return True
        if target.scheme == "http" and target.address is not None and _any_public([target.address]):
            return False
        if self.credential_origins is not None:
            return target.origin in self.credential_origins
        if target.address is not None:
            return self._in_networks(target.address)
        return self.allowed.has_name(target.host)

    def _may_be_plain(self, host: str) -> bool:
        rules = self.rules
        return rules.plain_http or self.allow_private or bool(self.allowed.networks) or self.allowed.has_name(host)

    def _excludes(self, target: Target, address: Address | None) -> bool:
        """Return whether the list of allowed hosts leaves a target out. `address`: None before it is known."""
        if not self.rules.listed_only or self.allowed == AllowedHosts() or target.origin in self.vouched:
            return False
        if self.allowed.has_name(target.host):
            return False
        return not self.allowed.networks if address is None else not self._in_networks(address)

    def _vouched(self, host: str, address: Address) -> bool:
        """Return whether settings name this host or address, so that plain http is allowed."""
        if self.allowed.has_name(host) or self._in_networks(address):
            return True
        return self.allow_private and reach_of(address) in self.rules.by_flag

    def _lifts(self, target: Target, address: Address, reach: Reach) -> bool:
        """Return whether settings allow an address that is not public."""
        if reach is Reach.METADATA:
            return self.allowed.names_address(_inside(address) or address)
        if self.allow_private and reach in self.rules.by_flag:
            return True
        if reach in self.rules.by_name and self.allowed.has_name(target.host):
            return True
        return reach in _NOT_PUBLIC and (target.origin in self.vouched or self._in_networks(address))

    def _in_networks(self, address: Address) -> bool:
        return self.allowed.has_address(_inside(address) or address)


_NOT_LISTED: Final = "leads to a host that is not among the allowed ones"


def _any_public(addresses: Iterable[Address]) -> bool:
    return any(reach_of(address) is Reach.PUBLIC for address in addresses)
