"""Tokens of an OpenID provider, over sockets: which are accepted, keys that change, and a provider that is away."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import orjson
import pytest
from joserfc.jwk import OctKey

from opencode_a2a.config.groups.capabilities import CAPABILITIES
from opencode_a2a.config.groups.identity_values import scope_capabilities
from opencode_a2a.config.settings import Settings, SettingsError
from opencode_a2a.config.settings_values import SettingRefusedError
from opencode_a2a.fake_opencode import Say
from opencode_a2a.server.identity import authenticator
from opencode_a2a.server.identity.opening import identity_options
from sansio.a2a.bindings.http_messages import Request
from sansio.a2a.bindings.sse import SseDecoder
from sansio.access import CredentialSet, key_schedule, oidc
from sansio.access.oidc import LARGEST_KEY_SET
from sansio.extensions.methods.catalogue_methods import WORKSPACE_MUTATION
from sansio.extensions.methods.session_methods import SESSION_SHELL
from sansio.http import METRICS_CAPABILITY
from tests.shell.harness import ALICE, DEADLINE, Agent, Serving, until
from tests.shell.server.identity.openid_provider import AUDIENCE, EC, EDWARDS, OTHER, RSA, Provider, provider

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def accepting(serving: Serving, backend: str, **settings: Any) -> AsyncIterator[tuple[Agent, Provider]]:
    """A provider, and an agent that accepts its tokens and has its keys."""
    async with provider(backend) as issuer, serving(**issuer.settings, **settings) as agent:
        await until(lambda: issuer.key_fetches)
        yield agent, issuer


def encoded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


async def asked(agent: Agent, token: str, path: str = "/health") -> httpx.Response:
    return await agent.http.get(path, headers={"authorization": f"Bearer {token}", "a2a-version": "1.0"})


async def status(agent: Agent, token: str) -> int:
    return (await asked(agent, token)).status_code


async def test_tokens_are_accepted_beside_static_ones(serving: Serving, anyio_backend: str) -> None:
    async with accepting(serving, anyio_backend) as (agent, issuer):
        good = [
            issuer.token(),
            issuer.token(RSA, "RS256"),
            issuer.token(RSA, "PS256", header={"typ": None}),
            issuer.token(EDWARDS, "EdDSA"),
            issuer.token(EDWARDS, "Ed25519"),
            issuer.token(header={"kid": None}),
            issuer.token(aud=["other", AUDIENCE], nbf=time.time() + 30),
            issuer.token(exp=time.time() - 30),  # within what two clocks may differ by
        ]
        assert [await status(agent, token) for token in good] == [200] * len(good)
        assert await status(agent, ALICE) == 200
        card = (await agent.http.get("/.well-known/agent-card.json")).json()
        fetched = issuer.key_fetches

    discovery = f"{issuer.url}/.well-known/openid-configuration"
    scheme = card["securitySchemes"]["openIdConnect"]
    assert (scheme["type"], scheme["openIdConnectUrl"]) == ("openIdConnect", discovery)
    assert scheme["openIdConnectSecurityScheme"]["openIdConnectUrl"] == discovery
    assert {"openIdConnect": []} in card["security"]
    assert {"schemes": {"openIdConnect": {"list": []}}} in card["securityRequirements"]
    assert fetched == 1


async def test_tokens_that_are_not_good_are_refused(serving: Serving, anyio_backend: str) -> None:
    now = time.time()
    async with accepting(serving, anyio_backend) as (agent, issuer):
        good = issuer.token()
        head, body, signature = good.split(".")
        none = encoded(b'{"alg":"none","typ":"JWT"}')
        critical = encoded(json.dumps({"alg": "ES256", "kid": "ec-1", "crit": ["x"], "x": 1}).encode())
        hs256 = f"{encoded(json.dumps({'alg': 'HS256', 'kid': 'rsa-1'}).encode())}.{body}"
        forged = encoded(hmac.digest(RSA.as_pem(private=False), hs256.encode(), "sha256"))
        other_issuer = encoded(b'{"iss":"https://evil.example"}')
        bad = {
            "expired": issuer.token(exp=now - 120),
            "without an end": issuer.token(exp=None),
            "an end that is no time": issuer.token(exp="tomorrow"),
            "not yet valid": issuer.token(nbf=now + 120),
            "issued later": issuer.token(iat=now + 120),
            "another audience": issuer.token(aud="https://other.example"),
            "no audience": issuer.token(aud=None),
            "another issuer": issuer.token(iss="https://evil.example"),
            "nobody": issuer.token(sub=None),
            "an empty name": issuer.token(sub=" "),
            "a name with a line break": issuer.token(sub="a\nb"),
            "no algorithm": f"{none}.{body}.",
            "the public key as a secret": f"{hs256}.{forged}",
            "another key under a known id": issuer.token(OTHER, header={"kid": "ec-1"}),
            "an algorithm that does not fit the key": issuer.token(RSA, "RS256", header={"kid": "ec-1"}),
            "an unknown key": issuer.token(OTHER),
            "an algorithm that is not allowed": issuer.token(RSA, "RS512"),
            "another type": issuer.token(header={"typ": "logout+jwt"}),
            "a changed body": f"{head}.{other_issuer}.{signature}",
            "a cut signature": f"{head}.{body}.{signature[:-4]}",
            "no header": f"eyJ.{body}.{signature}",
            "critical": f"{critical}.{body}.{signature}",
        }
        answers = {name: await asked(agent, token) for name, token in bad.items()}

    assert {name: answer.status_code for name, answer in answers.items()} == dict.fromkeys(bad, 401)
    assert answers["expired"].headers["www-authenticate"].startswith('Bearer error="invalid_token"')
    assert answers["expired"].json()["error"]["message"] == "The token has expired"


async def test_claims_name_the_principal_and_grant_capabilities(serving: Serving, anyio_backend: str) -> None:
    settings: dict[str, Any] = {
        "credentials": CredentialSet(),
        "oidc_principal_claim": "email",
        "oidc_capabilities_claim": "roles",
        "oidc_scope_capabilities": {"a2a.shell": frozenset({"session_shell"})},
    }
    async with accepting(serving, anyio_backend, **settings) as (agent, issuer):
        issued = agent.running.a2a.authenticator

        async def identity(**claims: Any) -> tuple[str, frozenset[str]]:
            headers = {"authorization": f"Bearer {issuer.token(**claims)}"}
            found = await issued.authenticate(Request(method="GET", path="/", query_string=b"", headers=headers))
            return found.identity.principal, found.identity.capabilities

        plain = await identity(email="alice", roles=["admin"])
        shell = await identity(email="a@b.example", scope="openid a2a.shell", roles="workspace_mutation other")
        unverified = await status(agent, issuer.token(email="a@b.example", email_verified=False))
        # `alice` of the provider is not `alice` of the operator's list
        mine = await agent.http.get(
            "/tasks", headers={"authorization": f"Bearer {issuer.token(email='alice')}", "a2a-version": "1.0"}
        )

    assert plain == ("oidc:alice", frozenset())
    assert shell == ("oidc:a@b.example", frozenset({"session_shell", "workspace_mutation"}))
    assert unverified == 401
    assert mine.json()["tasks"] == []


@pytest.mark.parametrize("way", ["scope", "claim"])
async def test_a_token_may_read_the_metrics_where_it_is_granted(
    serving: Serving, anyio_backend: str, way: str
) -> None:
    given: dict[str, Any] = {
        "scope": {"oidc_scope_capabilities": scope_capabilities('{"a2a.metrics": ["metrics"]}')},
        "claim": {"oidc_capabilities_claim": "roles"},
    }
    claims: dict[str, dict[str, Any]] = {"scope": {"scope": "a2a.metrics"}, "claim": {"roles": ["metrics"]}}
    async with accepting(serving, anyio_backend, metrics_enabled=True, **given[way]) as (agent, issuer):
        granted = await asked(agent, issuer.token(**claims[way]), "/metrics")
        other = await status(agent, issuer.token()), (await asked(agent, issuer.token(), "/metrics")).status_code

    assert (granted.status_code, other) == (200, (200, 403))
    assert b"a2a_http_requests_total" in granted.content


def test_every_capability_can_be_granted_by_a_scope() -> None:
    everything = json.dumps({"all": sorted(CAPABILITIES)})

    assert scope_capabilities(everything) == {"all": CAPABILITIES}
    assert {METRICS_CAPABILITY, SESSION_SHELL, WORKSPACE_MUTATION} == CAPABILITIES
    with pytest.raises(SettingRefusedError, match="metrics, session_shell, workspace_mutation"):
        scope_capabilities('{"all": ["other"]}')


async def test_keys_that_were_exchanged_are_fetched_once_in_a_while(
    serving: Serving, anyio_backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with accepting(serving, anyio_backend) as (agent, issuer):
        issuer.keys = [OTHER.as_dict(private=False)]
        assert await status(agent, issuer.token(OTHER)) == 401  # the keys were fetched just now
        assert issuer.key_fetches == 1
        with monkeypatch.context() as patched:
            patched.setattr(key_schedule, "PAUSE", 0.0)
            assert await status(agent, issuer.token(OTHER)) == 200
        assert await status(agent, issuer.token(OTHER)) == 200
        assert [await status(agent, issuer.token(EC)) for _ in range(5)] == [401] * 5
        assert issuer.key_fetches == 2


async def test_known_keys_go_on_while_the_provider_is_away_and_not_for_ever(
    serving: Serving, anyio_backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with accepting(serving, anyio_backend) as (agent, issuer):
        assert await status(agent, issuer.token()) == 200
        monkeypatch.setattr(key_schedule, "FRESH", 0.0)
        issuer.is_down = True
        assert await status(agent, issuer.token()) == 200
        monkeypatch.setattr(key_schedule, "USABLE", 0.0)
        away = await asked(agent, issuer.token())
        assert await status(agent, ALICE) == 200

    assert away.status_code == 503
    assert away.headers["retry-after"] == "5"
    assert away.json()["error"]["details"][0]["reason"] == "AUTHENTICATION_UNAVAILABLE"


async def test_a_flood_of_unknown_keys_fetches_the_keys_once(
    serving: Serving, anyio_backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with accepting(serving, anyio_backend) as (agent, issuer):
        schedule_pause = key_schedule.PAUSE
        monkeypatch.setattr(key_schedule, "PAUSE", 0.0)
        issuer.delay = 0.3
        statuses: list[int] = []

        async def one(number: int) -> None:
            statuses.append(await status(agent, issuer.token(OTHER, header={"kid": f"unknown-{number}"})))

        with anyio.fail_after(DEADLINE):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(one, 0)
                await until(lambda: len(issuer.asked) > 2)
                monkeypatch.setattr(key_schedule, "PAUSE", schedule_pause)
                for number in range(1, 50):
                    tasks.start_soon(one, number)
                assert await status(agent, issuer.token()) == 200  # known keys wait for nothing

    assert statuses == [401] * 50
    assert issuer.key_fetches == 2


async def test_a_provider_that_is_away_at_the_start_is_asked_again(
    serving: Serving, anyio_backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with provider(anyio_backend) as issuer:
        issuer.is_down = True
        async with serving(**issuer.settings) as agent:
            await until(lambda: issuer.asked)
            answers = [await status(agent, issuer.token()) for _ in range(5)]
            fetches = len(issuer.asked)
            issuer.is_down = False
            monkeypatch.setattr(key_schedule, "RETRY", 0.0)
            again = await status(agent, issuer.token())

    assert answers == [503] * 5
    assert fetches == 1
    assert again == 200


async def test_a_redirect_of_the_provider_is_not_followed(serving: Serving, anyio_backend: str) -> None:
    async with provider(anyio_backend) as issuer, provider(anyio_backend) as other:
        issuer.redirect = f"{other.url}/keys"
        async with serving(**issuer.settings) as agent:
            await until(lambda: issuer.asked)
            answer = await status(agent, issuer.token())

    assert answer == 503
    assert other.asked == []


async def test_a_huge_token_is_refused_without_a_look_at_the_keys(serving: Serving, anyio_backend: str) -> None:
    async with accepting(serving, anyio_backend) as (agent, issuer):
        head, body, signature = issuer.token(OTHER).split(".")
        answer = await asked(agent, f"{head}.{body}.{signature}{'A' * (oidc.LARGEST_TOKEN + 1)}")

    assert answer.status_code == 431  # as any head of that size
    assert issuer.key_fetches == 1


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"keys": [' + b" " * LARGEST_KEY_SET + b"]}", id="large"),
        pytest.param(orjson.dumps({"keys": [EC.as_dict(private=False)] * (oidc.MOST_KEYS + 1)}), id="many"),
        pytest.param(b"[]", id="no key set"),
        pytest.param(b"{", id="no JSON"),
    ],
)
async def test_a_key_set_that_cannot_be_used_gives_no_keys(serving: Serving, anyio_backend: str, body: bytes) -> None:
    async with provider(anyio_backend) as issuer:
        issuer.body = body
        async with serving(**issuer.settings) as agent:
            await until(lambda: issuer.key_fetches)
            answer = await asked(agent, issuer.token())
            assert await status(agent, ALICE) == 200

    assert answer.status_code == 503


async def test_a_key_set_with_other_things_in_it_is_used_for_what_it_has(
    serving: Serving, anyio_backend: str
) -> None:
    secret: dict[str, str | list[str]] = {
        "kty": "oct",
        "kid": "rsa-1",
        "k": "c2VjcmV0LXRoYXQtaXMtbG9uZy1lbm91Z2gtZm9yLUhTMjU2",
    }
    broken = {"kty": "EC", "kid": "ec-1", "crv": "P-256", "x": "AA", "y": 3}
    async with provider(anyio_backend) as issuer:
        issuer.keys = [secret, "text", broken, *issuer.keys]
        async with serving(**issuer.settings) as agent:
            await until(lambda: issuer.key_fetches)
            assert await status(agent, issuer.token()) == 200
            assert await status(agent, issuer.token(OctKey.import_key(secret), "HS256")) == 401


async def test_a_stream_ends_when_its_token_expires(
    serving: Serving, anyio_backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oidc, "LEEWAY", 0.0)
    monkeypatch.setattr(authenticator, "EXPIRY_EVERY", 0.05)
    async with accepting(serving, anyio_backend) as (agent, issuer):
        agent.fake_opencode.hold(Say, tokens=5)
        token = issuer.token(exp=time.time() + 1.0)
        agent.http.headers["authorization"] = f"Bearer {token}"
        caller = agent.caller()
        response = await agent.http.send(caller.request("stream", caller.params("LONG 40", {})), stream=True)
        decoder, events = SseDecoder(), list[Any]()
        with anyio.fail_after(DEADLINE):
            async for chunk in response.aiter_raw():
                events += decoder.feed(chunk)
        await response.aclose()

    assert response.status_code == 200
    assert b"Unauthorized" in events[-1].data


def test_an_issuer_without_an_audience_stops_the_start() -> None:
    settings = Settings(oidc_issuer="https://login.example")

    with pytest.raises(SettingsError, match="A2A_OIDC_AUDIENCE"):
        identity_options(settings)
