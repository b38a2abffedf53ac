"""A server behind a trusted proxy takes the client's URL from it; from anybody else it takes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from sansio.guards.hosts import ServedHosts
from sansio.guards.proxies import ProxyHeaders, parse_networks
from tests.shell.harness import Serving

pytestmark = pytest.mark.anyio

TRUSTED = parse_networks(["127.0.0.0/8"])
CARD, HEALTH = "/.well-known/agent-card.json", "/health"
X_FORWARDED = {
    "x-forwarded-for": "203.0.113.7",
    "x-forwarded-host": "agent.example",
    "x-forwarded-proto": "https",
    "x-forwarded-prefix": "/agents/one",
}


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"trusted_proxies": TRUSTED}, 200),
        ({"trusted_proxies": parse_networks(["10.1.0.0/16"])}, 404),
        ({"trusted_proxies": TRUSTED, "proxy_headers": ProxyHeaders.FORWARDED}, 404),
        ({"trusted_proxies": TRUSTED, "public_url_override": "https://agent.example/agents/two"}, 404),
        ({"trusted_proxies": TRUSTED, "public_url_override": "https://agent.example"}, 200),
        ({}, 404),
    ],
    ids=["trusted", "another", "other headers", "public path", "public url", "default"],
)
async def test_the_prefix_of_a_trusted_proxy_is_stripped(
    serving: Serving, settings: dict[str, Any], found: int
) -> None:
    async with serving(**settings) as agent:
        below = await agent.http.get(f"/agents/one{HEALTH}", headers=X_FORWARDED)
        stripped = await agent.http.get(HEALTH, headers=X_FORWARDED)
        other = await agent.http.get(f"/agents/one{HEALTH}")

    assert (below.status_code, stripped.status_code, other.status_code) == (found, 200, 404)


async def test_a_page_of_the_host_that_the_proxy_was_asked_for_is_our_own(serving: Serving) -> None:
    async with serving(trusted_proxies=TRUSTED) as agent:
        statuses = [
            (await agent.http.get(HEALTH, headers={**headers, "origin": origin})).status_code
            for headers in (X_FORWARDED, {})
            for origin in ("https://agent.example", "http://agent.example", "https://other.example")
        ]

    assert statuses == [200, 403, 403, 403, 403, 403]


async def test_both_the_host_of_the_proxy_and_that_of_its_client_have_to_be_allowed(serving: Serving) -> None:
    async with serving(
        trusted_proxies=TRUSTED, allowed_hosts=ServedHosts.of(["127.0.0.1", "agent.example"])
    ) as agent:
        statuses = [
            (await agent.http.get(CARD, headers={"host": host, "x-forwarded-host": asked})).status_code
            for host in ("127.0.0.1", "rebound.example")
            for asked in ("agent.example", "rebound.example")
        ]

    assert statuses == [200, 400, 400, 400]


async def test_the_card_names_no_url_of_a_proxy(serving: Serving) -> None:
    async with serving(trusted_proxies=TRUSTED) as agent:
        plain = await agent.http.get(CARD)
        behind = await agent.http.get(CARD, headers=X_FORWARDED)

    assert behind.content == plain.content
    assert b"agent.example" not in behind.content
