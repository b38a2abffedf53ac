"""Requests that proxies pass on: whose they are, as far as those who say it are trusted."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio.a2a.bindings.http_messages import Source
from sansio.guards.proxies import (
    NO_PROXIES,
    UNNAMED,
    ProxyHeaders,
    TrustedProxies,
    is_passed_on,
    parse_networks,
    rate_group,
)

PROXY, SECOND, CLIENT, FORGED = "10.1.0.5", "10.1.0.6", "203.0.113.7", "198.51.100.9"
X_FORWARDED = TrustedProxies(parse_networks(["10.1.0.0/16", "::1"]))
FORWARDED = TrustedProxies(X_FORWARDED.networks, ProxyHeaders.FORWARDED)
LOCAL = parse_networks(["127.0.0.1", "::1", SECOND])
LOOPBACKS = ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"]
HIDDEN = [
    *("", "unknown", "_hidden", "16909060", "1.2.3.04", "999.1.1.1", "1.2.3.4.5", "localhost", "127.1", "0x7f.1"),
    *(f"{CLIENT}, unknown", f"{CLIENT},", f"{CLIENT}, unknown, {SECOND}", "[::1", "fe80::1%lo"),
]


def address(text: str, peer: str = PROXY) -> str:
    """The client's address by `X-Forwarded-For`."""
    return X_FORWARDED.source(peer, {"x-forwarded-for": text}).address


def forwarded(text: str) -> Source:
    return FORWARDED.source(PROXY, {"forwarded": text})


def element(node: str) -> str:
    """The elements of `Forwarded` for the nodes of a list."""
    return ", ".join(f'for="{one if one.count(":") < 2 else f"[{one}]"}"' for one in node.split(", "))


def asked(**headers: str) -> Source:
    """The source by `X-Forwarded-` headers of these names."""
    return X_FORWARDED.source(PROXY, {f"x-forwarded-{name}": value for name, value in headers.items()})


@pytest.mark.parametrize("proxies", [NO_PROXIES, X_FORWARDED, FORWARDED], ids=["none", "x-forwarded", "forwarded"])
@pytest.mark.parametrize("peer", [CLIENT, "2001:db8::5", "", "unix"])
def test_headers_of_a_peer_that_is_not_trusted_count_for_nothing(proxies: TrustedProxies, peer: str) -> None:
    headers = {
        "x-forwarded-for": FORGED,
        "x-forwarded-host": "evil.example",
        "x-forwarded-prefix": "/evil",
        "forwarded": f"for={FORGED};host=evil.example",
    }

    assert proxies.source(peer, headers) == Source(address=peer)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (CLIENT, CLIENT),
        (f"{FORGED}, {CLIENT}", CLIENT),
        (f"{FORGED},{CLIENT},\t{SECOND}", CLIENT),
        (f"{CLIENT}:50123", CLIENT),
        ("[2001:db8::7]:443", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("2001:db8::7", "2001:db8::7"),
        (f"::ffff:{CLIENT}", CLIENT),
        (f"{SECOND}, {SECOND}", SECOND),
        (f"{CLIENT}, unknown", PROXY),
        (f"{CLIENT}, unknown, {SECOND}", SECOND),
        (f"{CLIENT},, {SECOND}", SECOND),
        ("", PROXY),
        (f"{CLIENT} ", CLIENT),
        (f"{CLIENT}, 999.1.1.1", PROXY),
        (f"{CLIENT}, 2130706433", PROXY),
        (f"{CLIENT}, {CLIENT}:port", PROXY),
    ],
)
def test_the_client_is_the_first_address_from_the_right_that_is_not_trusted(text: str, expected: str) -> None:
    assert address(text) == expected


def test_a_peer_whose_ipv4_address_is_mapped_is_the_same_proxy() -> None:
    assert address(CLIENT, f"::ffff:{PROXY}") == CLIENT


def test_only_so_many_hops_are_followed() -> None:
    assert address(", ".join([CLIENT, *[SECOND] * 31])) == CLIENT
    assert address(", ".join([CLIENT, *[SECOND] * 32])) == SECOND


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"for={CLIENT}", Source(address=CLIENT)),
        (f'For="{CLIENT}:80";Proto=HTTPS', Source(address=CLIENT, scheme="https")),
        ('for="[2001:db8::7]:4711"; host=A.example', Source(address="2001:db8::7", host="a.example")),
        (
            f"for={CLIENT};proto=https;host=a.example, for={SECOND};proto=http;host=inner",
            Source(address=CLIENT, scheme="https", host="a.example"),
        ),
        (f"for={FORGED};proto=http, for={CLIENT};proto=https", Source(address=CLIENT, scheme="https")),
        (f'for=", for={CLIENT}', Source(address=CLIENT)),
        (f'for="\\", for="{CLIENT}"', Source(address=CLIENT)),
        ("proto=https;host=a.example", Source(address=PROXY, scheme="https", host="a.example")),
        ("for=unknown;proto=https", Source(address=PROXY, scheme="https")),
        ("for=_hidden", Source(address=PROXY)),
        (f"for={CLIENT};for={FORGED}", Source(address=PROXY)),
        (f"for={CLIENT};", Source(address=PROXY)),
        (f"for = {CLIENT}", Source(address=PROXY)),
        (f'for={CLIENT};by="a;b"', Source(address=PROXY)),
        (f'for={CLIENT};proto=ftp;host="a/b"', Source(address=CLIENT)),
        ("for=2001:db8::7", Source(address=PROXY)),  # RFC 7239, section 6: in quotes and brackets
        ("", Source(address=PROXY)),
    ],
)
def test_the_elements_of_forwarded(text: str, expected: Source) -> None:
    assert forwarded(text) == expected


def test_where_every_hop_is_trusted_the_leftmost_is_the_client() -> None:
    found = forwarded(f"for={PROXY};host=inner.example, for={SECOND};proto=https")

    assert found == Source(address=PROXY, host="inner.example", is_by_proxy=True)


def test_the_headers_of_the_other_family_are_ignored() -> None:
    headers = {"x-forwarded-for": CLIENT, "forwarded": f"for={FORGED};host=evil.example"}

    assert X_FORWARDED.source(PROXY, headers) == Source(address=CLIENT)
    assert FORWARDED.source(PROXY, headers).address == FORGED


def test_scheme_host_port_and_prefix_come_with_the_client() -> None:
    source = asked(**{"for": CLIENT, "proto": "https", "host": "a.example", "port": "8443", "prefix": "/agents/one/"})

    assert source == Source(address=CLIENT, scheme="https", host="a.example:8443", prefix="/agents/one")


@pytest.mark.parametrize(
    ("host", "port", "proto", "expected"),
    [
        ("a.example", "443", "https", "a.example"),
        ("a.example", "80", "https", "a.example:80"),
        ("a.example:81", "82", "https", "a.example:81"),
        ("[2001:db8::7]", "82", "https", "[2001:db8::7]:82"),
        ("a.example", "http", "https", "a.example"),
        ("a.example/x", "82", "https", None),
        ("a" * 256, "82", "https", None),
    ],
)
def test_the_port_is_added_to_a_host_without_one(host: str, port: str, proto: str, expected: str | None) -> None:
    assert asked(**{"for": CLIENT, "host": host, "port": port, "proto": proto}).host == expected


def test_a_list_counts_at_the_place_of_the_client_and_only_where_it_is_as_long() -> None:
    hops = f"{FORGED}, {CLIENT}, {SECOND}"

    assert asked(**{"for": hops, "proto": "http, https, http"}).scheme == "https"
    assert asked(**{"for": hops, "proto": "https"}).scheme == "https"
    assert asked(**{"for": hops, "proto": "https, http"}).scheme is None


def test_a_proxy_that_names_no_client_may_still_name_the_url() -> None:
    assert asked(prefix="/one", proto="https") == Source(address=PROXY, scheme="https", prefix="/one")


@pytest.mark.parametrize(
    "prefix", ["one", "//one", "/../one", "/one/./two", "/a b", "/%2e", "/a//b", "/" + "a" * 255]
)
def test_a_prefix_that_is_no_plain_path_is_ignored(prefix: str) -> None:
    assert asked(prefix=prefix).prefix == ""


@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", "::ffff:127.0.0.1", SECOND])
@pytest.mark.parametrize("text", [*HIDDEN, *LOOPBACKS], ids=str)
def test_who_a_trusted_proxy_does_not_name_is_counted_with_all_such_clients(text: str, peer: str) -> None:
    for proxies, headers in (
        (TrustedProxies(LOCAL), {"x-forwarded-for": text}),
        (TrustedProxies(LOCAL, ProxyHeaders.FORWARDED), {"forwarded": element(text)}),
    ):
        assert rate_group(proxies.source(peer, headers)) == UNNAMED


@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", SECOND])
@pytest.mark.parametrize("family", ProxyHeaders, ids=lambda family: family.value)
def test_a_trusted_proxy_without_headers_names_nobody(peer: str, family: ProxyHeaders) -> None:
    source = TrustedProxies(LOCAL, family).source(peer, {"x-forwarded-proto": "https"})

    assert source.is_unnamed
    assert rate_group(source) == UNNAMED


@pytest.mark.parametrize("peer", LOOPBACKS)
@pytest.mark.parametrize("proxies", [NO_PROXIES, TrustedProxies(parse_networks([SECOND]))], ids=["none", "another"])
def test_loopback_itself_is_not_counted_where_no_proxy_of_it_is_trusted(proxies: TrustedProxies, peer: str) -> None:
    assert rate_group(proxies.source(peer, {"x-forwarded-for": CLIENT})) is None


@pytest.mark.parametrize(
    ("text", "group"),
    [
        (CLIENT, CLIENT),
        (f"unknown, {CLIENT}", CLIENT),
        (f"127.0.0.1, {CLIENT}, 127.0.0.1", CLIENT),
        ("2001:db8::7", "2001:db8::/64"),
        (SECOND, SECOND),
    ],
)
def test_who_a_trusted_proxy_names_is_counted_by_that_address(text: str, group: str) -> None:
    assert rate_group(TrustedProxies(LOCAL).source("127.0.0.1", {"x-forwarded-for": text})) == group


def test_any_header_of_a_proxy_shows_one() -> None:
    assert is_passed_on({"forwarded": ""})
    assert is_passed_on({"host": "a", "x-forwarded-prefix": "/"})
    assert not is_passed_on({"host": "a", "x-forwarded": "1"})


@pytest.mark.parametrize("entries", [["*"], ["proxy.example"], ["10.0.0.0/33"], ["10.0.0.1", "x"]])
def test_what_is_no_network_is_no_proxy(entries: list[str]) -> None:
    with pytest.raises(ValueError, match=r"takes addresses and networks"):
        parse_networks(entries)


addresses = st.ip_addresses().map(str)
untrusted = addresses.filter(lambda text: not X_FORWARDED.networks.has(ipaddress.ip_address(text)))
hops = st.lists(st.sampled_from([PROXY, SECOND]), max_size=6)
anything = st.text(st.characters(codec="latin-1"), max_size=200)


@given(made_up=anything, client=untrusted, trusted=hops)
def test_nothing_that_a_client_sends_changes_its_address(made_up: str, client: str, trusted: list[str]) -> None:
    shown = address(client)

    assert ipaddress.ip_address(shown) in (
        ipaddress.ip_address(client),
        getattr(ipaddress.ip_address(client), "ipv4_mapped", None),
    )
    assert address(", ".join([made_up, client, *trusted])) == shown
    elements = [made_up, *(f'for="{one if "." in one else f"[{one}]"}"' for one in (client, *trusted))]
    assert forwarded(", ".join(elements)).address == shown


@given(text=anything, peer=st.sampled_from(["127.0.0.1", "::1", SECOND]), family=st.sampled_from(ProxyHeaders))
def test_no_headers_keep_who_calls_by_a_trusted_proxy_from_being_counted(
    text: str, peer: str, family: ProxyHeaders
) -> None:
    headers = {"x-forwarded-for": text, "forwarded": text}

    assert rate_group(TrustedProxies(LOCAL, family).source(peer, headers)) is not None


@given(text=anything, other=anything)
def test_any_headers_give_an_address_a_host_and_a_plain_prefix(text: str, other: str) -> None:
    for source in (
        forwarded(text),
        asked(**{"for": text, "host": other, "prefix": f"/{other}", "port": text, "proto": other}),
    ):
        ipaddress.ip_address(source.address)
        assert source.scheme in (None, "http", "https")
        assert source.host is None or source.host.isascii()
        assert ".." not in source.prefix.split("/")
