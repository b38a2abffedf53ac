"""Calls that no library of gRPC makes, and clients that leave: what comes of them."""

from __future__ import annotations

import base64
import logging
import socket
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from urllib.parse import unquote

import anyio
import h2.errors
import pytest
from anyio.abc import SocketAttribute
from google.protobuf import json_format

from opencode_a2a.fake_opencode import Say
from sansio.a2a.cards.parse import SERVED
from sansio.a2a.operations import Operation
from sansio.a2a.protobuf.messages import POOL, RPCS, STATUS
from tests.shell.grpc_wire import Exchange
from tests.shell.harness import ALICE, DEADLINE, GRPC_03, GRPC_10, Agent, Serving, Wire

pytestmark = [
    pytest.mark.anyio,
    # what the client library leaves behind where a reader hangs up
    pytest.mark.filterwarnings("ignore:Async generator 'http.*was garbage collected:ResourceWarning"),
]

BEFORE_SIGN_OF_LIFE = 12.0
"""Seconds; a stream without events shows one after 15, and sees then that its client is gone."""
GET = "/lf.a2a.v1.A2AService/GetTask"
PATHS = {"a method": GET, "no method": "/lf.a2a.v1.A2AService/Fly", "health": "/grpc.health.v1.Health/Check"}
PATHS["reflection"] = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"


@asynccontextmanager
async def begun(
    agent: Agent, path: str, *more: tuple[str, str], method: str = "POST", body: bytes = b""
) -> AsyncGenerator[Exchange]:
    """A call on a connection of its own, which is sent whole."""
    async with await anyio.connect_tcp("127.0.0.1", int(agent.url.rpartition(":")[2])) as stream:
        exchange = Exchange(stream)
        pseudo = [(":method", method), (":path", path), (":scheme", "http"), (":authority", "agent")]
        own = [("te", "trailers"), ("content-type", "application/grpc"), ("authorization", f"Bearer {ALICE}")]
        await exchange.begin([*pseudo, *own, *more], body)
        yield exchange


async def ended(exchange: Exchange) -> dict[str, str]:
    """The trailers of a call that has no message."""
    with anyio.fail_after(DEADLINE):
        assert await exchange.message() is None
    assert exchange.trailers is not None
    return exchange.trailers


async def test_a_second_deadline_is_refused_by_its_name(serving: Serving) -> None:
    twice = [("grpc-timeout", "3S"), ("grpc-timeout", "5S")]
    async with serving(bindings=SERVED) as agent, begun(agent, GET, *twice) as exchange:
        trailers = await ended(exchange)

    assert trailers["grpc-status"] == "3"
    assert unquote(trailers["grpc-message"]).startswith("grpc-timeout: ")
    text = trailers["grpc-status-details-bin"]
    status = STATUS.FromString(base64.b64decode(text + "=" * (-len(text) % 4)))
    details = json_format.MessageToDict(status, descriptor_pool=POOL)["details"]
    assert [each["field"] for one in details for each in one.get("fieldViolations", ())] == ["grpc-timeout"]


async def test_a_request_that_is_no_post_is_no_call(serving: Serving) -> None:
    found = {}
    async with serving(bindings=SERVED) as agent:
        for name, path in PATHS.items():
            for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"):
                async with begun(agent, path, method=method) as exchange:
                    trailers = await ended(exchange)
                    head = exchange.head
                found[name, method] = (head[":status"], head["allow"], trailers["grpc-status"])

    assert set(found.values()) == {("405", "POST", "12")}, found


async def leaves(exchange: Exchange, how: str) -> None:
    if how == "resets the call":
        exchange.connection.reset_stream(1, h2.errors.ErrorCodes.CANCEL)
        await exchange.flush()
    elif how == "ends its side":
        await exchange.stream.send_eof()
    else:
        raw = exchange.stream.extra(SocketAttribute.raw_socket)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await exchange.stream.aclose()


@pytest.mark.parametrize("how", ["resets the call", "ends its side", "resets the connection"])
async def test_the_stream_of_a_client_that_leaves_counts_no_longer(serving: Serving, how: str) -> None:
    rpc = next(one for one in RPCS.values() if (one.version, one.operation) == ("1.0", Operation.STREAM))
    message = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "hi"}]}
    body = json_format.ParseDict({"message": message}, rpc.request()).SerializeToString()
    async with serving(bindings=SERVED, max_concurrent_streams=1) as agent:
        agent.fake_opencode.hold(Say, tokens=1)
        async with begun(agent, rpc.path, body=body) as exchange:
            with anyio.fail_after(DEADLINE):
                assert await exchange.message()
            assert agent.running.tasks.open_streams == 1
            await leaves(exchange, how)
            with anyio.fail_after(BEFORE_SIGN_OF_LIFE):
                await agent.until(lambda: not agent.running.tasks.open_streams)
        agent.fake_opencode.release()


@pytest.mark.parametrize("how", ["resets the call", "ends its side", "resets the connection"])
async def test_nobody_waits_for_a_client_that_leaves_and_its_task_goes_on(
    serving: Serving, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "opencode_a2a")
    rpc = next(one for one in RPCS.values() if (one.version, one.operation) == ("1.0", Operation.SEND))
    message = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "hi"}]}
    body = json_format.ParseDict({"message": message}, rpc.request()).SerializeToString()

    def is_over() -> bool:
        return any("SendMessage SEND client-left" in one.getMessage() for one in caplog.records)

    async with serving(bindings=SERVED) as agent:
        agent.fake_opencode.hold(Say, tokens=1)
        async with begun(agent, rpc.path, body=body) as exchange:
            await agent.until(lambda: agent.asked("POST", "/prompt_async"))
            await leaves(exchange, how)
            with anyio.fail_after(BEFORE_SIGN_OF_LIFE):
                await agent.until(is_over)
        [task] = (await agent.caller().page())["tasks"]
        agent.fake_opencode.release()
        ended = await agent.caller().finished(task["id"])

    assert (task["status"]["state"], ended.status.state.value) == ("TASK_STATE_WORKING", "completed")


@pytest.mark.parametrize("wire", [GRPC_03, GRPC_10], ids=str)
async def test_a_client_may_stream_again_at_once(serving: Serving, wire: Wire) -> None:
    async with serving(bindings=SERVED, max_concurrent_streams=1) as agent:
        agent.fake_opencode.hold(Say, tokens=1)
        caller = agent.caller(wire)
        for number in range(3):
            async with caller.open("hi", contextId=f"c-{number}") as stream:
                await stream.until(lambda: stream.events)
            with anyio.fail_after(BEFORE_SIGN_OF_LIFE):
                await agent.until(lambda: not agent.running.tasks.open_streams)
        agent.fake_opencode.release()
