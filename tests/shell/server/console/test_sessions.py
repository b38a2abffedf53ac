"""Logging in to the console, on both runtimes: the cookie, what it may do, and when it does not count."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest

from sansio.access import Credential, CredentialSet
from sansio.guards.origins import AllowedOrigins
from sansio.guards.proxies import parse_networks
from tests.shell.harness import ALICE, BOB, CAROL, DEADLINE, RPC_10, Agent, Serving, client

pytestmark = pytest.mark.anyio

PAGE = {"x-a2a-console": "1"}
SESSION = "/console/session"
LIST = {"jsonrpc": "2.0", "id": 1, "method": "ListTasks", "params": {}}
NEWER = {"a2a-version": "1.0"}


@asynccontextmanager
async def logged_in(agent: Agent, token: str = ALICE) -> AsyncGenerator[httpx.AsyncClient]:
    """A client that has logged in, and has the cookie alone."""
    async with client(agent.url, None) as page:
        page.headers.update(PAGE)
        answer = await page.post(SESSION, headers={"authorization": f"Bearer {token}"})
        assert answer.status_code == 200, answer.text
        yield page


async def listed(page: httpx.AsyncClient, **headers: str) -> Any:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = await page.post("/", json=LIST, headers=NEWER | given)
    return answer.json()["result"]["tasks"] if answer.status_code == 200 else answer.status_code


async def test_a_login_is_a_cookie_that_no_script_can_read(serving: Serving) -> None:
    async with serving(console=True) as agent, client(agent.url, None) as page:
        answer = await page.post(SESSION, headers={**PAGE, "authorization": f"Bearer {ALICE}"})

        assert answer.json() == {
            "principal": "alice",
            "capabilities": [],
            "expiresIn": 43200,
            "agent": {"name": "OpenCode A2A", "version": answer.json()["agent"]["version"]},
        }
        given = answer.headers["set-cookie"]
        assert {"HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"} <= set(given.split("; "))
        assert answer.headers["cache-control"] == "no-store"
        assert ALICE not in given
        again = await page.get(SESSION, headers=PAGE)
        assert again.json() == answer.json()


async def test_a_session_calls_the_agent_as_its_principal(serving: Serving) -> None:
    async with serving(console=True) as agent:
        task = await agent.caller().send("hi")
        async with logged_in(agent) as alice, logged_in(agent, BOB) as bob:
            assert [one["id"] for one in await listed(alice)] == [task.id]
            assert await listed(bob) == []
            health = await alice.get("/health")
            assert health.status_code == 200


async def test_logins_and_keys_begin_sessions_too(serving: Serving) -> None:
    login = base64.b64encode(":".join(CAROL).encode()).decode()
    credentials = CredentialSet((Credential.api_key("a-key-7f3a9c21d4", principal="dave"), Credential.basic(*CAROL)))
    ways = {"carol": {"authorization": f"Basic {login}"}, "dave": {"x-api-key": "a-key-7f3a9c21d4"}}
    async with serving(console=True, credentials=credentials) as agent:
        for principal, way in ways.items():
            async with client(agent.url, None) as page:
                assert (await page.post(SESSION, headers=PAGE | way)).json()["principal"] == principal
                assert await listed(page, **PAGE) == []


async def test_it_counts_for_the_page_alone(serving: Serving) -> None:
    origins = AllowedOrigins(frozenset({"https://page.example"}))
    async with serving(console=True, allowed_origins=origins) as agent, logged_in(agent) as page:
        assert await listed(page, sec_fetch_site="same-origin", origin=agent.url) == []
        assert await listed(page, origin="https://page.example") == 401
        assert await listed(page, sec_fetch_site="same-site", origin="https://page.example") == 401
        assert await listed(page, sec_fetch_site="cross-site") == 403
        del page.headers["x-a2a-console"]
        assert await listed(page) == 401
        assert (await page.get(SESSION)).status_code == 403


async def test_a_credential_goes_before_a_session(serving: Serving) -> None:
    async with serving(console=True) as agent, logged_in(agent) as page:
        asked = await page.get(SESSION, headers={"authorization": f"Bearer {BOB}"})
        assert asked.json()["principal"] == "bob"
        assert await listed(page, authorization="Bearer wrong") == 401


async def test_a_session_begins_no_other(serving: Serving) -> None:
    async with serving(console=True) as agent, logged_in(agent) as page:
        assert (await page.post(SESSION)).status_code == 401
        assert await listed(page) == []


async def test_logging_out_ends_it(serving: Serving) -> None:
    async with serving(console=True) as agent, logged_in(agent) as page:
        kept = dict(page.cookies)
        answer = await page.delete(SESSION)
        assert (answer.status_code, answer.content) == (204, b"")
        assert "Max-Age=0" in answer.headers["set-cookie"]
        assert dict(page.cookies) == {}
        page.cookies.update(kept)
        assert await listed(page) == 401
        assert (await page.delete(SESSION)).status_code == 204


async def test_logging_in_again_ends_the_session_before(serving: Serving) -> None:
    async with serving(console=True) as agent, logged_in(agent) as page:
        before = dict(page.cookies)
        await page.post(SESSION, headers={"authorization": f"Bearer {BOB}"})
        assert (await page.get(SESSION)).json()["principal"] == "bob"
        page.cookies.clear()
        page.cookies.update(before)
        assert await listed(page) == 401


async def test_a_session_lasts_for_its_time(serving: Serving) -> None:
    async with serving(console=True, console_session_seconds=2.0) as agent, logged_in(agent) as page:
        [(name, value)] = page.cookies.items()
        page.cookies.clear()
        assert await listed(page, cookie=f"{name}={value}") == []
        await anyio.sleep(2.0)
        with anyio.fail_after(DEADLINE):
            while await listed(page, cookie=f"{name}={value}") != 401:  # noqa: ASYNC110 - there is no event to wait for
                await anyio.sleep(0.1)


async def test_a_session_ends_with_its_credential_and_so_do_its_streams(serving: Serving) -> None:
    async with serving(console=True) as agent, logged_in(agent) as page:
        params = {"message": RPC_10.message("HANG")}
        stream = {"jsonrpc": "2.0", "id": 1, "method": "SendStreamingMessage", "params": params}
        with anyio.fail_after(DEADLINE):
            async with page.stream("POST", "/", json=stream, headers=NEWER) as answer:
                chunks = answer.aiter_raw()
                await anext(chunks)
                agent.running.a2a.authenticator.replace(CredentialSet((Credential.bearer(BOB, principal="bob"),)))
                async for _ in chunks:
                    pass
        assert await listed(page) == 401


async def test_who_is_refused_is_not_asked_by_the_browser(serving: Serving) -> None:
    async with serving(console=True) as agent, client(agent.url, None) as page:
        for answer in (
            await page.post(SESSION, headers={**PAGE, "authorization": "Bearer wrong"}),
            await page.get(SESSION, headers=PAGE),
            await page.post("/", json=LIST, headers=PAGE),
        ):
            assert answer.status_code == 401
            assert "www-authenticate" not in answer.headers
            assert "set-cookie" not in answer.headers
        assert "www-authenticate" in (await page.post("/", json=LIST)).headers


async def test_guessing_has_a_bound(serving: Serving) -> None:
    rates: dict[str, Any] = {"rate_limit_enabled": True, "rate_limit_public_max_requests": 3}
    proxies = parse_networks(["127.0.0.1"])
    async with serving(console=True, **rates, trusted_proxies=proxies) as agent, client(agent.url, None) as page:
        page.headers.update({**PAGE, "x-forwarded-for": "203.0.113.7"})
        answers = [
            await page.post(SESSION, headers={"authorization": f"Bearer wrong {number}"}) for number in range(4)
        ]
        guessed = [
            await page.get(SESSION, headers={"cookie": f"{name}={'s' * 43}"}) for name in ("a2a-console-0", "x")
        ]
    assert [answer.status_code for answer in answers] == [401, 401, 401, 429]
    assert [answer.status_code for answer in guessed] == [429, 429]


async def test_over_tls_the_cookie_is_for_tls_alone(serving: Serving) -> None:
    public = "https://agent.example/a/"
    async with serving(console=True, public_url_override=public) as agent, client(agent.url, None) as page:
        asked = {**PAGE, "host": "agent.example", "authorization": f"Bearer {ALICE}"}
        given = (await page.post("/a" + SESSION, headers=asked)).headers["set-cookie"]
        assert given.startswith("__Secure-")
        assert {"Secure", "Path=/a"} <= set(given.split("; "))


@pytest.mark.parametrize("path", ["/console", SESSION, "/console/main.js"])
async def test_it_is_off_unless_it_is_turned_on(serving: Serving, path: str) -> None:
    async with serving() as agent, client(agent.url, None) as page:
        assert (await page.get(path, headers=PAGE)).status_code == 401
        assert (await agent.http.get(path, headers=PAGE)).status_code == 404
