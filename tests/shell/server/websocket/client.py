"""A raw WebSocket client over anyio: it can send what no good client sends, and reads answers by their ids."""

from __future__ import annotations

import socket
import ssl
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import orjson
from anyio.abc import ByteStream, SocketStream
from anyio.streams.tls import TLSStream
from attrs import define, field
from wsproto import ConnectionType
from wsproto.connection import Connection
from wsproto.events import CloseConnection, Ping, Pong, TextMessage

from tests.shell.harness import ALICE, DEADLINE

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="


@define(eq=False)
class Client:
    """An open connection. `closed`: the code and the reason of its end; `answers`: what came, by id.

    `frames`: the number of those that messages had.
    """

    stream: ByteStream
    head: str
    protocol: Connection = field(factory=lambda: Connection(ConnectionType.CLIENT))
    messages: list[dict[str, Any]] = field(factory=list)
    answers: dict[Any, list[dict[str, Any]]] = field(factory=lambda: defaultdict(list))
    closed: tuple[int, str] | None = None
    frames: int = 0
    pings: int = 0
    pongs: int = 0
    is_over: bool = False
    _parts: list[str] = field(factory=list)
    _rest: bytes = b""

    @property
    def status(self) -> int:
        """The status of the handshake's answer."""
        return int(self.head.split()[1])

    async def send(self, **message: Any) -> None:
        """Send an object of JSON-RPC."""
        await self.text(orjson.dumps({"jsonrpc": "2.0", **message}).decode())

    async def text(self, text: str) -> None:
        await self.stream.send(self.protocol.send(TextMessage(text)))

    async def raw(self, data: bytes) -> None:
        """Send bytes that may be no frames."""
        await self.stream.send(data)

    async def more(self) -> None:
        """Read what comes next."""
        with anyio.fail_after(DEADLINE):
            try:
                data, self._rest = self._rest or await self.stream.receive(), b""
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                self.is_over = True
                return
        self.protocol.receive_data(data)
        for event in self.protocol.events():
            if isinstance(event, TextMessage):
                self._parts.append(event.data)
                self.frames += event.frame_finished
                if event.message_finished:
                    message = orjson.loads("".join(self._parts))
                    self._parts.clear()
                    self.messages.append(message)
                    self.answers[message.get("id")].append(message)
            elif isinstance(event, CloseConnection):
                self.closed = (event.code, event.reason or "")
                if self.protocol.state.name == "REMOTE_CLOSING":
                    await self.stream.send(self.protocol.send(event.response()))
                return
            elif isinstance(event, Ping):
                self.pings += 1
                await self.stream.send(self.protocol.send(event.response()))
            elif isinstance(event, Pong):
                self.pongs += 1

    async def until(self, condition: Callable[[], object]) -> None:
        while not condition():
            assert self.closed is None, self.closed
            assert not self.is_over, self.messages
            await self.more()

    async def until_closed(self) -> int:
        """Read to the close frame; return its code."""
        while self.closed is None:
            assert not self.is_over, "no close frame came"
            await self.more()
        return self.closed[0]

    async def until_over(self) -> None:
        """Read to the end of the connection."""
        with anyio.fail_after(DEADLINE):
            try:
                while True:
                    await self.stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                self.is_over = True

    async def ask(self, method: str, params: Any = None, *, id: Any = 1, **more: Any) -> dict[str, Any]:
        """Send a request, and return its answer."""
        known = len(self.answers[id])
        await self.send(id=id, method=method, params=params, **more)
        await self.until(lambda: len(self.answers[id]) > known)
        return self.answers[id][known]

    async def to_end(self, id: Any) -> list[dict[str, Any]]:
        """Read a stream to its end; return its events, and the end."""
        await self.until(lambda: any("streamEnd" in one for one in self.answers[id]))
        return self.answers[id]


def handshake(path: str = "/websocket", *, token: str | None = ALICE, **headers: str) -> bytes:
    """The head of a request for WebSocket. A header that is empty is left out."""
    fields = {
        "host": "agent.test",
        "upgrade": "websocket",
        "connection": "Upgrade",
        "sec-websocket-key": KEY.decode(),
        "sec-websocket-version": "13",
        "sec-websocket-protocol": "a2a.v1",
        "authorization": f"Bearer {token}" if token else "",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items() if value)]
    return "\r\n".join([*lines, "", ""]).encode()


async def _dial(url: str, tls: ssl.SSLContext | None, window: int) -> ByteStream:
    host, _, port = url.partition("://")[2].partition("/")[0].rpartition(":")
    raw = socket.socket()
    if window:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)  # or the server's kernel would keep megabytes
    raw.connect(("127.0.0.1", int(port)))
    stream = await SocketStream.from_socket(raw)
    return (
        stream
        if tls is None
        else await TLSStream.wrap(stream, hostname=host, ssl_context=tls, standard_compatible=False)
    )


@asynccontextmanager
async def connection(
    url: str,
    head: bytes | None = None,
    *,
    ahead: bytes = b"",
    tls: ssl.SSLContext | None = None,
    window: int = 0,
    **headers: Any,
) -> AsyncGenerator[Client]:
    """A connection after its handshake, which may be refused. `ahead`: bytes that are sent at once behind it.

    `window`: bytes of the receive buffer; 0 for the system's own.
    """
    async with await _dial(url, tls, window) as stream:
        await stream.send((head or handshake(**headers)) + ahead)
        data = b""
        with anyio.fail_after(DEADLINE):
            while b"\r\n\r\n" not in data:
                try:
                    data += await stream.receive()
                except anyio.EndOfStream:
                    break
        first, _, rest = data.partition(b"\r\n\r\n")
        yield Client(stream, first.decode().lower(), rest=rest)


__all__ = ["KEY", "Client", "connection", "handshake"]
