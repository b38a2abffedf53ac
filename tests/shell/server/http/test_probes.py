"""The probes of an orchestrator: whether the server lives, and whether it can take a message now."""

from __future__ import annotations

from pathlib import Path

import anyio
import httpx
import pytest

from opencode_a2a.config.settings import Settings
from opencode_a2a.fake_opencode import Say
from opencode_a2a.server.store import EventsPruned
from sansio.guards.hosts import ServedHosts
from tests.shell.agent.upstream.test_readiness import reported
from tests.shell.cli.test_logs import logged
from tests.shell.cli.test_shutdown import server
from tests.shell.harness import (
    CREDENTIALS,
    DEADLINE,
    RPC_10,
    Agent,
    Caller,
    Serving,
    agent_at,
    agent_before,
    client,
    quick,
    served,
    until,
)
from tests.shell.ports import free_port
from tests.shell.server.store.test_store_outages import locked

pytestmark = pytest.mark.anyio

READY, NOT_READY = (200, {"status": "ok"}), (503, {"status": "not ready"})


def of(response: httpx.Response) -> tuple[int, object]:
    return response.status_code, response.json()


async def unready_for(http: httpx.AsyncClient, *reasons: str) -> httpx.Response:
    """Ask until these are the reasons for which the server is not ready."""
    with anyio.fail_after(DEADLINE):
        while True:
            response = await http.get("/readyz")
            if response.json()["reasons"] == list(reasons):
                return response
            await anyio.sleep(0.01)


async def becomes(agent: Agent, *reasons: str) -> None:
    """Ask until these are the reasons for which the server is not ready, then ask as a stranger."""
    response = await unready_for(agent.http, *reasons)
    expected = NOT_READY if reasons else READY
    assert of(response) == (expected[0], {**expected[1], "reasons": list(reasons)})
    async with client(agent.url, None) as stranger:
        assert of(await stranger.get("/readyz")) == expected
        assert of(await stranger.get("/livez")) == READY


async def test_a_server_is_ready_while_opencode_is_there(anyio_backend: str) -> None:
    port, fake_opencode = free_port(), quick()
    settings = Settings(
        rate_limit_enabled=False,
        opencode_url=f"http://127.0.0.1:{port}",
        credentials=CREDENTIALS,
        task_store_backend="memory",
    )
    async with agent_at(anyio_backend, fake_opencode, settings) as agent:
        await becomes(agent, "UPSTREAM_UNREACHABLE")
        async with served(anyio_backend, fake_opencode, bind=f"127.0.0.1:{port}"):
            await becomes(agent)
        await becomes(agent, "UPSTREAM_UNREACHABLE")


async def test_a_server_is_not_ready_while_its_store_cannot_be_written(anyio_backend: str, tmp_path: Path) -> None:
    database = tmp_path / "tasks.db"
    store = f"sqlite:///{database}?timeout=0.05"
    async with agent_before(anyio_backend, None, task_store_database_url=store) as agent:
        await agent.caller().send("hi")
        await becomes(agent)
        with locked(database):
            await agent.caller().refused(text="again")
            await becomes(agent, "STORE_UNAVAILABLE")
        await agent.running.tasks.store.commit([EventsPruned(0)])
        await becomes(agent)


async def test_a_missing_agent_keeps_no_server_from_being_ready(serving: Serving) -> None:
    fake_opencode = quick()
    fake_opencode.fail_next("GET", "/agent", 200, [{"name": "other"}])
    async with serving(fake_opencode, agent="build") as agent:
        await reported(agent, "AGENT_MISSING")
        await becomes(agent)


async def test_a_server_that_is_being_stopped_is_not_ready_and_lives(anyio_backend: str) -> None:
    async with server(anyio_backend, grace=DEADLINE) as found, client(found.urls[0]) as http:
        found.fake_opencode.hold(Say, tokens=2)
        async with Caller(http, RPC_10).open("hi") as stream, client(found.urls[0], None) as stranger:
            await stream.until(lambda: stream.text)
            assert of(await stranger.get("/readyz")) == READY
            found.stop.set()
            await unready_for(http, "DRAINING")
            assert of(await stranger.get("/readyz")) == NOT_READY
            assert of(await stranger.get("/livez")) == READY
            found.fake_opencode.release()
            await stream.whole()
        await found.gone()

    assert stream.state == "completed"


async def test_probes_are_answered_under_any_host_name_and_to_any_page(serving: Serving) -> None:
    headers = {"host": "10.2.3.4:8000", "origin": "https://elsewhere.example"}
    async with serving(allowed_hosts=ServedHosts.of(["agent.example"])) as agent, client(agent.url, None) as stranger:
        await until(lambda: agent.running.bus.connected)
        for path in ("/livez", "/readyz"):
            response = await stranger.get(path, headers=headers)
            assert of(response) == READY
            assert response.headers["cache-control"] == "no-store"
            assert "access-control-allow-origin" not in response.headers
            assert (await stranger.head(path)).status_code == 200
            assert (await stranger.post(path, json={})).status_code == 405


async def test_a_wrong_credential_is_refused_rather_than_taken_for_a_stranger(serving: Serving) -> None:
    async with serving() as agent:
        wrong = {"authorization": "Bearer wrong-4f"}
        assert (await agent.http.get("/readyz", headers=wrong)).status_code == 401
        assert (await agent.http.get("/livez", headers=wrong)).status_code == 200


async def test_probes_leave_no_line_at_info(serving: Serving) -> None:
    with logged("INFO") as written:
        async with serving() as agent:
            for path in ("/livez", "/readyz"):
                await agent.http.get(path)
            await agent.http.get("/health")

    lines = written.lines("opencode_a2a.server.http.request_log")
    assert [line["text"].split()[1] for line in lines] == ["/health"]
