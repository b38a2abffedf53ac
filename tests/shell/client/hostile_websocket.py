"""Agents over WebSocket that mean harm, or are broken: a table of what they send, and a server that sends it.

A script gets the connection once the client has sent its first request. What the client must make of it stands in the
row.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias

import anyio
import orjson
from anyio.abc import ByteStream
from attrs import define, field
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Event, Ping, Pong, TextMessage
from wsproto.utilities import generate_accept_token

from sansio.a2a.cards.parse import WEBSOCKET_URI
from sansio.a2a.client.client_errors import (
    AgentError,
    AuthenticationError,
    BusyAgentError,
    InvalidAnswerError,
    TimedOutError,
    UnavailableError,
)
from tests.listening import listening
from tests.shell.client.hostile import head, whole
from tests.shell.client.hostile_rows import ANSWER, Case

DONE: Final = {"task": {"id": "t", "contextId": "c", "status": {"state": "TASK_STATE_COMPLETED"}}}
WORKING: Final = {"statusUpdate": {"taskId": "t", "contextId": "c", "status": {"state": "TASK_STATE_WORKING"}}}


@define(eq=False)
class Peer:
    """One connection of a client. `request`: the last one; `requests`: all of them; `closed`: its close code."""

    stream: ByteStream
    protocol: Connection = field(factory=lambda: Connection(ConnectionType.SERVER))
    requests: list[dict[str, Any]] = field(factory=list)
    closed: int | None = None
    answers_pings: bool = True
    _text: str = ""

    @property
    def request(self) -> dict[str, Any]:
        return self.requests[-1]

    async def read(self) -> None:
        """Take what the client sends next; `closed` is 1006 where it has gone without a word."""
        try:
            self.protocol.receive_data(await self.stream.receive())
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            self.closed = self.closed or 1006
            return
        for event in self.protocol.events():
            if isinstance(event, TextMessage):
                self._text += event.data
                if event.message_finished:
                    self.requests.append(orjson.loads(self._text))
                    self._text = ""
            elif isinstance(event, CloseConnection):
                self.closed = event.code
            elif isinstance(event, Ping) and self.answers_pings:
                await self.event(event.response())

    async def next_request(self) -> dict[str, Any]:
        known = len(self.requests)
        while len(self.requests) == known:
            if self.closed is not None:
                raise anyio.EndOfStream
            await self.read()
        return self.request

    async def until_gone(self) -> None:
        while self.closed is None:
            await self.read()

    async def event(self, event: Event) -> None:
        await self.stream.send(self.protocol.send(event))

    async def text(self, text: str) -> None:
        await self.event(TextMessage(text))

    async def answer(self, **members: Any) -> None:
        """Answer the last request, with a task that is done unless something else is given."""
        result = DONE["task"] if self.request.get("method") == "GetTask" else DONE
        message = {"jsonrpc": "2.0", "id": self.request["id"], **(members or {"result": result})}
        await self.text(orjson.dumps(message).decode())


Script: TypeAlias = Callable[[Peer], Awaitable[None]]


def frame(opcode: int, payload: bytes = b"", *, first: int = 0x80) -> bytes:
    """A short frame of a server."""
    return bytes((first | opcode, len(payload))) + payload


def raw(*pieces: bytes) -> Script:
    async def run(peer: Peer) -> None:
        for piece in pieces:
            await peer.stream.send(piece)
        await peer.until_gone()

    return run


def text(body: str) -> Script:
    return raw(frame(1, body.encode()))


def endless(data: bytes, first: bytes = b"") -> Script:
    """Send it again and again, until the client has gone."""

    async def run(peer: Peer) -> None:
        await peer.stream.send(first)
        while True:
            await peer.stream.send(data * (16384 // len(data) + 1))

    return run


def closing(code: int, reason: str = "") -> Script:
    async def run(peer: Peer) -> None:
        await peer.event(CloseConnection(code=code, reason=reason))
        await peer.until_gone()

    return run


async def answered(peer: Peer) -> None:
    while peer.closed is None:
        await peer.answer()
        await peer.read()


async def late(peer: Peer) -> None:
    """Answer behind what is for nobody."""
    await peer.text('{"jsonrpc":"2.0","id":"other","result":1}')
    await peer.text('{"jsonrpc":"2.0","id":7,"streamEnd":true}')
    await peer.event(Ping(b"x"))
    await peer.event(Pong(b"y"))
    await peer.answer()
    await peer.until_gone()


async def fragments(peer: Peer) -> None:
    whole = orjson.dumps({"jsonrpc": "2.0", "id": peer.request["id"], "result": DONE}).decode()
    for start in range(0, len(whole), 20):
        await peer.event(TextMessage(whole[start : start + 20], message_finished=start + 20 >= len(whole)))
        await peer.event(Ping())
    await peer.until_gone()


async def refused(peer: Peer) -> None:
    await peer.answer(error={"code": -32001, "message": "gone"}, serviceParams={"Retry-After": "x"})
    await peer.until_gone()


async def postponed(peer: Peer) -> None:
    await peer.answer(error={"code": -32050, "message": "busy"}, serviceParams={"Retry-After": "7"})
    await peer.until_gone()


async def ended(peer: Peer) -> None:
    await peer.answer(streamEnd=True)
    await peer.until_gone()


async def gone(peer: Peer) -> None:
    await peer.stream.aclose()


async def too_large(peer: Peer) -> None:
    await peer.stream.send(bytes((0x81, 127)) + (65 * 1024 * 1024).to_bytes(8, "big"))
    while True:
        await peer.stream.send(b"x" * 1024 * 1024)


_LOST, _INVALID = UnavailableError, InvalidAnswerError
CASES: Final[tuple[Case[Peer], ...]] = (
    Case(name="an answer in order", script=answered, error=ANSWER),
    Case(name="an answer behind others", script=late, error=ANSWER),
    Case(name="an answer in fragments", script=fragments, error=ANSWER),
    Case(name="an error", script=refused, error=AgentError, text="gone"),
    Case(name="an error that passes", script=postponed, error=AgentError, text="busy; try again in 7 s"),
    Case(name="an end without an answer", script=ended, error=_INVALID, text="before it gave one"),
    Case(name="an error without an id", script=text('{"jsonrpc":"2.0","error":{"code":-32700}}'), error=AgentError),
    Case(name="no JSON", script=text("{"), error=_INVALID, text="not JSON"),
    Case(name="no JSON-RPC", script=text("[]"), error=_INVALID, text="no object of JSON-RPC"),
    Case(name="a binary message", script=raw(frame(2, b"x")), error=_INVALID, text="sent a binary message"),
    Case(name="no UTF-8", script=raw(frame(1, b"\xff\xff")), error=_INVALID, text="broke RFC 6455"),
    Case(name="a reserved bit", script=raw(frame(1, b"x", first=0xC0)), error=_INVALID, text="broke RFC 6455"),
    Case(name="an unknown opcode", script=raw(frame(5, b"x")), error=_INVALID, text="broke RFC 6455"),
    Case(name="a mask", script=raw(b"\x81\x81\0\0\0\0x"), error=_INVALID, text="broke RFC 6455"),
    Case(name="half a ping", script=raw(frame(9, b"x", first=0)), error=_INVALID, text="broke RFC 6455"),
    Case(name="a continuation of nothing", script=raw(frame(0, b"x")), error=_INVALID, text="broke RFC 6455"),
    Case(name="HTTP", script=raw(whole(b"{}")), error=_INVALID, text="broke RFC 6455"),
    Case(name="endless pings", script=endless(frame(9)), error=_INVALID, text="too many control frames"),
    Case(
        name="endless fragments",
        script=endless(frame(0, first=0), frame(1, first=0)),
        error=_INVALID,
        text="too many small fragments",
    ),
    Case(name="a message too large", script=too_large, error=_INVALID, text="sent a message of more than"),
    Case(name="gone without a word", script=gone, error=_LOST, text="broke"),
    Case(name="a close frame with nothing", script=raw(frame(8)), error=_LOST, text="closed the connection"),
    Case(name="1001", script=closing(1001, "idle"), error=_LOST, text="closed the connection: idle"),
    Case(name="1008", script=closing(1008), error=BusyAgentError, text="fewer messages"),
    Case(name="1009", script=closing(1009), error=AgentError, text="larger than the agent takes"),
    Case(name="1012", script=closing(1012), error=BusyAgentError, text="is being stopped"),
    Case(name="4001", script=closing(4001, "s3cret"), error=AuthenticationError, text="any more: "),
    Case(name="silence", script=raw(), error=TimedOutError, text="silent"),
)


# --- the server -------------------------------------------------------------------------------------------


@define(eq=False)
class HostileServer:
    """Serves a card, and the script of a case.

    `answer`: bytes in place of the answer to a handshake, which `extra` lines are added to. `stalls`: nothing is read
    after it. `leads_to`: the URL on the card; empty: the server's own. `heads`: those of the handshakes that came.
    """

    script: Script
    answer: bytes = b""
    accept: str = ""
    protocol: str = "a2a.v1"
    extra: tuple[str, ...] = ()
    stalls: bool = False
    leads_to: str = ""
    url: str = ""
    heads: list[str] = field(factory=list)
    peers: list[Peer] = field(factory=list)

    async def serve(self, stream: ByteStream) -> None:
        async with stream:
            try:
                await self._serve(stream)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream):
                return  # the client has gone

    async def _serve(self, stream: ByteStream) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            request += await stream.receive()
        if b"upgrade: websocket" not in request.lower():
            url = self.leads_to or self.url.replace("http", "ws", 1) + "/websocket"
            interfaces = [{"protocolBinding": WEBSOCKET_URI, "protocolVersion": "1.0", "url": url}]
            value = {"name": "x", "capabilities": {"streaming": True}, "supportedInterfaces": interfaces}
            await stream.send(whole(orjson.dumps(value)))
            return
        self.heads.append(request.decode().lower())
        if self.answer:
            await stream.send(self.answer)
            return
        key = next(line for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
        accept = self.accept or generate_accept_token(key.partition(b": ")[2]).decode()
        lines = ["upgrade: WebSocket", "connection: upgrade", f"sec-websocket-accept: {accept}", *self.extra]
        lines += [f"sec-websocket-protocol: {self.protocol}"] if self.protocol else []
        switch = "".join(f"{line}\r\n" for line in ("HTTP/1.1 101 Switching Protocols", *lines, ""))
        peer = Peer(stream)
        self.peers.append(peer)
        await stream.send(switch.encode())
        if self.stalls:
            await anyio.sleep_forever()
        await peer.next_request()
        await self.script(peer)


@asynccontextmanager
async def misbehaving(script: Script, **more: Any) -> AsyncGenerator[HostileServer]:
    """Serve a script on a port of this machine."""
    server = HostileServer(script, **more)
    async with listening(server.serve) as port:
        server.url = f"http://127.0.0.1:{port}"
        yield server


__all__ = ["CASES", "DONE", "WORKING", "Case", "HostileServer", "Peer", "head", "misbehaving"]
