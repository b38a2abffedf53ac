"""Targets of where the server may be sent: a setting, what a name resolves to, a URL; and files of known peers."""

from __future__ import annotations

import ipaddress
import json

from hypothesis import strategies as st

from fuzz.target import Target, require
from sansio.a2a.errors import ProtocolError
from sansio.known_peers import KnownPeersError, parse_known_peers
from sansio.outbound import (
    PEER_RULES,
    AllowedHosts,
    OutboundPolicy,
    Reach,
    origin_of,
    parse_allowed_hosts,
    parse_target,
    reach_of,
)

SECRET = "s3cr3t~w0rd"  # no host can be called that: hosts are shown

_OUT_OF_REACH = frozenset({Reach.METADATA, Reach.MULTICAST, Reach.UNSPECIFIED})


def check_outbound(data: bytes) -> None:
    """A URL is refused without its secrets, or leads to public addresses and to those that settings open."""
    setting, _, rest = data.decode("utf-8", "replace").partition("\n")
    resolved, _, url = rest.partition("\n")
    try:
        addresses = [ipaddress.ip_address(text) for text in resolved.split()]
    except ValueError:
        addresses = []
    try:
        allowed = parse_allowed_hosts(setting)
    except ValueError:
        allowed = AllowedHosts()
    require(SECRET not in origin_of(url), "a secret is shown")
    for policy in (
        OutboundPolicy(),
        OutboundPolicy(allow_private=True, allowed=allowed),
        OutboundPolicy(rules=PEER_RULES),
        OutboundPolicy(rules=PEER_RULES, allow_private=True, allowed=allowed),
    ):
        try:
            target = policy.target(url, ("url",))
            admitted = policy.admit(target, [target.address] if target.address else addresses, ("url",))
        except ProtocolError as error:
            require(SECRET not in str(error), "a secret is shown")
            continue
        require(SECRET not in repr(target), "a secret is shown")
        require(parse_target(f"{target.origin}{target.path}", ("url",)) == target, "a target is no longer itself")
        for address in admitted:
            reach = reach_of(address)
            require(reach is Reach.PUBLIC or policy.allow_private, "an address that is not public")
            require(reach not in _OUT_OF_REACH or allowed.networks != (), "an address nothing opens")
            require(parse_target(target.at(address), ("url",)).address == address, "another address is connected to")


def check_known_peers(data: bytes) -> None:
    """A file of known peers is refused with its name, or each peer covers its own URL."""
    try:
        peers = parse_known_peers({"file": data})
    except KnownPeersError as error:
        require(all(line.startswith("file: ") for line in error.problems), "a problem without its file")
        return
    for name, peer in peers.items():
        require(peer.name == name, "another name")
        require(peer.covers(peer.url), "a peer that is not at its own URL")
        require(parse_target(peer.url, ()).origin == peer.origin, "another origin")
        require(peer.bearer_env is None or peer.basic_env is None, "two credentials")


_urls = st.builds(
    "{}://{}{}{}/{}".format,
    st.sampled_from(("http", "https", "HTTPS", "ftp", "")),
    st.sampled_from(("", "ada:s3cr3t~w0rd@", "@")),
    st.one_of(
        st.sampled_from(("hooks.example.org", "localhost", "metadata.google.internal.", "0x7f.1", "2130706433")),
        st.ip_addresses(v=4).map(str),
        st.ip_addresses(v=6).map("[{}]".format),
        st.text(max_size=8),
    ),
    st.sampled_from(("", ":", ":0", ":8443", ":99999")),
    st.sampled_from(("", "?token=s3cr3t~w0rd", "#end", "//x", "a b")),
)

TARGETS = (
    Target(
        name="outbound",
        check=check_outbound,
        documents=(
            b"10.0.0.0/8,*.corp.example,localhost\n10.0.0.1 93.184.216.34\nhttp://hooks.corp.example:8080/a?b=c",
            b"\n64:ff9b::7f00:1\nhttps://hooks.example.org/?token=s3cr3t~w0rd",
            b"169.254.169.254\n\nhttp://[::ffff:169.254.169.254]/latest",
            b"\n\nhttps://ada:s3cr3t~w0rd@[2606:2800:220::1]:443/",
        ),
        strategy=st.builds(
            lambda setting, found, url: f"{setting}\n{' '.join(map(str, found))}\n{url}".encode("utf-8", "replace"),
            st.sampled_from(("", "10.0.0.0/8", "0.0.0.0/0,::/0", "*.example.org", "localhost,::1")),
            st.lists(st.ip_addresses(), max_size=3),
            _urls,
        ),
    ),
    Target(
        name="known_peers",
        check=check_known_peers,
        documents=(
            b'{"a": "https://a.example/x/card.json", "b": {"url": "http://[::1]:8001/", "bearer_env": "B"}}',
            b'{"c": {"url": "https://c.example", "basic_env": "L", "description": "C.", "tools": ["call"]}}',
        ),
        strategy=st.builds(
            lambda name, url, more: json.dumps({name: {"url": url, **more}}).encode(),
            st.sampled_from(("a", "a b", "")),
            _urls,
            st.dictionaries(
                st.sampled_from(("bearer_env", "basic_env", "description", "tools", "x")),
                st.none() | st.text(max_size=4) | st.lists(st.sampled_from(("call", "C", "")), max_size=2),
                max_size=3,
            ),
        ),
    ),
)
