"""OpenCode restarts, and leaves the first requests after its port opens unanswered, as the real one does."""

from __future__ import annotations

import anyio
import pytest
from attrs import define

from opencode_a2a.config.settings import Settings
from opencode_a2a.fake_opencode import HELLO, FakeOpenCode, Say
from opencode_a2a.fake_opencode.app import Receive, Scope, Send
from tests.shell.cases import each_value, one_codec
from tests.shell.folding import text_of
from tests.shell.harness import CREDENTIALS, DEADLINE, Wire, agent_at, quick, served
from tests.shell.ports import free_port

pytestmark = pytest.mark.anyio


def before(port: int) -> Settings:
    """Settings as they are by default, with all their patience, for an OpenCode on a port."""
    return Settings(
        rate_limit_enabled=False,
        opencode_url=f"http://127.0.0.1:{port}",
        credentials=CREDENTIALS,
        task_store_backend="memory",
    )


@define(eq=False)
class Port:
    """A port of a stand-in that another server keeps running: it can be closed and opened while turns go on."""

    fake_opencode: FakeOpenCode

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self.fake_opencode(scope, receive, send)
            return
        for answer in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{answer}.complete"})


@each_value("unanswered", [1, 2])
async def test_a_send_after_a_restart_is_answered_within_seconds(anyio_backend: str, unanswered: int) -> None:
    port, first, second = free_port(), quick(), quick()
    async with agent_at(anyio_backend, second, before(port)) as agent:
        async with served(anyio_backend, first, bind=f"127.0.0.1:{port}"):
            assert text_of(await agent.caller().send("hi")) == HELLO
            first.drop_streams()
        second.leave_unanswered(unanswered)
        async with served(anyio_backend, second, bind=f"127.0.0.1:{port}"):
            with anyio.fail_after(DEADLINE):
                assert text_of(await agent.caller().send("hi")) == HELLO
            health = (await agent.http.get("/health")).json()
            second.drop_streams()

    assert health["upstream"]["event_stream"] == "connected"


@one_codec
async def test_a_server_may_start_together_with_its_opencode(anyio_backend: str, wire: Wire) -> None:
    fake_opencode, port = quick(), free_port()
    fake_opencode.leave_unanswered(1)
    async with served(anyio_backend, fake_opencode, bind=f"127.0.0.1:{port}"):
        async with agent_at(anyio_backend, fake_opencode, before(port)) as agent:
            with anyio.fail_after(DEADLINE):
                assert text_of(await agent.caller(wire).send("hi")) == HELLO
        fake_opencode.drop_streams()


@one_codec
async def test_a_running_task_outlives_a_port_that_closes_and_opens(anyio_backend: str, wire: Wire) -> None:
    fake_opencode, port = quick(), free_port()
    async with (
        served(anyio_backend, fake_opencode),
        agent_at(anyio_backend, fake_opencode, before(port)) as agent,
    ):
        caller = agent.caller(wire)
        async with served(anyio_backend, Port(fake_opencode), bind=f"127.0.0.1:{port}"):
            fake_opencode.hold(Say, tokens=1)
            with anyio.fail_after(DEADLINE):
                task = await caller.send("hi", configuration=wire.at_once())
                await fake_opencode.held()
            fake_opencode.drop_streams()
        await agent.until(lambda: not agent.running.bus.connected)
        fake_opencode.leave_unanswered(2)
        async with served(anyio_backend, Port(fake_opencode), bind=f"127.0.0.1:{port}"):
            fake_opencode.release()
            done = await caller.finished(task.id)
            fake_opencode.drop_streams()

    assert text_of(done) == HELLO
