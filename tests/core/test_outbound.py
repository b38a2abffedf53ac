"""Where the server may be sent: every spelling of a forbidden place is refused, and no refusal repeats a secret."""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio.a2a.errors import ErrorKind, ProtocolError
from sansio.outbound import (
    METADATA_NAMES,
    Address,
    AllowedHosts,
    OutboundPolicy,
    Reach,
    origin_of,
    parse_allowed_hosts,
    parse_target,
    plain,
    reach_of,
)

FIELD = ("configuration", "push", "url")
PUBLIC = IPv4Address("93.184.216.34")
STRICT = OutboundPolicy()
PRIVATE = OutboundPolicy(allow_private=True)


def allowing(text: str, *, private: bool = False) -> OutboundPolicy:
    return OutboundPolicy(allow_private=private, allowed=parse_allowed_hosts(text))


def judge(policy: OutboundPolicy, url: str, *resolved: str) -> tuple[Address, ...]:
    """What the shell does: parse, resolve unless the host is an address, admit."""
    target = policy.target(url, FIELD)
    addresses = [ipaddress.ip_address(text) for text in resolved]
    return policy.admit(target, addresses if target.address is None else [target.address], FIELD)


def refusal(policy: OutboundPolicy, url: str, *resolved: str) -> str:
    with pytest.raises(ProtocolError) as caught:
        judge(policy, url, *resolved)
    assert caught.value.kind is ErrorKind.INVALID_PARAMS
    assert [violation.field for violation in caught.value.violations] == ["configuration.push.url"]
    return caught.value.violations[0].message


# --- URLs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "origin", "path"),
    [
        ("https://hooks.example.org/a2a?x=1", "https://hooks.example.org", "/a2a?x=1"),
        ("HTTPS://Hooks.Example.ORG.:8443", "https://hooks.example.org:8443", "/"),
        ("https://hooks.example.org?x=/y", "https://hooks.example.org", "/?x=/y"),
        ("https://[2606:2800:220::1]:443/", "https://[2606:2800:220::1]", "/"),
        ("https://xn--bcher-kva.example/", "https://xn--bcher-kva.example", "/"),
        ("https://under_score.example/", "https://under_score.example", "/"),
    ],
)
def test_a_url_is_read_into_what_is_connected_to_and_what_is_asked_for(url: str, origin: str, path: str) -> None:
    target = parse_target(url, FIELD)

    assert (target.origin, target.path) == (origin, path)
    assert origin_of(url) == origin


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://hooks.example.org/", "must be an http or https URL"),
        ("hooks.example.org", "must be an http or https URL"),
        ("https:hooks.example.org", "must be an http or https URL"),
        ("https://hooks.example.org/#end", "must not have a fragment"),
        ("https://ada:s3cret@hooks.example.org/", "must not carry a login"),
        ("https://s3cret@hooks.example.org/", "must not carry a login"),
        ("https://", "its host must be a plain name or address"),
        ("https://:443/", "its host must be a plain name or address"),
        ("https://hooks.example.org:/", "its host must be a plain name or address"),
        ("https://hooks..example.org/", "its host must be a plain name or address"),
        ("https://-x.example.org/", "its host must be a plain name or address"),
        (f"https://{'a' * 64}.example.org/", "its host must be a plain name or address"),
        ("https://hooks.example.org:0/", "its port must be from 1 to 65535"),
        ("https://hooks.example.org:65536/", "its port must be from 1 to 65535"),
        ("https://hooks.example.org/ s3cret", "holds a character no URL has"),
        ("https://hooks.example.org\\@s3cret/", "holds a character no URL has"),
        ("https://hooks.example.org/s3cret\r\nX: y", "holds a character no URL has"),
        ("https://hooks.example.org/?token=s3cret" + "x" * 4096, "must not be longer than 4096 characters"),
        ("http://hooks.example.org/?token=s3cret", "must be an https URL"),
    ],
)
def test_what_is_no_target_is_refused_with_its_field_and_reason_and_without_its_secrets(
    url: str, reason: str
) -> None:
    message = refusal(STRICT, url, str(PUBLIC))

    assert message.startswith(reason)
    assert "s3cret" not in message
    assert "s3cret" not in origin_of(url)


@pytest.mark.parametrize(
    "host",
    [
        *("2130706433", "0x7f000001", "017700000001", "0x7f.0.0.1", "0177.0.0.1", "127.1", "127.0.0.0x1", "0"),
        *("127.000.000.001", "127.0.0.1.2", "1.2.3.4.5.6", "256.0.0.1", "example.0x7f", "example.1", "0x"),
        *("127%2e0%2e0%2e1", "%31%32%37.0.0.1", "127.0.0.1%00.example.org", "localhost%20"),
        *("①②⑦.0.0.1", "127。0。0。1", "\uff1127.0.0.1", "bücher.example", "loc\u00adalhost"),
        *("[fe80::1%25eth0]", "[fe80::1%eth0]", "[::1", "::1", "[127.0.0.1]", "[]", "[::ffff:0x7f.0.0.1]"),
        *("localhost..", ".localhost", "127.0.0.1..", "exa mple", "a_.-b", "host\t"),
    ],
)
def test_odd_spelling_of_a_host_is_refused_whatever_is_allowed(host: str) -> None:
    assert refusal(STRICT, f"https://{host}/", str(PUBLIC))
    assert refusal(PRIVATE, f"https://{host}/", str(PUBLIC))


# --- addresses --------------------------------------------------------------------------------------------

FORBIDDEN = [
    *("127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
    *("169.254.1.1", "169.254.169.254", "169.254.170.2", "100.64.0.1", "100.127.255.255", "100.100.100.200"),
    *("168.63.129.16", "0.0.0.0", "0.1.2.3", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
    *("192.0.0.1", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1"),
]
FORBIDDEN_IPV6 = [
    *("::", "::1", "fc00::1", "fd12:3456::1", "fd00:ec2::254", "fe80::1", "febf::1", "fec0::1", "ff02::1"),
    *(
        "2001:db8::1",
        "3fff::1",
        "100::1",
        "64:ff9b:1::1",
        "4000::1",
        "2001:2::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    ),
]


def clothes_of(address: str) -> list[str]:
    """An IPv4 address as itself and in the forms in which it travels as an IPv6 address."""
    number = int(IPv4Address(address))
    prefixes = {"mapped": 0xFFFF << 32, "compatible": 0, "nat64": 0x64FF9B << 96, "6to4": 0x2002 << 112}
    shifted = {name: prefix | (number << 80 if name == "6to4" else number) for name, prefix in prefixes.items()}
    teredo = 0x20010000 << 96 | (number ^ 0xFFFFFFFF)
    return [address, *(str(IPv6Address(value)) for value in (*shifted.values(), teredo))]


@pytest.mark.parametrize("address", [*FORBIDDEN, *FORBIDDEN_IPV6])
def test_forbidden_address_is_refused_literally_resolved_and_in_other_clothes(address: str) -> None:
    for form in clothes_of(address) if "." in address else [address]:
        host = f"[{form}]" if ":" in form else form

        assert "not allowed" in refusal(STRICT, f"https://{host}/")
        assert "not allowed" in refusal(STRICT, f"https://{host.removesuffix(']')}{']' if ':' in form else '.'}/")
        assert "not allowed" in refusal(STRICT, "https://hooks.example.org/", form)
        assert "not allowed" in refusal(STRICT, "https://hooks.example.org/", str(PUBLIC), form)


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "1.1.1.1", "100.63.255.255", "100.128.0.1", "172.32.0.1", "2606:2800:220::1"]
)
def test_public_address_is_admitted(address: str) -> None:
    host = f"[{address}]" if ":" in address else address

    assert judge(STRICT, f"https://{host}/") == (ipaddress.ip_address(address),)
    assert judge(STRICT, "https://hooks.example.org/", address, address) == (ipaddress.ip_address(address),)


def test_public_address_behind_a_translator_is_admitted_as_it_is_and_a_mapped_one_as_what_it_means() -> None:
    assert judge(STRICT, "https://hooks.example.org/", "64:ff9b::5db8:d822") == (IPv6Address("64:ff9b::5db8:d822"),)
    assert judge(STRICT, "https://hooks.example.org/", "::ffff:5db8:d822") == (PUBLIC,)


def test_host_without_an_address_is_refused() -> None:
    assert refusal(STRICT, "https://hooks.example.org/") == "its host cannot be resolved"


@pytest.mark.parametrize("name", sorted(METADATA_NAMES))
@pytest.mark.parametrize("spelt", [str, str.upper, "{}.".format], ids=["plain", "upper", "dot"])
def test_metadata_host_is_refused_by_its_name_alone(name: str, spelt: object) -> None:
    assert callable(spelt)
    policy = allowing(f"*.{name.partition('.')[2] or 'x'}", private=True)

    assert "metadata" in refusal(policy, f"https://{spelt(name)}/", str(PUBLIC))


# --- settings ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "172.20.0.1", "192.168.0.9", "::1", "fd00::5"])
def test_private_hosts_may_be_allowed_and_then_over_http_too(address: str) -> None:
    for scheme in ("http", "https"):
        assert judge(PRIVATE, f"{scheme}://hooks.example.org/", address)


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "fd00:ec2::254", "169.254.1.1", "100.64.0.1", "0.0.0.0", "224.0.0.1", "192.0.2.1"]
)
def test_allowing_private_hosts_allows_no_others(address: str) -> None:
    assert "not allowed" in refusal(PRIVATE, "http://hooks.example.org/", address)


def test_http_to_a_public_host_is_refused_even_where_private_hosts_are_allowed() -> None:
    assert refusal(PRIVATE, "http://hooks.example.org/", str(PUBLIC)) == "must be an https URL"
    assert refusal(PRIVATE, "http://hooks.example.org/", "10.0.0.1", str(PUBLIC)) == "must be an https URL"
    assert refusal(STRICT, f"http://{PUBLIC}/") == "must be an https URL"


@pytest.mark.parametrize(
    ("allowed", "url", "resolved"),
    [
        ("hooks.internal", "http://hooks.internal/", "10.0.0.1"),
        ("Hooks.Internal.", "http://hooks.internal/", "127.0.0.1"),
        ("*.corp.example", "http://a.b.corp.example/", "100.64.0.1"),
        ("*.corp.example", "http://a.corp.example/", "93.184.216.34"),
        ("10.1.0.0/16", "http://hooks.example.org/", "10.1.2.3"),
        ("10.1.0.0/16", "http://10.1.2.3/", ""),
        ("10.1.0.0/16", "http://[::ffff:10.1.2.3]/", ""),
        ("100.64.0.0/10, 198.18.0.0/15", "https://hooks.example.org/", "198.18.0.7"),
        ("fd12::/16", "http://[fd12::7]/", ""),
        ("::1", "http://[::1]:8080/", ""),
        ("169.254.169.254", "http://169.254.169.254/", ""),
        ("metadata.google.internal,169.254.169.254", "http://metadata.google.internal/", "169.254.169.254"),
    ],
)
def test_named_host_is_allowed_and_over_http_too(allowed: str, url: str, resolved: str) -> None:
    assert judge(allowing(allowed), url, *[resolved] if resolved else [])


@pytest.mark.parametrize(
    ("allowed", "url", "resolved"),
    [
        ("hooks.internal", "https://x.hooks.internal/", "10.0.0.1"),
        ("*.corp.example", "https://corp.example/", "10.0.0.1"),
        ("*.corp.example", "https://evilcorp.example/", "10.0.0.1"),
        ("10.1.0.0/16", "https://hooks.example.org/", "10.2.0.1"),
        ("169.254.0.0/16", "https://hooks.example.org/", "169.254.169.254"),
        ("0.0.0.0/0", "https://169.254.169.254/", ""),
        ("hooks.internal", "https://hooks.internal/", "169.254.169.254"),
        ("hooks.internal", "https://hooks.internal/", "0.0.0.0"),
        ("0.0.0.0/0", "https://hooks.example.org/", "224.0.0.1"),
        ("metadata.google.internal", "https://metadata.google.internal/", "169.254.169.254"),
    ],
)
def test_what_no_entry_names_stays_refused(allowed: str, url: str, resolved: str) -> None:
    assert "not allowed" in refusal(allowing(allowed, private=False), url, *[resolved] if resolved else [])


@pytest.mark.parametrize(
    "text", ["10.0.0.1/8", "10.0.0.0/33", "http://x/", "*.", "a b", "1.2.3", "bücher.example", "*"]
)
def test_wrong_entry_of_the_allowed_hosts_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_allowed_hosts(text)


def test_empty_entries_of_the_allowed_hosts_mean_nothing() -> None:
    assert parse_allowed_hosts(" , ,") == AllowedHosts()


# --- properties -------------------------------------------------------------------------------------------

addresses = st.ip_addresses(v=4) | st.ip_addresses(v=6)


@given(addresses)
def test_no_address_is_public_that_python_calls_private_loopback_or_link_local(address: Address) -> None:
    inner = plain(address)
    special = (
        inner.is_private or inner.is_loopback or inner.is_link_local or inner.is_multicast or inner.is_unspecified
    )

    assert not (special and reach_of(address) is Reach.PUBLIC)


@given(st.ip_addresses(v=4))
def test_address_in_other_clothes_is_public_only_where_it_is_itself(address: IPv4Address) -> None:
    for form in clothes_of(str(address)):
        if reach_of(address) is not Reach.PUBLIC:
            assert reach_of(ipaddress.ip_address(form)) is not Reach.PUBLIC


@given(st.lists(addresses, min_size=1, max_size=5))
def test_host_is_admitted_only_with_all_its_addresses(found: list[Address]) -> None:
    target = STRICT.target("https://hooks.example.org/", FIELD)
    if all(reach_of(address) is Reach.PUBLIC for address in found):
        assert set(STRICT.admit(target, found, FIELD)) == {plain(address) for address in found}
    else:
        with pytest.raises(ProtocolError):
            STRICT.admit(target, found, FIELD)


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_text_is_a_target_or_refused(host: str, rest: str) -> None:
    try:
        target = STRICT.target(f"https://{host}{rest}", FIELD)
    except ProtocolError:
        return
    assert parse_target(f"{target.origin}{target.path}", FIELD) == target
    assert target.address is None or reach_of(target.address) is Reach.PUBLIC
