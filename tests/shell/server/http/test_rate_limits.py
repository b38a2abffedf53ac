"""Requests beyond a limit are refused with 429, and every answer says what is left."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import httpx
import pytest

from sansio.access import Credential, CredentialSet
from sansio.guards.hosts import ServedHosts
from sansio.guards.origins import AllowedOrigins
from sansio.guards.proxies import parse_networks
from tests.shell.harness import ALICE, BOB, Agent, Serving, until
from tests.shell.server.identity.openid_provider import OTHER, provider

pytestmark = pytest.mark.anyio

LIMITS: dict[str, Any] = {
    "rate_limit_enabled": True,
    "rate_limit_max_requests": 3,
    "rate_limit_public_max_requests": 2,
    "rate_limit_window_seconds": 600,
    "trusted_proxies": parse_networks(["127.0.0.1"]),
}
CARD, HEALTH, OPENAPI = "/.well-known/agent-card.json", "/health", "/openapi.json"
HERE, THERE = {"x-forwarded-for": "203.0.113.7"}, {"x-forwarded-for": "203.0.113.8"}


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def statuses(agent: Agent, path: str, *headers: dict[str, str], times: int = 1) -> list[int]:
    async with httpx.AsyncClient(base_url=agent.url) as http:
        return [(await http.get(path, headers=given)).status_code for _ in range(times) for given in headers]


async def test_a_credential_has_its_quota_from_wherever_it_calls(serving: Serving) -> None:
    async with serving(**LIMITS) as agent:
        answers = [
            await agent.http.get(HEALTH, headers={"a2a-version": "1.0", **address})
            for address in (HERE, THERE, HERE, THERE)
        ]
        others = await agent.bob.get(HEALTH)
        options = await agent.http.options(HEALTH)

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers["ratelimit"].split(";")[1] for answer in answers] == ["r=2", "r=1", "r=0", "r=0"]
    assert {answer.headers["ratelimit-policy"] for answer in answers} == {'"credential";q=3;w=600'}
    assert 190 < int(answers[-1].headers["retry-after"]) <= 200
    assert answers[-1].json()["error"]["status"] == "RESOURCE_EXHAUSTED"
    assert answers[-1].json()["error"]["details"][0]["reason"] == "RATE_LIMITED"
    assert (others.status_code, options.status_code) == (200, 204)
    assert "ratelimit" not in options.headers


async def test_version_0_3_gets_the_same_in_its_own_shape(serving: Serving) -> None:
    async with serving(**LIMITS) as agent:
        for _ in range(4):
            answer = await agent.http.get(HEALTH, headers={"a2a-version": "0.3"})

    assert answer.status_code == 429
    assert answer.json()["type"] == "RATE_LIMITED"
    assert str(answer.json()["retry_after_seconds"]) == answer.headers["retry-after"]


async def test_public_documents_have_a_quota_for_each_address(serving: Serving) -> None:
    async with serving(**LIMITS) as agent:
        assert await statuses(agent, CARD, HERE, times=3) == [200, 200, 429]
        assert await statuses(agent, OPENAPI, HERE, THERE) == [429, 200]
        assert await statuses(agent, "/livez", HERE, times=5) == [200] * 5
        assert await statuses(agent, HEALTH, {**bearer(ALICE), **HERE}) == [200]


UNREADABLE = ["unknown", "_hidden", "127.0.0.1", "::1", "16909060", "1.2.3.04", "203.0.113.7, unknown"]


async def test_clients_that_their_proxy_does_not_name_share_a_quota(serving: Serving) -> None:
    async with serving(**LIMITS) as agent:
        unnamed = [{}, *({"x-forwarded-for": text} for text in UNREADABLE)]
        assert await statuses(agent, CARD, *unnamed) == [200, 200, *[429] * (len(unnamed) - 2)]
        guesses = [{**bearer(f"guess {number}"), **headers} for number, headers in enumerate(unnamed)]
        assert await statuses(agent, HEALTH, *guesses) == [401, 401, *[429] * (len(guesses) - 2)]
        assert await statuses(agent, CARD, HERE) == [200]
        assert await statuses(agent, HEALTH, {**bearer(ALICE), **HERE}, bearer(ALICE)) == [200, 200]


async def test_loopback_is_not_counted_where_it_is_no_trusted_proxy(serving: Serving) -> None:
    async with serving(**{**LIMITS, "trusted_proxies": parse_networks(["10.1.0.0/16"])}) as agent:
        assert await statuses(agent, CARD, {}, HERE, times=3) == [200] * 6


async def test_a_forged_address_has_no_effect(serving: Serving) -> None:
    async with serving(**LIMITS) as agent:
        forged = [{"x-forwarded-for": f"198.51.100.{number}, 203.0.113.7"} for number in range(3)]
        assert await statuses(agent, CARD, *forged) == [200, 200, 429]


@pytest.mark.parametrize("path", [HEALTH, OPENAPI, "/readyz"])
async def test_who_guesses_credentials_gets_no_answer_after_a_while(serving: Serving, path: str) -> None:
    async with serving(**LIMITS) as agent:
        assert await statuses(agent, HEALTH, {**bearer(ALICE), **HERE}) == [200]
        guesses = [{**bearer(f"guess {number}"), **HERE} for number in range(2)]
        assert await statuses(agent, path, *guesses) == [401, 401]
        assert await statuses(agent, path, {**bearer(BOB), **HERE}) == [429]  # a guess as any other
        assert await statuses(agent, HEALTH, {**bearer(ALICE), **HERE}) == [200]  # seen before
        assert await statuses(agent, HEALTH, {**bearer(BOB), **THERE}) == [200]


TOKEN, KEY, HASHED = "token-of-ada-5f0c9e1d", "key-of-ada-77a1d2c3b4", "hashed-of-ada-90be13f2"
LONG = CredentialSet(
    (
        Credential.bearer(TOKEN, principal="ada", credential_id="token"),
        Credential.api_key(KEY, principal="ada", credential_id="key"),
        Credential.bearer(hashlib.sha256(HASHED.encode()).digest(), principal="ada", credential_id="hash"),
        Credential.bearer("short", principal="ada", credential_id="short"),
        Credential.basic("ada", "a password that is long"),
    )
)
BASIC = {"authorization": "Basic " + base64.b64encode(b"ada:a password that is long").decode()}


async def test_what_nobody_guesses_passes_though_others_at_its_address_guessed(serving: Serving) -> None:
    wrong = [{**bearer(f"guess-{number}-of-more-than-16"), **HERE} for number in range(3)]
    good = [{**given, **HERE} for given in (bearer(TOKEN), {"x-api-key": KEY}, bearer(HASHED))]
    async with serving(**LIMITS, credentials=LONG) as agent:
        assert await statuses(agent, HEALTH, *wrong) == [401, 401, 429]
        assert await statuses(agent, HEALTH, *good) == [200] * 3  # none was seen before
        assert await statuses(agent, HEALTH, *good, times=3) == [200] * 6 + [429] * 3  # their own quotas hold
        assert await statuses(agent, HEALTH, {**bearer("short"), **HERE}, {**BASIC, **HERE}) == [429, 429]
        assert await statuses(agent, HEALTH, *wrong) == [429] * 3
        assert await statuses(agent, HEALTH, {**bearer("short"), **THERE}, {**BASIC, **THERE}) == [200, 200]


async def test_a_certificate_that_the_proxy_names_passes(serving: Serving) -> None:
    async with serving(**LIMITS, client_cert_header="X-Client-Cert-Subject") as agent:
        assert await statuses(agent, HEALTH, {**bearer("wrong"), **HERE}, times=3) == [401, 401, 429]
        assert await statuses(agent, HEALTH, {"x-client-cert-subject": "CN=ada", **HERE}) == [200]
        assert await statuses(agent, HEALTH, {"x-client-cert-subject": "a" * 256, **HERE}) == [429]


async def test_signed_tokens_are_still_checked_but_not_without_end(serving: Serving, anyio_backend: str) -> None:
    async with provider(anyio_backend) as issuer, serving(**{**LIMITS, **issuer.settings}) as agent:
        await until(lambda: issuer.key_fetches)
        assert await statuses(agent, HEALTH, {**bearer("wrong"), **HERE}, times=3) == [401, 401, 429]
        good, forged = issuer.token(), issuer.token(OTHER)
        assert await statuses(agent, HEALTH, {**bearer(good), **HERE}) == [200]
        assert await statuses(agent, HEALTH, {**bearer(forged), **HERE}, times=3) == [429] * 3  # one check is left
        late = issuer.token(sub="late")
        assert await statuses(agent, HEALTH, {**bearer(late), **HERE}) == [429]
        assert await statuses(agent, HEALTH, {**bearer(good), **HERE}) == [200]  # known
        assert await statuses(agent, HEALTH, {**bearer(late), **THERE}) == [200]


async def test_a_page_may_read_its_quota(serving: Serving) -> None:
    origin = "https://page.example"
    async with serving(**LIMITS, allowed_origins=AllowedOrigins(frozenset({origin}))) as agent:
        answer = await agent.http.get(HEALTH, headers={"origin": origin})

    assert "ratelimit" in answer.headers["access-control-expose-headers"].split(", ")


async def test_without_limits_nothing_is_counted_or_said(serving: Serving) -> None:
    async with serving(**{**LIMITS, "rate_limit_enabled": False}) as agent:
        answers = [await agent.http.get(HEALTH, headers=HERE) for _ in range(5)]

    assert [answer.status_code for answer in answers] == [200] * 5
    assert not any("ratelimit" in answer.headers for answer in answers)


async def test_the_guards_come_in_order(serving: Serving) -> None:
    used_up = {"rate_limit_max_requests": 1, "rate_limit_public_max_requests": 1, "max_request_body_bytes": 100}
    hosts = ServedHosts.of(["127.0.0.1"])
    known = bearer(ALICE)
    async with (
        serving(**{**LIMITS, **used_up}, allowed_hosts=hosts) as agent,
        httpx.AsyncClient(base_url=agent.url, headers=HERE) as http,
    ):
        for path, headers in ((HEALTH, {}), (CARD, {}), (HEALTH, known)):
            await http.get(path, headers=headers)  # each quota is used up
        answers = [
            await http.get(CARD, headers={"host": "other.example"}),
            await http.get(HEALTH, headers={"origin": "https://other.example"}),
            await http.options(HEALTH),
            await http.get(CARD),
            await http.post("/", content=b"x" * 101),
            await http.get(HEALTH),
            await http.get(HEALTH, headers=known),
            await http.post("/", content=b"no JSON", headers=known),
        ]

    assert [answer.status_code for answer in answers] == [400, 403, 204, 429, 413, 429, 429, 429]
