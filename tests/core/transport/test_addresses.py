"""Hosts and ports as URLs have them."""

from __future__ import annotations

import pytest

from sansio.transport.addresses import bracketed, host_and_port


@pytest.mark.parametrize(
    ("host", "shown"), [("box", "box"), ("127.0.0.1", "127.0.0.1"), ("::1", "[::1]"), ("fe80::1%2", "[fe80::1%2]")]
)
def test_an_ipv6_address_has_brackets(host: str, shown: str) -> None:
    assert bracketed(host) == shown
    assert host_and_port(host, 80) == f"{shown}:80"
