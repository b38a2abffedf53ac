"""Handshakes: the guards of HTTP, before the connection is switched; tickets for pages; what ends a connection."""

from __future__ import annotations

import logging
from typing import Any

import anyio
import pytest
from attrs import evolve
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RemoteSettingsChanged
from h2.settings import SettingCodes

from opencode_a2a.server.identity.connection_tickets import LocalTickets
from sansio.a2a.websocket.session import SessionLimits
from sansio.access import CredentialSet
from sansio.access.tickets import TicketBounds, Tickets
from sansio.guards.hosts import ServedHosts
from sansio.guards.origins import AllowedOrigins
from tests.shell.harness import CREDENTIALS, RPC_10, Agent, Serving
from tests.shell.server.http.test_http_manners import http2
from tests.shell.server.websocket.client import connection, handshake
from tests.shell.server.websocket.test_operations import ON, short, started

pytestmark = pytest.mark.anyio

PAGE, OTHER = "https://page.example", "https://other.example"


async def status(agent: Agent, **headers: Any) -> int:
    async with connection(agent.url, **headers) as client:
        return client.status


async def test_a_handshake_is_refused_as_a_request_is(serving: Serving, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(allowed_origins=AllowedOrigins(frozenset({PAGE})), **ON) as agent:
        assert await status(agent) == 101
        assert await status(agent, token=None) == 401
        assert await status(agent, token="wrong") == 401
        assert await status(agent, origin=OTHER) == 403
        assert await status(agent, origin=PAGE) == 101
        assert await status(agent, sec_websocket_protocol="") == 400
        assert await status(agent, sec_websocket_protocol="a2a.v2, chat") == 400
        assert await status(agent, sec_websocket_protocol="chat, a2a.v1") == 101
        assert await status(agent, path="/other/websocket") == 404
        assert await status(agent, sec_websocket_version="12") == 426
        assert await status(agent, sec_websocket_key="short") == 400
        assert await status(agent, sec_websocket_protocol="a2a.v1, é") == 400
        assert await status(agent, sec_websocket_extensions="é") == 400
        assert not [one for one in caplog.records if one.levelno >= logging.WARNING]
        async with connection(agent.url, token=None) as client:
            assert "www-authenticate: bearer" in client.head
            assert "traceparent" in client.head
        async with connection(agent.url) as client:
            assert "sec-websocket-protocol: a2a.v1" in client.head
            assert "sec-websocket-accept: " + "s3pplmbitxaq9kygzzhzrbk+xoo=" in client.head
            assert "sec-websocket-extensions" not in client.head


async def test_a_compression_is_never_agreed_on(serving: Serving) -> None:
    offer: dict[str, Any] = {"sec_websocket_extensions": "permessage-deflate"}
    async with serving(**ON) as agent, connection(agent.url, **offer) as client:
        assert client.status == 101
        assert "sec-websocket-extensions" not in client.head


async def test_a_connection_can_be_used_again_after_a_refusal(serving: Serving) -> None:
    async with serving(**ON) as agent, connection(agent.url, token="wrong") as client:
        await client.stream.send(handshake())
        answer = b""
        while b"sec-websocket-accept" not in answer:
            answer += await client.stream.receive()


async def test_other_hosts_are_refused(serving: Serving) -> None:
    async with serving(allowed_hosts=ServedHosts(frozenset({"agent.test"})), **ON) as agent:
        assert await status(agent) == 101
        assert await status(agent, host="evil.test") == 400


async def test_where_the_binding_is_off_there_is_none(serving: Serving) -> None:
    async with serving() as agent:
        assert await status(agent) == 404
        assert (await agent.http.post("/websocket/ticket")).status_code == 404
        assert (await agent.http.options("/websocket")).status_code == 404
        card = (await agent.http.get("/.well-known/agent-card.json")).text
        assert "websocket" not in card


async def test_a_request_without_an_upgrade_is_told_to_upgrade(serving: Serving) -> None:
    async with serving(**ON) as agent:
        answer = await agent.http.get("/websocket")
        assert (answer.status_code, answer.headers["upgrade"]) == (426, "websocket")
        assert (answer.headers["connection"], answer.headers["sec-websocket-version"]) == ("upgrade", "13")
        assert "Upgrade: websocket" in answer.text
        async with connection(agent.url, sec_websocket_version="12") as client:
            assert {"upgrade: websocket", "sec-websocket-version: 13"} <= set(client.head.split("\r\n"))
    async with serving(http2=True, **ON) as agent, http2(agent) as client2:  # which has no headers of connections
        assert (await client2.whole(await client2.open("GET", "/websocket"))).status == 426
        assert (await agent.http.options("/websocket")).headers["allow"] == "GET, HEAD, OPTIONS"


async def test_the_card_names_the_binding_by_its_uri(serving: Serving) -> None:
    async with serving(public_url_override="https://agent.example/a", **ON) as agent:
        card = (await agent.http.get("/.well-known/agent-card.json")).json()
        found = [one for one in card["supportedInterfaces"] if "websocket" in one["protocolBinding"]]
        assert [one["protocolVersion"] for one in found] == ["1.0", "0.3"]
        assert {(one["protocolBinding"], one["url"]) for one in found} == {
            ("urn:opencode-a2a:binding:websocket:v1", "wss://agent.example/a/websocket")
        }
        assert await status(agent, path="/a/websocket") == 101
        assert await status(agent) == 101


async def test_http_2_offers_no_websocket(serving: Serving) -> None:
    async with serving(http2=True, **ON) as agent:
        h2 = H2Connection(H2Configuration(validate_outbound_headers=False))
        h2.initiate_connection()
        async with await anyio.connect_tcp("127.0.0.1", int(agent.url.rpartition(":")[2])) as stream:
            await stream.send(h2.data_to_send())
            settings: dict[int, int] = {}
            while not settings:
                for event in h2.receive_data(await stream.receive()):
                    if isinstance(event, RemoteSettingsChanged):
                        settings = {code: changed.new_value for code, changed in event.changed_settings.items()}
        assert not settings.get(SettingCodes.ENABLE_CONNECT_PROTOCOL)


async def test_a_page_connects_with_a_ticket_once(serving: Serving, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "opencode_a2a")
    async with serving(allowed_origins=AllowedOrigins(frozenset({PAGE})), log_payloads=True, **ON) as agent:
        answer = await agent.http.post("/websocket/ticket", headers={"origin": PAGE})
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
        assert answer.headers["access-control-allow-origin"] == PAGE
        given = answer.json()
        offered = f"a2a.v1, {given['subprotocol']}"
        assert given["expiresIn"] == 30
        async with connection(agent.url, token=None, origin=PAGE, sec_websocket_protocol=offered) as client:
            assert client.status == 101
            assert given["ticket"] not in client.head
            assert "result" in await client.ask("ListTasks", {})
        assert await status(agent, token=None, sec_websocket_protocol=offered) == 401
        assert await status(agent, token=None, sec_websocket_protocol="a2a.v1, a2a.ticket.") == 401
        assert (await agent.http.get("/websocket/ticket")).status_code == 405
        unknown = await agent.http.post("/websocket/ticket", headers={"authorization": ""})
        assert unknown.status_code == 401
        assert "/websocket/ticket" in caplog.text
        assert given["ticket"] not in caplog.text


async def test_a_ticket_is_good_for_some_seconds(serving: Serving) -> None:
    async with serving(**ON) as agent:
        agent.running.a2a.websockets.tickets = LocalTickets(Tickets(TicketBounds(seconds=0)))
        given = (await agent.http.post("/websocket/ticket")).json()
        offered = f"a2a.v1, {given['subprotocol']}"
        assert await status(agent, token=None, sec_websocket_protocol=offered) == 401


async def test_a_ticket_of_a_revoked_credential_is_refused(serving: Serving) -> None:
    async with serving(**ON) as agent:
        given = (await agent.http.post("/websocket/ticket")).json()
        agent.running.a2a.authenticator.replace(CredentialSet(CREDENTIALS.credentials[1:]))
        assert await status(agent, token=None, sec_websocket_protocol=f"a2a.v1, {given['subprotocol']}") == 401


async def test_each_request_counts_for_the_rate_limit(serving: Serving) -> None:
    limits: dict[str, Any] = {
        "rate_limit_enabled": True,
        "rate_limit_max_requests": 4,
        "rate_limit_window_seconds": 600,
    }
    async with serving(**limits, **ON) as agent:
        async with connection(agent.url) as client:
            for number in range(3):
                assert "result" in await client.ask("ListTasks", {}, id=number)
            limited = await client.ask("ListTasks", {}, id="more")
            [info] = limited["error"]["data"]  # as version 1.0 has it, which alone has the method
            assert info["reason"] == "RATE_LIMITED"
            assert limited["serviceParams"]["a2a-version"] == "1.0"
            assert {"ratelimit", "retry-after"} <= limited["serviceParams"].keys()
            old = await client.ask("tasks/get", {"id": "t"}, id="old")
            assert old["error"]["data"]["type"] == "RATE_LIMITED"
            assert old["serviceParams"]["a2a-version"] == "0.3"
            await client.text("{")
            await client.until(lambda: client.answers[None])
            assert client.answers[None][0]["error"]["code"] == limited["error"]["code"]
            await client.send(id="nothing", cancelStream=True)
            assert await client.until_closed() == 1008
        assert await status(agent) == 429


async def test_a_revoked_credential_ends_the_connection(serving: Serving) -> None:
    async with serving(short(), **ON) as agent, connection(agent.url) as client:
        await started(client, "SLOW", id=1)
        agent.running.a2a.authenticator.replace(CredentialSet(CREDENTIALS.credentials[1:]))
        assert await client.until_closed() == 4001
        await client.more()
        assert client.is_over
        assert await status(agent) == 401


async def test_a_caller_has_a_bound_of_connections(serving: Serving) -> None:
    async with (
        serving(max_websockets_per_principal=2, **ON) as agent,
        connection(agent.url),
        connection(agent.url) as client,
    ):
        assert client.status == 101
        assert await status(agent) == 503
        assert await status(agent, token="bob-77a1d2") == 101
        websockets = agent.running.a2a.websockets
    await agent.until(lambda: not websockets.callers)


async def test_a_connection_that_asks_for_nothing_ends(serving: Serving) -> None:
    async with serving(**ON) as agent:
        websockets = agent.running.a2a.websockets
        websockets.limits = SessionLimits(first=0.1)
        async with connection(agent.url) as client:
            await client.text("{")
            await client.send(id="x", cancelStream=True)
            assert await client.until_closed() == 4000
        websockets.limits = SessionLimits(idle=0.1, ping=0.05)
        async with connection(agent.url) as client:
            await client.ask("ListTasks", {})
            assert await client.until_closed() == 1001
            assert client.pings


async def test_a_connection_runs_a_bounded_number_of_requests(serving: Serving) -> None:
    async with serving(short(), **ON) as agent:
        websockets = agent.running.a2a.websockets
        websockets.limits = evolve(websockets.limits, requests=2)
        async with connection(agent.url) as client:
            await started(client, "SLOW", id=1)
            await started(client, "SLOW", id=2)
            refused = await client.ask("ListTasks", {}, id=3)
            assert "2 requests" in refused["error"]["message"]
            await client.to_end(1)
            assert "result" in await client.ask("ListTasks", {}, id=4)


async def test_a_drain_lets_requests_end_and_closes_then(serving: Serving) -> None:
    async with serving(short(), **ON) as agent, connection(agent.url) as client, connection(agent.url) as idle:
        await started(client, "SLOW", id=1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(agent.running.tasks.drain, 5.0)
            assert await idle.until_closed() == 1012
            refused = await client.ask("SendMessage", {"message": RPC_10.message("hi")}, id=2)
            assert "being stopped" in refused["error"]["message"]
            assert "streamEnd" in (await client.to_end(1))[-1]
            assert await client.until_closed() == 1012
        assert await status(agent) == 503


async def test_a_drain_that_is_over_ends_the_streams_that_are_left(serving: Serving) -> None:
    async with serving(short(), **ON) as agent, connection(agent.url) as client:
        await started(client, "SLOW", id=1)
        await agent.running.tasks.drain(0)
        assert await client.until_closed() == 1012
