"""Agents over HTTP/2 that mean harm, or are broken: a table of what they send, and a server that sends it.

A script gets the connection once the client has sent its whole request. What the client must make of it stands in the
row.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

import anyio
import orjson
from anyio.abc import ByteStream
from attrs import define, field
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived, StreamEnded, StreamReset
from h2.settings import SettingCodes

from sansio.a2a.bindings import grpc
from sansio.a2a.client.client_errors import (
    AgentError,
    BusyAgentError,
    ClientError,
    InvalidAnswerError,
    TimedOutError,
    UnavailableError,
)
from sansio.a2a.model import JsonObject
from sansio.a2a.protobuf.conversion import message_of
from sansio.a2a.protobuf.messages import message
from tests.listening import listening
from tests.shell.client.hostile import whole
from tests.shell.client.hostile_rows import ANSWER, Case

HEADERS: Final = ((":status", "200"), ("content-type", "application/grpc"))
DONE: Final[JsonObject] = {"task": {"id": "t", "contextId": "c", "status": {"state": "TASK_STATE_COMPLETED"}}}
WORKING: Final[JsonObject] = {
    "statusUpdate": {"taskId": "t", "contextId": "c", "status": {"state": "TASK_STATE_WORKING"}}
}


def frame(kind: int, flags: int, stream_id: int, payload: bytes) -> bytes:
    """A frame of HTTP/2."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream_id.to_bytes(4, "big") + payload


@define(eq=False)
class Peer:
    """One connection of a client, on `stream_id` of which it has sent a request."""

    stream: ByteStream
    protocol: H2Connection
    stream_id: int = 0
    path: str = ""

    async def next_request(self, data: bytes = b"") -> None:
        """Read until a request has come whole."""
        while True:
            for event in self.protocol.receive_data(data):
                if isinstance(event, RequestReceived):
                    self.stream_id = event.stream_id
                    self.path = next(value for name, value in event.headers or () if name == b":path").decode()
                if isinstance(event, DataReceived) and event.flow_controlled_length:
                    self.protocol.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                if isinstance(event, StreamEnded):
                    await self.flush()
                    return
            await self.flush()
            data = await self.stream.receive()

    async def until_reset(self) -> None:
        """Read until the client has reset its stream."""
        while not any(
            isinstance(one, StreamReset) for one in self.protocol.receive_data(await self.stream.receive())
        ):
            pass

    async def raw(self, data: bytes) -> None:
        await self.stream.send(data)

    async def flush(self) -> None:
        data = self.protocol.data_to_send()
        if data:
            await self.stream.send(data)

    async def head(self, *headers: tuple[str, str], ends: bool = False) -> None:
        self.protocol.send_headers(self.stream_id, headers or HEADERS, end_stream=ends)
        await self.flush()

    async def message(self, value: JsonObject, kind: str = "SendMessageResponse", *, ends: bool = False) -> None:
        data = message_of(message(f"lf.a2a.v1.{kind}"), value).SerializeToString()
        self.protocol.send_data(self.stream_id, grpc.framed(data), end_stream=ends)
        await self.flush()

    async def trailers(self, *pairs: tuple[str, str]) -> None:
        self.protocol.send_headers(self.stream_id, pairs or (("grpc-status", "0"),), end_stream=True)
        await self.flush()

    async def answer(self) -> None:
        """Answer with a task that is done."""
        await self.head()
        await self.message(DONE)
        await self.trailers()

    async def until_gone(self) -> None:
        while True:
            self.protocol.receive_data(await self.stream.receive())
            await self.flush()


Script: TypeAlias = Callable[[Peer], Awaitable[None]]


def endless(data: bytes, first: bytes = b"") -> Script:
    """Send it again and again, until the client has gone."""

    async def run(peer: Peer) -> None:
        await peer.raw(first)
        while True:
            await peer.raw(data * (16384 // len(data) + 1))

    return run


def raw(*pieces: bytes) -> Script:
    async def run(peer: Peer) -> None:
        for piece in pieces:
            await peer.raw(piece)
        await peer.until_gone()

    return run


async def no_trailers(peer: Peer) -> None:
    await peer.head()
    await peer.message(DONE, ends=True)
    await peer.until_gone()


async def no_message(peer: Peer) -> None:
    await peer.head()
    await peer.trailers()
    await peer.until_gone()


async def two_messages(peer: Peer) -> None:
    await peer.head()
    await peer.message(DONE)
    await peer.message(DONE)
    await peer.trailers()
    await peer.until_gone()


async def compressed(peer: Peer) -> None:
    await peer.head()
    peer.protocol.send_data(peer.stream_id, b"\1\0\0\0\1x")
    await peer.trailers()
    await peer.until_gone()


async def reset(peer: Peer) -> None:
    await peer.head()
    peer.protocol.reset_stream(peer.stream_id, ErrorCodes.INTERNAL_ERROR)
    await peer.flush()
    await peer.until_gone()


async def refused(peer: Peer) -> None:
    peer.protocol.reset_stream(peer.stream_id, ErrorCodes.REFUSED_STREAM)
    await peer.flush()
    await peer.until_gone()


async def closed(peer: Peer) -> None:
    await peer.head()


async def ok_and_not(peer: Peer) -> None:
    await peer.head(*HEADERS, ("grpc-status", "5"), ("grpc-message", "gone%21"), ends=True)
    await peer.until_gone()


async def graceful(peer: Peer) -> None:
    await peer.raw(frame(7, 0, 0, (2**31 - 1).to_bytes(4, "big") + bytes(4)))
    await peer.answer()
    await peer.until_gone()


async def error_page(peer: Peer) -> None:
    await peer.head((":status", "503"), ("content-type", "text/html"))
    peer.protocol.send_data(peer.stream_id, b"<html>", end_stream=True)
    await peer.flush()
    await peer.until_gone()


async def page(peer: Peer) -> None:
    await peer.head((":status", "200"), ("content-type", "text/html"))
    peer.protocol.send_data(peer.stream_id, b"<html>", end_stream=True)
    await peer.flush()
    await peer.until_gone()


async def redirect(peer: Peer) -> None:
    await peer.head((":status", "302"), ("location", "http://127.0.0.2:9/"), ends=True)
    await peer.until_gone()


async def early_hints(peer: Peer) -> None:
    peer.protocol.send_headers(peer.stream_id, [(":status", "103"), ("link", "x")])
    await peer.answer()
    await peer.until_gone()


async def huge_headers(peer: Peer) -> None:
    await peer.head(*HEADERS, *((f"x-{index}", "y" * 1000) for index in range(80)))
    await peer.until_gone()


async def endless_data(peer: Peer) -> None:
    await peer.head()
    await endless(frame(0, 0, peer.stream_id, bytes(16000)))(peer)


async def slowly(peer: Peer) -> None:
    await peer.head()
    for _ in range(50):
        peer.protocol.send_data(peer.stream_id, b"\0")
        await peer.flush()
        await anyio.sleep(0.1)


_NAMED = b"\x00\x01a\x01b"  # a header, not indexed

_BROKEN, _INVALID = UnavailableError, InvalidAnswerError
CASES: Final[tuple[Case[Peer], ...]] = (
    Case(name="an answer in order", script=Peer.answer, error=ANSWER),
    Case(name="an answer after 103", script=early_hints, error=ANSWER),
    Case(name="an answer after a farewell", script=graceful, error=ANSWER),
    Case(name="no trailers", script=no_trailers, error=_INVALID, text="without a grpc-status"),
    Case(name="no message", script=no_message, error=_INVALID, text="one message"),
    Case(name="two messages", script=two_messages, error=_INVALID, text="one message"),
    Case(name="a compressed message", script=compressed, error=_INVALID, text="compressed"),
    Case(name="a reset", script=reset, error=_BROKEN, text="broke"),
    Case(name="a refused stream", script=refused, error=_BROKEN, text="broke"),
    Case(name="closed after the head", script=closed, error=_BROKEN, text="broke"),
    Case(name="trailers only", script=ok_and_not, error=AgentError, text="gone!"),
    Case(name="an error of a proxy", script=error_page, error=BusyAgentError, text="503"),
    Case(name="a page", script=page, error=_INVALID, text="text/html"),
    Case(name="a redirect", script=redirect, error=_INVALID, text="redirects"),
    Case(name="a header list too large", script=huge_headers, error=_BROKEN, text="broke"),
    Case(name="endless data", script=endless_data, error=ClientError),  # too late, or too large
    Case(name="a body, a byte at a time", script=slowly, error=TimedOutError, text="within 0.4 s"),
    Case(name="leaves without the request", script=raw(frame(7, 0, 0, bytes(8))), error=_BROKEN, text="broke"),
    Case(
        name="leaves with an error",
        script=raw(frame(7, 0, 0, (1).to_bytes(4, "big") + (11).to_bytes(4, "big"))),
        error=_BROKEN,
    ),
    Case(name="a status that is none", script=raw(frame(1, 4, 1, b"\x08\x03abc")), error=_BROKEN, text="broke"),
    Case(name="HTTP/1.1", script=raw(whole(b"{}")), error=_BROKEN, text="broke"),
    Case(name="a frame too long", script=raw(b"\xff\xff\xff\0\0\0\0\0\1"), error=_BROKEN, text="broke"),
    Case(name="a farewell cut short", script=raw(frame(7, 0, 0, b"")), error=_BROKEN, text="broke"),
    Case(name="a push", script=raw(frame(5, 4, 1, bytes((0, 0, 0, 2)) + b"\x88")), error=_BROKEN, text="broke"),
    Case(name="another stream", script=raw(frame(0, 0, 7, b"x")), error=_BROKEN, text="broke"),
    Case(name="broken headers", script=raw(frame(1, 4, 1, b"\xff\xff\xff")), error=_BROKEN, text="broke"),
    Case(name="endless headers", script=endless(frame(9, 0, 1, _NAMED), frame(1, 0, 1, b"\x88")), error=_BROKEN),
    Case(name="endless pings", script=endless(frame(6, 0, 0, bytes(8))), error=_BROKEN),
    Case(name="endless settings", script=endless(frame(4, 0, 0, b"")), error=_BROKEN),
    Case(name="endless empty data", script=endless(frame(0, 0, 1, b""), frame(1, 4, 1, b"\x88")), error=_BROKEN),
    Case(name="silence", script=raw(), error=TimedOutError, text="silent"),
)


# --- the server -------------------------------------------------------------------------------------------


@define(eq=False)
class HostileServer:
    """Serves a card, and the script of a case."""

    script: Script
    settings: dict[SettingCodes | int, int] = field(factory=dict)
    url: str = ""
    connections: int = 0

    async def serve(self, stream: ByteStream) -> None:
        async with stream:
            try:
                await self._serve(stream)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream):
                return  # the client has gone

    async def _serve(self, stream: ByteStream) -> None:
        data = await stream.receive()
        if data.startswith(b"GET "):
            address = self.url.partition("://")[2]  # with TLS, its port does not say so
            interfaces = [{"protocolBinding": "GRPC", "protocolVersion": "1.0", "url": address}]
            value = {"name": "x", "capabilities": {"streaming": True}, "supportedInterfaces": interfaces}
            await stream.send(whole(orjson.dumps(value)))
            return
        self.connections += 1
        peer = Peer(stream, H2Connection(H2Configuration(client_side=False, header_encoding=None)))
        peer.protocol.initiate_connection()
        if self.settings:
            peer.protocol.update_settings(self.settings)
        await peer.flush()
        await peer.next_request(data)
        await self.script(peer)


@asynccontextmanager
async def misbehaving(
    script: Script, tls: ssl.SSLContext | None = None, **settings: int
) -> AsyncGenerator[HostileServer]:
    """Serve a script on a port of this machine."""
    named: dict[SettingCodes | int, int] = {SettingCodes[name.upper()]: value for name, value in settings.items()}
    server = HostileServer(script, dict(named))
    async with listening(server.serve, tls) as port:
        server.url = f"http://127.0.0.1:{port}" if tls is None else f"https://localhost:{port}"
        yield server
