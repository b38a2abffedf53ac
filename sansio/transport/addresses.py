"""Addresses of peers: their networks, the peers that are counted together, and how URLs write them. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from attrs import frozen

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_LONGEST: Final = 64  # characters; an IPv6 address with a zone has fewer


def parse_address(text: str) -> Address | None:
    """Return the address, IPv4 also where it is mapped into IPv6, and without a zone; None for what is no address."""
    return None if len(text) > _LONGEST else _parsed(text)


@lru_cache(maxsize=4096)  # every request asks, mostly for the same; to parse one takes 5 µs
def _parsed(text: str) -> Address | None:
    try:
        parsed = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return parsed if mapped is None else mapped


@frozen
class Networks:
    """Networks of addresses. False when there are none."""

    networks: tuple[Network, ...] = ()

    @classmethod
    def of(cls, entries: Iterable[str]) -> Networks:
        """Read addresses and networks such as `10.0.0.0/8`. Raises `ValueError` for what is neither."""
        return cls(tuple(ipaddress.ip_network(entry.strip()) for entry in entries if entry.strip()))

    def __bool__(self) -> bool:
        return bool(self.networks)

    def has(self, address: Address | None) -> bool:
        """Return whether the address is in one of them."""
        return address is not None and any(address in network for network in self.networks)


NO_NETWORKS: Final = Networks()


def group_of(address: str) -> str | None:
    """Name the peers that an address is counted with; None for loopback, which is not counted.

    IPv6: the network of 64 bits, since one machine has all of it. What is no address is a group of its own.
    """
    return address if len(address) > _LONGEST else _group(address)


@lru_cache(maxsize=4096)
def _group(address: str) -> str | None:
    parsed = parse_address(address)
    if parsed is None:
        return address
    if parsed.is_loopback:
        return None
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((int(parsed) >> 64 << 64, 64)))
    return str(parsed)


def bracketed(host: str) -> str:
    """Return a host as it stands in a URL: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


def host_and_port(host: str, port: int) -> str:
    """Write an address as `host:port`."""
    return f"{bracketed(host)}:{port}"
