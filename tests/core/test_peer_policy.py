"""Where a model may call agents, and which of them get the operator's credentials."""

from __future__ import annotations

import ipaddress
import re
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio.a2a.errors import ProtocolError
from sansio.outbound import (
    PEER_RULES,
    Address,
    OutboundPolicy,
    Reach,
    parse_allowed_hosts,
    parse_target,
    reach_of,
)
from tests.paths import ROOT

PUBLIC = "93.184.216.34"
NAME = "agent.example.org"
NEARBY = {
    "127.0.0.1": Reach.LOOPBACK,
    "::1": Reach.LOOPBACK,
    "10.1.2.3": Reach.PRIVATE,
    "fd12::1": Reach.PRIVATE,
    "100.64.0.1": Reach.SHARED,
    "169.254.1.1": Reach.LINK_LOCAL,
    "198.18.0.1": Reach.RESERVED,
    "64:ff9b::a00:1": Reach.PRIVATE,
}
OUT_OF_REACH = {
    "169.254.169.254": Reach.METADATA,
    "::ffff:169.254.169.254": Reach.METADATA,
    "64:ff9b::a9fe:a9fe": Reach.METADATA,
    "fd00:ec2::254": Reach.METADATA,
    "224.0.0.1": Reach.MULTICAST,
    "ff02::1": Reach.MULTICAST,
    "0.0.0.0": Reach.UNSPECIFIED,
    "::": Reach.UNSPECIFIED,
    "64:ff9b:1::a9fe:a9fe": Reach.UNASSIGNED,
    "2001:0:4136:e378:8000:63bf:5601:5601": Reach.UNASSIGNED,
}


def policy(
    allowed: str = "", *, private: bool = False, vouched: str | None = None, own: str | None = None
) -> OutboundPolicy:
    return OutboundPolicy(
        rules=PEER_RULES,
        allow_private=private,
        allowed=parse_allowed_hosts(allowed),
        vouched=frozenset() if vouched is None else frozenset({vouched}),
        credential_origins=None if own is None else frozenset({own}),
    )


def judge(rules: OutboundPolicy, url: str, *found: str, credentials: bool = False) -> tuple[Address, ...]:
    target = rules.target(url, ("url",))
    addresses = [target.address] if target.address is not None else [ipaddress.ip_address(text) for text in found]
    return rules.admit(target, addresses, ("url",), credentials=credentials)


def refusal(rules: OutboundPolicy, url: str, *found: str, credentials: bool = False) -> str:
    with pytest.raises(ProtocolError) as caught:
        judge(rules, url, *found, credentials=credentials)
    assert [violation.field for violation in caught.value.violations] == ["url"]
    assert "s3cret" not in caught.value.message
    return caught.value.violations[0].message


def at(address: str, scheme: str = "http") -> str:
    return f"{scheme}://[{address}]/s3cret" if ":" in address else f"{scheme}://{address}/s3cret"


# --- kinds of addresses -----------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_public_host_is_allowed_over_http_and_https(scheme: str) -> None:
    assert judge(policy(), f"{scheme}://{NAME}/", PUBLIC) == (IPv4Address(PUBLIC),)
    assert judge(policy(), f"{scheme}://{PUBLIC}:8000/") == (IPv4Address(PUBLIC),)


@pytest.mark.parametrize("address", [*NEARBY, *OUT_OF_REACH])
def test_address_that_is_not_public_is_refused_by_itself_and_behind_a_name(address: str) -> None:
    assert reach_of(ipaddress.ip_address(address)) is (NEARBY | OUT_OF_REACH)[address]
    for rules in (policy(), policy(NAME), policy("*.example.org")):
        assert refusal(rules, f"http://{NAME}/s3cret", address)
        assert refusal(rules, f"http://{NAME}/s3cret", PUBLIC, address)
        assert refusal(rules, at(address))


@pytest.mark.parametrize("address", NEARBY)
def test_flag_opens_addresses_nearby(address: str) -> None:
    for rules in (policy(private=True), policy(NAME, private=True)):
        assert judge(rules, f"http://{NAME}/", PUBLIC, address)
    assert judge(policy(private=True), at(address))


@pytest.mark.parametrize("address", OUT_OF_REACH)
def test_flag_opens_neither_metadata_nor_what_is_no_host(address: str) -> None:
    assert "not allowed" in refusal(policy(private=True), f"http://{NAME}/s3cret", address)
    assert "not allowed" in refusal(policy(private=True), at(address))


@pytest.mark.parametrize("address", NEARBY)
def test_address_or_network_on_the_list_is_allowed_without_the_flag(address: str) -> None:
    entry = "10.0.0.0/8" if address in ("10.1.2.3", "64:ff9b::a00:1") else address

    assert judge(policy(entry), at(address))
    assert judge(policy(entry), f"http://{NAME}/", address)


def test_metadata_is_opened_by_its_very_own_entry_alone() -> None:
    assert judge(policy("169.254.169.254"), at("169.254.169.254"))
    assert refusal(policy("169.254.0.0/16", private=True), at("169.254.169.254"))
    assert "metadata" in refusal(
        policy("*.google.internal", private=True), "http://metadata.google.internal/", PUBLIC
    )


# --- the list ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("http://other.example/s3cret", PUBLIC),
        ("http://example.org/s3cret", PUBLIC),
        ("http://evilexample.org/s3cret", PUBLIC),
        ("http://93.184.216.35/s3cret", ""),
        ("http://localhost/s3cret", "127.0.0.1"),
    ],
)
def test_host_that_is_not_on_the_list_is_refused_where_there_is_one(url: str, found: str) -> None:
    rules = policy(f"*.example.org, {PUBLIC}, other.example.net", private=True)
    resolved = [] if not found else ["93.184.216.35" if found == PUBLIC else found]

    assert "among the allowed" in refusal(rules, url, *resolved)


def test_name_is_not_even_looked_up_where_the_list_has_names_alone() -> None:
    with pytest.raises(ProtocolError, match="among the allowed"):
        policy("agent.example.org").target("http://other.example/", ("url",))


def test_host_on_the_list_is_allowed_by_name_pattern_and_network() -> None:
    rules = policy(f"Other.Example.NET., *.example.org, {PUBLIC}/32")

    assert judge(rules, "https://other.example.net/", "1.1.1.1")
    assert judge(rules, "https://a.b.example.org./", "1.1.1.1")
    assert judge(rules, f"http://{PUBLIC}/")
    assert judge(rules, "http://any.example/", PUBLIC)


# --- credentials ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("allowed", "url", "may"),
    [
        ("", "https://agent.example.org/", False),
        ("agent.example.org", "https://agent.example.org/", True),
        ("agent.example.org", "https://AGENT.example.org.:8443/x", True),
        ("*.example.org", "https://agent.example.org/", True),
        ("*.example.org", "https://example.org/", False),
        ("agent.example.org", "https://other.example.org/", False),
        ("10.0.0.0/8", "http://10.1.2.3/", True),
        ("10.0.0.0/8", "http://other.example.org/", False),
        (PUBLIC, f"https://{PUBLIC}/", True),
        (PUBLIC, f"http://{PUBLIC}/", False),
    ],
)
def test_credentials_go_to_hosts_of_the_list_alone(allowed: str, url: str, may: bool) -> None:
    assert policy(allowed, private=True).may_have_credentials(parse_target(url, ("url",))) is may


def test_credentials_never_go_to_a_public_address_over_http() -> None:
    rules = policy(NAME, private=True)

    assert "credentials" in refusal(rules, f"http://{NAME}/s3cret", PUBLIC, credentials=True)
    assert "credentials" in refusal(rules, f"http://{NAME}/s3cret", "10.0.0.1", PUBLIC, credentials=True)
    assert judge(rules, f"https://{NAME}/", PUBLIC, credentials=True)
    assert judge(rules, f"http://{NAME}/", "10.0.0.1", credentials=True)


# --- an origin that is vouched for ------------------------------------------------------------------------


@pytest.mark.parametrize("address", NEARBY)
def test_origin_that_is_vouched_for_is_allowed_beside_the_list_whatever_its_address(address: str) -> None:
    rules = policy("other.example", vouched="http://agent.example.org:8000", own="http://agent.example.org:8000")

    assert judge(rules, "http://agent.example.org:8000/x", address)
    assert rules.may_have_credentials(parse_target("http://agent.example.org:8000/y", ()))
    for url in ("http://agent.example.org/s3cret", "https://agent.example.org:8000/s3cret", "http://other.example/"):
        assert refusal(rules, url, address)
        assert not rules.may_have_credentials(parse_target(url, ()))


@pytest.mark.parametrize("address", OUT_OF_REACH)
def test_being_vouched_for_opens_neither_metadata_nor_what_is_no_host(address: str) -> None:
    if OUT_OF_REACH[address] is not Reach.UNASSIGNED:
        assert refusal(policy(vouched=f"http://{NAME}"), f"http://{NAME}/s3cret", address)
    assert refusal(policy(vouched="http://metadata.google.internal"), "http://metadata.google.internal/", PUBLIC)


# --- properties -------------------------------------------------------------------------------------------

addresses = st.ip_addresses(v=4) | st.ip_addresses(v=6)
policies = st.builds(
    policy,
    st.sampled_from(["", NAME, "*.example.org", "10.0.0.0/8", "0.0.0.0/0", "::/0", PUBLIC]),
    private=st.booleans(),
    vouched=st.sampled_from([None, f"http://{NAME}", "https://other.example"]),
    own=st.sampled_from([None, f"http://{NAME}", "https://other.example"]),
)
urls = st.builds(
    "{}://{}{}/".format, st.sampled_from(["http", "https"]), st.sampled_from([NAME, "other.example"]), st.just("")
)


@given(policies, urls, st.lists(addresses, min_size=1, max_size=4), st.booleans())
def test_what_is_admitted_is_never_out_of_reach(
    rules: OutboundPolicy, url: str, found: list[Address], credentials: bool
) -> None:
    try:
        target = rules.target(url, ("url",))
        admitted = rules.admit(target, found, ("url",), credentials=credentials)
    except ProtocolError:
        return
    reaches = {reach_of(address) for address in admitted}
    assert not reaches & {Reach.METADATA, Reach.MULTICAST, Reach.UNSPECIFIED}
    assert not (credentials and target.scheme == "http" and Reach.PUBLIC in reaches)
    if not rules.allow_private and target.origin not in rules.vouched and not rules.allowed.networks:
        assert reaches == {Reach.PUBLIC}


@given(policies, urls, st.lists(addresses, min_size=1, max_size=4))
def test_one_more_address_never_opens_what_fewer_do_not(
    rules: OutboundPolicy, url: str, found: list[Address]
) -> None:
    def admits(some: list[Address]) -> bool:
        try:
            rules.admit(rules.target(url, ("url",)), some, ("url",))
        except ProtocolError:
            return False
        return True

    assert not admits(found) or all(admits([address]) for address in found)


@given(policies, urls)
def test_credentials_go_to_nobody_whom_neither_list_nor_name_vouches_for(rules: OutboundPolicy, url: str) -> None:
    target = parse_target(url, ())
    if rules.may_have_credentials(target):
        assert rules.allowed.has_name(target.host) or target.origin in (rules.credential_origins or ())


# --- the document -----------------------------------------------------------------------------------------


def rows_of_the_document() -> list[tuple[str, list[str]]]:
    """The examples of addresses in each row of the document's table, and what its cells say."""
    lines = (ROOT / "docs/peers.md").read_text("utf-8").splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("| address |"))
    rows: list[tuple[str, list[str]]] = []
    for line in lines[first + 2 :]:
        if not line.startswith("|"):
            return rows
        kind, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        rows += [(address, cells) for address in re.findall(r"`([^`]+)`", kind) or [PUBLIC]]
    return rows


@pytest.mark.parametrize(("address", "cells"), rows_of_the_document(), ids=lambda value: str(value)[:24])
def test_table_of_the_document_is_true(address: str, cells: list[str]) -> None:
    network = ipaddress.ip_network(address)
    columns = [
        policy(),
        policy(private=True),
        policy(NAME),
        policy(str(network.supernet(new_prefix=8 if network.version == 4 else 16))),
        policy(vouched=f"https://{NAME}"),
    ]
    if "very address" in cells[3]:
        assert judge(policy(address), f"https://{NAME}/", address)
        cells[3] = "refused"

    for rules, cell in zip(columns, cells, strict=True):
        if cell == "allowed":
            assert judge(rules, f"https://{NAME}/", address)
        else:
            assert cell == "refused"
            assert refusal(rules, f"https://{NAME}/", address)
