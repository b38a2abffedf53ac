"""Client certificates that a proxy names: from a trusted one alone, and behind what a caller presents itself."""

from __future__ import annotations

from typing import Any

import pytest

from opencode_a2a.config.settings import Settings, SettingsError
from opencode_a2a.server.identity.opening import identity_options
from sansio.a2a.cards.security import published
from sansio.access import CredentialSet
from sansio.access.challenges import challenge
from sansio.guards.proxies import parse_networks
from tests.shell.harness import ALICE, Serving, client

pytestmark = pytest.mark.anyio

HEADER = "X-Client-Cert-Subject"
LOOPBACK, OTHER = parse_networks(["127.0.0.1"]), parse_networks(["10.9.8.7"])


async def test_a_trusted_proxy_names_a_certificate(serving: Serving) -> None:
    async with (
        serving(client_cert_header=HEADER, trusted_proxies=LOOPBACK) as agent,
        client(agent.url, None) as http,
    ):

        async def status(**headers: str) -> int:
            return (
                await http.get("/health", headers={name.replace("_", "-"): v for name, v in headers.items()})
            ).status_code

        assert await status(x_client_cert_subject="CN=ada") == 200
        assert await status(x_client_cert_subject="") == 401
        assert await status(x_client_cert_subject="a" * 256) == 401
        assert await status() == 401
        assert await status(authorization=f"Bearer {ALICE}", x_client_cert_subject="CN=ada") == 200
        assert await status(authorization="Bearer wrong", x_client_cert_subject="CN=ada") == 401
        twice = await http.get("/health", headers=[(HEADER, "CN=ada"), (HEADER, "CN=eve")])
        card = (await http.get("/.well-known/agent-card.json")).json()

    assert twice.status_code == 400
    assert card["securitySchemes"]["mutualTls"]["type"] == "mutualTLS"
    assert "mtlsSecurityScheme" in card["securitySchemes"]["mutualTls"]


async def test_envoys_header_is_read_from_a_trusted_proxy_alone(serving: Serving) -> None:
    name = "X-Forwarded-Client-Cert"
    good = 'By=spiffe://a/edge;Subject="CN=eve,O=x",By=spiffe://a/p;Subject="CN=ada";URI=spiffe://a/ada'
    settings: dict[str, Any] = {"client_cert_header": name, "credentials": CredentialSet()}
    async with (
        serving(**settings, trusted_proxies=LOOPBACK) as agent,
        client(agent.url, None) as http,
        serving(**settings, trusted_proxies=OTHER) as other,
        client(other.url, None) as from_elsewhere,
    ):
        answers = [
            (await http.get("/health", headers={name: text})).status_code
            for text in (good, good + ",", 'Subject="CN=eve', "By=spiffe://a/p", "")
        ]
        twice = (await http.get("/health", headers=[(name, good), (name, good)])).status_code
        refused = (await from_elsewhere.get("/health", headers={name: good})).status_code

    assert answers == [200, 401, 401, 401, 401]
    assert (twice, refused) == (400, 401)


async def test_from_any_other_peer_the_header_counts_for_nothing(serving: Serving) -> None:
    settings: dict[str, Any] = {
        "credentials": CredentialSet(),
        "client_cert_header": HEADER,
        "trusted_proxies": OTHER,
    }
    async with serving(**settings) as agent, client(agent.url, None) as http:
        answer = await http.get("/health", headers={HEADER: "CN=ada", "x-forwarded-for": "10.9.8.7"})

    assert answer.status_code == 401


def test_without_a_trusted_proxy_the_server_does_not_start() -> None:
    settings = Settings(client_cert_header=HEADER)

    with pytest.raises(SettingsError, match="A2A_CLIENT_CERT_HEADER"):
        identity_options(settings)


def test_cards_and_challenges_know_every_scheme() -> None:
    schemes = ("bearer", "basic", "api_key", "oidc", "mtls")

    found = published(schemes, api_key_header="X-API-Key", discovery_url="https://login.example/d")

    kinds = [scheme.openapi["type"] for scheme in found]
    assert kinds == ["http", "http", "apiKey", "openIdConnect", "mutualTLS"]
    assert [challenge([scheme], "r").split()[0] for scheme in schemes] == [
        "Bearer",
        "Basic",
        "ApiKey",
        "Bearer",
        "Bearer",
    ]
