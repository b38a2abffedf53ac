"""Target of what proxies say of their clients."""

from __future__ import annotations

import ipaddress

from hypothesis import strategies as st

from fuzz.target import Target, require
from sansio.guards.proxies import ProxyHeaders, TrustedProxies, parse_networks, rate_group

_PROXY, _CLIENT = "10.1.0.5", "203.0.113.7"
_NETWORKS = parse_networks(["10.1.0.0/16"])
_FAMILIES = {
    ProxyHeaders.FORWARDED: ("forwarded", f"for={_CLIENT};proto=https"),
    ProxyHeaders.X_FORWARDED: ("x-forwarded-for", _CLIENT),
}


def check_proxies(data: bytes) -> None:
    """Any headers give an address that is counted; what a client sent changes nothing of what its proxy adds."""
    text = data.decode("latin-1")
    for family, (name, added) in _FAMILIES.items():
        proxies = TrustedProxies(_NETWORKS, family)
        others = {f"x-forwarded-{part}": text for part in ("proto", "host", "port", "prefix")}
        source = proxies.source(_PROXY, {**others, name: text})
        ipaddress.ip_address(source.address)
        require(source.scheme in (None, "http", "https"), "no scheme")
        require(source.prefix == "" or source.prefix[0] == "/" != source.prefix[-1], "no plain prefix")
        require(".." not in source.prefix.split("/"), "a prefix that leads upwards")
        require(rate_group(source) is not None, "a client that is not counted")
        behind = proxies.source(_PROXY, {name: f"{text}, {added}"})
        require(behind.address == _CLIENT, "a client chose its address")


_parts = st.sampled_from(
    [
        "for=",
        '"',
        "[2001:db8::1]",
        ":80",
        ",",
        ";",
        "\\",
        "proto=https",
        _CLIENT,
        _PROXY,
        "_x",
        "host=a",
        " ",
        "/a/..",
    ]
)

TARGETS = (
    Target(
        name="proxies",
        check=check_proxies,
        documents=(
            b'for="[2001:db8::1]:80";proto=https;host=a.example;by=_x, for=10.1.0.6',
            b"203.0.113.9, [2001:db8::1]:443, 10.1.0.6:80",
            b"/agents/one/",
        ),
        strategy=st.lists(_parts, max_size=12).map(lambda parts: "".join(parts).encode()) | st.binary(max_size=100),
    ),
)
