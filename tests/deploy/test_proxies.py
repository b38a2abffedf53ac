"""nginx and Caddy before a served agent, with the files of `deploy/proxies`, but for addresses and certificates."""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from opencode_a2a.agent.application import application
from opencode_a2a.cli.connection_limits import connection_limits
from opencode_a2a.cli.operator.server_checks import check_streams
from opencode_a2a.config.settings import Settings, load_settings
from sansio.doctor.finding import ok
from sansio.guards.proxies import ProxyHeaders
from tests.deploy.proxies import NAME, PREFIX, Proxy, running
from tests.deploy.tools import DEPLOY
from tests.shell.harness import ALICE, CREDENTIALS, REST_10, Caller, quick, served, until
from tests.shell.server.websocket.client import connection

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["nginx", "caddy"])
def proxy(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@asynccontextmanager
async def agent_behind(backend: str, kind: str, folder: Path, **more: Any) -> AsyncGenerator[Proxy]:
    """An agent with the settings that the proxy's file asks for, behind that proxy."""
    asked = dict(re.findall(r"^#\s+(A2A_\w+)=(\S+)$", _file(kind).read_text(), re.MULTILINE))
    settings, warnings = load_settings(asked)
    assert warnings == []
    async with served(backend, quick()) as opencode:
        given = Settings(
            public_url_override=settings.public_url_override,
            trusted_proxies=settings.trusted_proxies,
            credentials=CREDENTIALS,
            opencode_url=opencode,
            task_store_backend="memory",
            tool_enabled=False,
            **more,
        )
        async with (
            application(given) as application_,
            served(backend, application_.asgi, limits=connection_limits(given)) as url,
            running(kind, folder, url) as proxy,
        ):
            proxy.http.headers["authorization"] = f"Bearer {ALICE}"
            yield proxy


def _file(kind: str) -> Path:
    return DEPLOY / "proxies" / {"nginx": "nginx.conf", "caddy": "Caddyfile"}[kind]


async def test_a_stream_arrives_while_its_task_goes_on(anyio_backend: str, proxy: str, tmp_path: Path) -> None:
    async with agent_behind(anyio_backend, proxy, tmp_path) as before:
        before.http.base_url = httpx.URL(before.url)
        caller = Caller(before.http, REST_10)
        async with caller.open("SLOW") as stream:
            await stream.until(lambda: len(stream.chunks) >= 3)
            assert not stream.ended
            canceled = await caller.cancel(stream.task.id)
            await stream.whole()

    assert canceled.status.state.value == "canceled"
    assert stream.state == "canceled"


async def test_cards_name_the_url_with_the_prefix_and_lead_there(
    anyio_backend: str, proxy: str, tmp_path: Path
) -> None:
    async with agent_behind(anyio_backend, proxy, tmp_path) as before:
        cards = [
            await before.http.get(f"{path}/.well-known/{name}")
            for path in (PREFIX, "")
            for name in ("agent-card.json", "agent.json")
        ]
        others = [await before.http.get(path) for path in ("/", "/.well-known/agent", "/.well-known/agent.json/more")]
        urls = {one["url"] for card in cards for one in card.json()["supportedInterfaces"]}
        sent = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": _MESSAGE}}
        answers = [
            await before.http.post(path, json=sent, headers={"A2A-Version": "1.0"}) for path in (PREFIX, f"{PREFIX}/")
        ]

    assert {url.rstrip("/") for url in urls} == {f"https://{NAME}{PREFIX}"}
    assert [card.status_code for card in cards] == [200] * 4
    assert all(card.json() == cards[0].json() for card in cards)
    assert [b"supportedInterfaces" in one.content for one in others] == [False] * 3
    assert [answer.status_code for answer in answers] == [200, 200]
    assert {answer.json()["result"]["task"]["status"]["state"] for answer in answers} == {"TASK_STATE_COMPLETED"}


_MESSAGE = {"messageId": "m-1", "role": "ROLE_USER", "parts": [{"text": "ECHO hello"}]}


async def test_the_servers_own_errors_pass_and_whether_it_is_ready_does_not(
    anyio_backend: str, proxy: str, tmp_path: Path
) -> None:
    async with agent_behind(anyio_backend, proxy, tmp_path) as before:
        stranger = await before.http.post(f"{PREFIX}/message:send", json={}, headers={"authorization": "Bearer no"})
        probes = [await before.http.get(f"{PREFIX}{path}") for path in ("/livez", "/readyz")]

    assert stranger.status_code == 401
    assert stranger.headers["www-authenticate"]
    assert [probe.status_code for probe in probes] == [200, 404]
    assert probes[0].json() == {"status": "ok"}


async def test_doctor_sees_that_streams_come_through(anyio_backend: str, proxy: str, tmp_path: Path) -> None:
    async with agent_behind(anyio_backend, proxy, tmp_path) as before:
        del before.http.headers["authorization"]
        found = await check_streams(before.http, before.url)

    assert found == ok("streams", "events come through as they are sent")


async def test_nginx_passes_websocket_on(anyio_backend: str, tmp_path: Path) -> None:
    bindings = ("JSONRPC", "WEBSOCKET")
    async with agent_behind(anyio_backend, "nginx", tmp_path, bindings=bindings) as before:
        trusting = ssl.create_default_context(cafile=tmp_path / "authority.pem")
        where: dict[str, Any] = {"path": f"{PREFIX}/websocket", "host": NAME}
        async with connection(before.url, tls=trusting, **where) as client:
            assert client.status == 101
            assert "result" in await client.ask("ListTasks", {})
        async with connection(before.url, tls=trusting, token="no", **where) as client:
            assert client.status == 401
            assert "www-authenticate" in client.head


async def test_nginx_lets_the_server_refuse_what_is_too_large(anyio_backend: str, tmp_path: Path) -> None:
    headers = {"content-type": "application/json", "A2A-Version": "1.0"}
    async with agent_behind(anyio_backend, "nginx", tmp_path) as before:
        large = await before.http.post(f"{PREFIX}/message:send", content=b"x" * 1_500_000, headers=headers)

    assert large.status_code == 413
    assert "json" in large.headers["content-type"]


async def test_what_a_client_claims_of_itself_does_not_reach_the_server(
    anyio_backend: str, proxy: str, tmp_path: Path
) -> None:
    seen: list[tuple[str, dict[str, str]]] = []

    async def echo(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while True:
                message = await receive()
                await send({"type": f"{message['type']}.complete"})
                if message["type"] == "lifespan.shutdown":
                    return
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        seen.append((scope["path"], headers))
        body = orjson.dumps(len(seen))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    claimed = {
        "x-forwarded-for": "203.0.113.7",
        "x-forwarded-proto": "ftp",
        "x-forwarded-host": "evil.example",
        "x-forwarded-port": "1",
        "x-forwarded-prefix": "/evil",
        "forwarded": "for=203.0.113.7",
    }
    async with served(anyio_backend, echo) as url, running(proxy, tmp_path, url) as before:
        assert (await before.http.get(f"{PREFIX}/tasks", headers=claimed)).status_code == 200
        await until(lambda: seen)

    [(path, headers)] = seen
    assert path == "/tasks"
    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert headers["x-forwarded-proto"] == "https"
    assert headers["x-forwarded-host"].partition(":")[0] == NAME
    assert headers["host"].partition(":")[0] == NAME
    assert "x-forwarded-prefix" not in headers
    assert "forwarded" not in headers
    assert "evil" not in str(headers)
    assert "203.0.113.7" not in str(headers)
    assert ProxyHeaders.X_FORWARDED.value == "x-forwarded"  # the headers that the server takes unless it is told
