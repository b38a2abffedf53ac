"""Calling an agent over gRPC, before our own server: every operation, on both versions."""

from __future__ import annotations

import ssl
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
import trustme
from attrs import evolve

from opencode_a2a.cli.call import CallTarget, call
from opencode_a2a.cli.operator.local_checks import load_what_can_be
from opencode_a2a.client import ClientOptions, RemoteAgent, Sending, connect
from opencode_a2a.config.settings import Settings, SettingsError, check_bindings
from opencode_a2a.fake_opencode import HELLO
from sansio.a2a.cards.parse import GRPC
from sansio.a2a.client.client_errors import (
    AgentError,
    AuthenticationError,
    UnavailableError,
    UnsupportedError,
    UsageError,
)
from sansio.a2a.errors import ErrorKind
from sansio.a2a.model import PushConfig, SendConfiguration, Task, TaskState
from sansio.opencode.extension_names import SHARED_URIS
from sansio.redact import Secret
from tests.shell.calling import Screen
from tests.shell.client.hostile_grpc import Peer, misbehaving
from tests.shell.client.test_hostile_grpc import QUICK
from tests.shell.client.test_library import answer_of, text_of
from tests.shell.harness import ALICE, DEADLINE, Agent, Serving
from tests.shell.ports import free_port

pytestmark = pytest.mark.anyio

every_version = pytest.mark.parametrize("version", ["0.3", "1.0"])


@asynccontextmanager
async def connected(agent: Agent, version: str, **more: Any) -> AsyncGenerator[RemoteAgent]:
    options = ClientOptions(version=version, bindings=(GRPC,), bearer=Secret(ALICE), **more)
    with anyio.fail_after(3 * DEADLINE):
        async with connect(agent.url, options) as remote:
            yield remote


@every_version
async def test_a_message_is_answered_and_its_task_is_read(serving: Serving, version: str) -> None:
    async with serving() as agent, connected(agent, version) as remote:
        task = await remote.send("hi")
        assert isinstance(task, Task)
        assert answer_of(task).startswith(HELLO)
        assert (await remote.get_task(task.id)).status == task.status


@every_version
async def test_a_stream_gives_the_answer_as_it_comes(serving: Serving, version: str) -> None:
    async with serving() as agent, connected(agent, version) as remote, remote.stream("LONG 20") as events:
        assert await text_of(events) == "".join(f"w{index} " for index in range(20))
        assert events.last_event_id


async def test_the_operations_that_version_0_3_has(serving: Serving) -> None:
    async with serving(push_allow_private_hosts=True) as agent, connected(agent, "0.3") as remote:
        task = await remote.send("SLOW", sending=Sending(configuration=SendConfiguration(blocking=False)))
        assert isinstance(task, Task)
        config = PushConfig(task_id=task.id, id="mine", url=f"http://127.0.0.1:{free_port()}/")
        assert (await remote.set_push_config(config)).id == "mine"
        assert (await remote.get_push_config(task.id, "mine")).url == config.url
        assert [one.id for one in (await remote.list_push_configs(task.id)).configs] == ["mine"]
        await remote.delete_push_config(task.id, "mine")
        assert (await remote.list_push_configs(task.id)).configs == ()
        assert (await remote.cancel_task(task.id)).status.state is TaskState.CANCELED
        card = await remote.extended_card()
        assert card["securitySchemes"]["bearerAuth"]["type"] == "http"
        with pytest.raises(UnsupportedError):
            await remote.list_tasks()
        with pytest.raises(AgentError) as caught:
            await remote.get_task("none")
        assert caught.value.is_kind(ErrorKind.TASK_NOT_FOUND)


async def test_a_caller_without_credentials_is_refused(serving: Serving) -> None:
    async with serving() as agent, connect(agent.url, ClientOptions(bindings=(GRPC,))) as remote:
        with pytest.raises(AuthenticationError):
            await remote.send("hi")


async def test_a_subscription_resumes_after_an_event(serving: Serving) -> None:
    async with serving() as agent, connected(agent, "1.0") as remote:
        async with remote.stream("LONG 20") as events:
            items = [(item, events.last_event_id) async for item in events]
        task_id, (_, middle) = events.task_id or "", items[len(items) // 2]
        assert middle.isdigit()
        slow = await remote.send("SLOW", sending=Sending(configuration=SendConfiguration(blocking=False)))
        assert isinstance(slow, Task)
        async with remote.subscribe(slow.id) as events:
            await anext(aiter(events))
            assert events.last_event_id.isdigit()
        await remote.cancel_task(slow.id)
        assert (await remote.get_task(task_id)).status.state is TaskState.COMPLETED


@pytest.mark.parametrize("alpn", ["h2", "http/1.1"])
async def test_an_address_with_tls_is_called_over_http_2_alone(
    anyio_backend: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, alpn: str
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols([alpn])
    authority.issue_cert("localhost").configure_cert(context)

    given = evolve(QUICK, bearer=Secret(ALICE))  # for the origin that the card came from
    with anyio.fail_after(DEADLINE):
        async with misbehaving(Peer.answer, tls=context) as server, connect(server.url, given) as remote:
            assert remote.interface.url == server.url
            if alpn == "h2":
                assert isinstance(await remote.send("hi"), Task)
            else:
                with pytest.raises(UnavailableError, match="does not offer HTTP/2"):
                    await remote.send("hi")


def without_protobuf(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the library, with the package that it is in, as where the extra is not installed."""
    monkeypatch.delitem(sys.modules, "google.protobuf", raising=False)
    monkeypatch.setitem(sys.modules, "google", None)


def test_a_server_without_the_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    without_protobuf(monkeypatch)
    with pytest.raises(SettingsError, match=r"A2A_BINDINGS: GRPC needs the package protobuf: .*\[grpc\]"):
        check_bindings(Settings(bindings=("HTTP+JSON", GRPC)))
    [problem] = load_what_can_be({"A2A_BINDINGS": "HTTP+JSON,GRPC"}, None).problems
    assert "needs the package protobuf" in problem


async def test_the_library_of_messages_may_be_missing(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    without_protobuf(monkeypatch)
    async with serving() as agent:
        with pytest.raises(UsageError, match="needs the package protobuf"):
            async with connected(agent, "1.0"):
                pass


async def test_the_command_calls_over_grpc(serving: Serving) -> None:
    async with serving() as agent:
        out, err = Screen(), Screen()
        options = ClientOptions(bindings=(GRPC,), bearer=Secret(ALICE), extensions=SHARED_URIS)
        code = await call(CallTarget(agent.url, options), "hi", out=out, err=err)
        assert (code, out.getvalue().startswith(HELLO)) == (0, True), err.getvalue()
