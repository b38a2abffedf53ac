"""Calling an agent over gRPC, beyond what each binding has: lists, resuming, TLS, and the library that it needs."""

from __future__ import annotations

import ssl
import sys
from pathlib import Path

import anyio
import pytest
import trustme
from attrs import evolve

from opencode_a2a.cli.operator.local_checks import load_what_can_be
from opencode_a2a.client import ClientOptions, Sending, connect
from opencode_a2a.config.settings import Settings, SettingsError, check_bindings
from sansio.a2a.cards.parse import GRPC
from sansio.a2a.client.client_errors import UnavailableError, UnsupportedError, UsageError
from sansio.a2a.model import SendConfiguration, Task, TaskState
from sansio.redact import Secret
from tests.shell.calling import Scene
from tests.shell.client.hostile_grpc import Peer, misbehaving
from tests.shell.client.test_hostile_grpc import QUICK
from tests.shell.client.test_library import connected
from tests.shell.harness import ALICE, DEADLINE, GRPC_03, GRPC_10, Serving
from tests.shell.ports import free_port
from tests.shell.scripted_agent import CARD_PATH, card

pytestmark = pytest.mark.anyio


async def test_version_0_3_has_no_list_and_a_card_of_its_own(serving: Serving) -> None:
    async with serving() as agent, connected(agent, GRPC_03) as remote:
        extended = await remote.extended_card()
        assert extended["securitySchemes"]["bearerAuth"]["type"] == "http"
        with pytest.raises(UnsupportedError):
            await remote.list_tasks()


async def test_a_port_of_its_own_gets_no_credentials_on_this_machine_either(scene: Scene) -> None:
    address = f"127.0.0.1:{free_port()}"
    scene.agent.on(CARD_PATH, card((GRPC, "1.0", address)))

    with pytest.raises(UsageError, match=f"points to http://{address}, .* for {scene.url} only"):
        async with connect(scene.url, ClientOptions(bearer=Secret(ALICE))):
            pass
    async with connect(scene.url) as remote:
        assert remote.interface.url == f"http://{address}"


async def test_a_subscription_resumes_after_an_event(serving: Serving) -> None:
    async with serving() as agent, connected(agent, GRPC_10) as remote:
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
            async with connected(agent, GRPC_10):
                pass
