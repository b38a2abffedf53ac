"""What an operator and a probe are told while OpenCode is not at our service, and that it mends itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio
import pytest

from opencode_a2a.agent.upstream import readiness as readiness_module
from opencode_a2a.config.settings import Settings
from opencode_a2a.fake_opencode import HELLO, FakeOpenCode
from sansio.redact import Secret
from tests.shell.cases import each_value
from tests.shell.cli.test_logs import logged
from tests.shell.folding import text_of
from tests.shell.harness import (
    CREDENTIALS,
    DEADLINE,
    Agent,
    Serving,
    agent_at,
    quick,
    served,
    until,
)
from tests.shell.ports import free_port
from tests.shell.raw_server import HANG_UP, SILENCE, Step, answering, ok

pytestmark = pytest.mark.anyio


async def health(agent: Agent) -> dict[str, Any]:
    response = await agent.http.get("/health")
    assert response.status_code == 200
    return dict(response.json())


async def reported(agent: Agent, *types: str) -> dict[str, Any]:
    """The health check once its reasons are these."""
    with anyio.fail_after(DEADLINE):
        while True:
            found = await health(agent)
            if [reason["type"] for reason in found["reasons"]] == list(types):
                assert found["status"] == ("degraded" if types else "ok")
                return found


def before(port: int, **more: Any) -> Settings:
    url = f"http://127.0.0.1:{port}"
    return Settings(
        rate_limit_enabled=False, opencode_url=url, credentials=CREDENTIALS, task_store_backend="memory", **more
    )


async def test_an_opencode_that_is_not_there_is_said_once_and_its_coming_too(anyio_backend: str) -> None:
    port, fake_opencode = free_port(), quick()
    with logged("WARNING") as written:
        async with agent_at(anyio_backend, fake_opencode, before(port)) as agent:
            found = await reported(agent, "UPSTREAM_UNREACHABLE")
            async with served(anyio_backend, fake_opencode, bind=f"127.0.0.1:{port}"):
                await reported(agent)
                assert text_of(await agent.caller().send("hi")) == HELLO
                fake_opencode.drop_streams()
        await until(lambda: len(written.lines()) >= 2)

    assert found["upstream"] == {"event_stream": "disconnected"}
    first, second = written.lines()[:2]
    assert f"cannot be reached at 127.0.0.1:{port}" in first["text"]
    assert "opencode serve" in first["text"]
    assert second["text"] == "solved: OpenCode cannot be reached"


async def test_a_wrong_password_is_said_with_the_remedy_and_mends_itself(anyio_backend: str) -> None:
    fake_opencode = FakeOpenCode(pause=0, tick=0.001, password="another-77")
    with logged("WARNING") as written:
        async with served(anyio_backend, fake_opencode) as opencode:
            settings = before(int(opencode.rpartition(":")[2]), opencode_password=Secret("mine-4c1d"))
            async with agent_at(anyio_backend, fake_opencode, settings) as agent:
                await reported(agent, "UPSTREAM_UNAUTHORIZED")
                fake_opencode.password = "mine-4c1d"
                await reported(agent)
                assert text_of(await agent.caller().send("hi")) == HELLO
            fake_opencode.drop_streams()

    assert "OPENCODE_SERVER_PASSWORD" in written.lines()[0]["text"]
    assert "mine-4c1d" not in written.text


ELSE = {
    "page": [ok(b"<html>data: a page</html>", "content-type: text/html")],
    "missing": [ok(b"no").replace(b"200 OK", b"404 Not Found")],
    "moved": [ok(b"").replace(b"200 OK", b"301 Moved")],
    "other events": [
        b"HTTP/1.1 200 OK\r\ncontent-length: 4000\r\n\r\n" + b'data: {"jsonrpc": "2.0"}\n\n' * 50,
        HANG_UP,
    ],
    "no http": [b"SSH-2.0-OpenSSH_9.6\r\n\r\n", HANG_UP],
}


@pytest.mark.parametrize("answer", ELSE.values(), ids=ELSE.keys())
async def test_what_is_not_opencode_is_said_once(anyio_backend: str, answer: Sequence[Step]) -> None:
    with logged("DEBUG") as written:
        async with answering(answer) as server, agent_at(anyio_backend, quick(), before(server.port)) as agent:
            await reported(agent, "UPSTREAM_NOT_OPENCODE")
            tries = len(server.requests)
            await until(lambda: len(server.requests) >= tries + 2)  # it goes on to try

    lines = written.lines("opencode_a2a.agent.upstream.readiness")
    assert len(lines) == 1, written.text
    assert "does not look like OpenCode" in lines[0]["text"]
    assert "OPENCODE_BASE_URL" in lines[0]["text"]
    assert len(written.lines("opencode_a2a.agent.upstream.event_bus")) == 0, written.text


async def test_a_bus_that_comes_and_goes_is_tried_less_and_less_often(anyio_backend: str) -> None:
    hello = b'data: {"payload": {"type": "server.connected", "properties": {}}}\n\n'
    answer: list[Step] = [b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(hello) + hello, HANG_UP]
    with logged("WARNING") as written:
        async with answering(answer) as server, agent_at(anyio_backend, quick(), before(server.port)):
            started = anyio.current_time()
            await until(lambda: anyio.current_time() > started + 1.5)
            tries = sum(b"/global/event" in request for request in server.requests)

    assert tries <= 6  # the pauses are 0.05, 0.2, 0.5, 1, ...
    assert len(written.lines()) == 0, written.text


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness_module, "RECHECK_SECONDS", 0.05)


PROVIDERS = {"providers": [{"id": "acme", "models": {"small": {}}}]}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("path", "status", "body", "settings", "reason", "remedy"),
    [
        ("/file", 500, {"name": "UnknownError"}, {"workspace_root": "/no/such"}, "WORKSPACE_MISSING", "/no/such"),
        ("/config/providers", 200, {"providers": []}, {}, "MODEL_MISSING", "opencode auth login"),
        ("/agent", 200, [{"name": "build"}], {"agent": "no-such"}, "AGENT_MISSING", "OPENCODE_AGENT"),
    ],
)
async def test_what_would_make_every_prompt_fail_is_said_at_start_and_mends_itself(
    serving: Serving, path: str, status: int, body: object, settings: dict[str, Any], reason: str, remedy: str
) -> None:
    fake_opencode = quick()
    for _ in range(3):
        fake_opencode.fail_next("GET", path, status, body)
    with logged("WARNING") as written:
        async with serving(fake_opencode, **settings) as agent:
            found = await reported(agent, reason)
            await reported(agent)

    assert "/no/such" not in str(found["reasons"])
    said, solved = (line["text"] for line in written.lines())
    assert remedy in said
    assert solved.startswith("solved: ")


@pytest.mark.usefixtures("impatient")
@each_value("answer", [{}, [], "text", 5, {"providers": 5}, {"providers": [5, {}]}])
async def test_answers_of_another_shape_are_not_held_against_opencode(serving: Serving, answer: object) -> None:
    fake_opencode = quick()
    fake_opencode.fail_next("GET", "/config", 200, answer)
    async with serving(fake_opencode, agent="build", workspace_root="/somewhere") as agent:
        await agent.until(lambda: agent.asked("GET", "/agent"))

        assert (await reported(agent))["status"] == "ok"


async def test_probes_take_no_callers_place(serving: Serving) -> None:
    fake_opencode = quick()
    fake_opencode.stall_next("GET", "/config")
    async with serving(fake_opencode, max_concurrent_requests=1) as agent:
        await agent.until(lambda: agent.asked("GET", "/config"))

        assert text_of(await agent.caller().send("hi")) == HELLO


async def test_a_silent_opencode_is_named_as_such(anyio_backend: str) -> None:
    async with answering([SILENCE]) as server, agent_at(anyio_backend, quick(), before(server.port)) as agent:
        await reported(agent, "UPSTREAM_TIMEOUT")
