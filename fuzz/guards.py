"""Targets of the guards before a request is read: proxies, hosts, origins of pages, rate limits."""

from __future__ import annotations

import ipaddress

from hypothesis import strategies as st

from fuzz.target import Target, require
from sansio.a2a.errors import ProtocolError
from sansio.guards.hosts import ServedHosts
from sansio.guards.origins import check_origin, cors_headers, parse_allowed_origins
from sansio.guards.proxies import ProxyHeaders, TrustedProxies, parse_networks, rate_group
from sansio.guards.rate_limits import RateLimiter, RatePolicy

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


_HOSTS = ServedHosts.of(["agent.example", "127.0.0.1"])


def check_hosts(data: bytes) -> None:
    """A Host header is refused, or is one of the hosts that are served, with or without a port."""
    host = data.decode("latin-1")
    try:
        _HOSTS.check(host)
    except ProtocolError:
        return
    name, _, port = host.strip(" \t").lower().partition(":")
    require(name.rstrip(".") in ("agent.example", "127.0.0.1"), "a host that is not served")
    require(port == "" or port.isdigit(), "no port")


_ORIGINS = parse_allowed_origins("https://app.example")


def check_origins(data: bytes) -> None:
    """A page may ask if its origin is allowed or is the host it asks, and only an allowed one may read answers."""
    origin, _, host = data.decode("latin-1").partition("\n")
    headers = {"origin": origin, "host": host}
    is_allowed = origin == "https://app.example"
    readable = dict(cors_headers(headers, _ORIGINS)).get("access-control-allow-origin")
    require(readable == ("https://app.example" if is_allowed else None), "another page may read answers")
    try:
        check_origin(headers, _ORIGINS)
    except ProtocolError:
        require(not is_allowed, "an allowed origin is refused")
        return
    own = origin.partition("://")[2]
    require(is_allowed or (own != "" and host.lower().startswith(own)), "a page of another origin may ask")


_RATES = RatePolicy(name="fuzz", requests=3, window=10.0)


def check_rates(data: bytes) -> None:
    """No key gets more than its quota and its refill, whatever is given back, and what is shown fits that."""
    limits, now, taken = RateLimiter(_RATES, 4), 0.0, dict[int, list[float]]()
    for step in data[:400]:
        now += (step >> 4) / 4
        key = step & 3
        quota = limits.take(key, now)
        require(0 <= quota.remaining < _RATES.requests and quota.wait >= 0 and quota.full_in >= 0, "a bad quota")
        require(quota.full_in <= _RATES.window + 0.001, "a quota that takes longer than its window to be full")
        if quota.allowed and step & 8:
            limits.give_back(key, quota, now)
        elif quota.allowed:
            taken.setdefault(key, []).append(now)
        require(len(limits) <= 4, "more keys than there is room for")
    for moments in taken.values():
        for index, start in enumerate(moments):
            for count, end in enumerate(moments[index:], 1):
                require(count <= _RATES.requests + (end - start) / _RATES.each + 1e-6, "more than the quota")


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
    Target(
        name="hosts",
        check=check_hosts,
        documents=(b"agent.example:8000", b"127.0.0.1", b"[::1]:80"),
        strategy=st.lists(st.sampled_from(["agent.example", ":", "80", ".", "[", "]", "@", "a"]), max_size=6).map(
            lambda parts: "".join(parts).encode()
        ),
    ),
    Target(
        name="origins",
        check=check_origins,
        documents=(
            b"https://app.example\nagent.example",
            b"http://agent.example:8000\nagent.example:8000",
            b"null\n",
        ),
        strategy=st.lists(
            st.sampled_from(
                ["https://", "http://", "app.example", "agent.example", ":80", ":443", "\n", "null", "@"]
            ),
            max_size=8,
        ).map(lambda parts: "".join(parts).encode()),
    ),
    Target(
        name="rates",
        check=check_rates,
        documents=(bytes(range(64)), b"\x00" * 8 + b"\x10" * 8, b"\x08\x00" * 20),
        strategy=st.binary(max_size=120),
    ),
)
