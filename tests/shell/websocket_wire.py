"""A transport for `httpx` that speaks WebSocket: it takes requests of JSON-RPC over HTTP, and gives its answers.

So the tests of every operation run over WebSocket as over the other bindings. Each request has a connection of its
own. It is a client of its own, on `wsproto`; nothing of our client or of the server is in it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import httpx
import orjson
from anyio.abc import SocketStream
from attrs import define, field
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Event,
    Ping,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)

PATH = "/over-websocket"
"""The path of a request, whose body is an object of JSON-RPC."""

_SERVICE_PARAMS = frozenset(
    {"a2a-version", "a2a-extensions", "x-a2a-extensions", "last-event-id", "traceparent", "tracestate"}
)
_NOT_SENT = frozenset({"host", "connection", "content-length", "content-type", "accept", "accept-encoding"})


@define(eq=False)
class Exchange:
    """One request on a connection of its own. `refused`: the answer to its handshake, where that is no connection."""

    stream: SocketStream
    connection: WSConnection = field(factory=lambda: WSConnection(ConnectionType.CLIENT))
    refused: httpx.Response | None = None
    _text: str = ""
    _messages: list[dict[str, Any]] = field(factory=list)
    _head: RejectConnection | None = None
    _body: bytes = b""

    async def begin(self, request: httpx.Request) -> None:
        """Shake hands, and send the request."""
        headers = [pair for pair in request.headers.items() if pair[0] not in _NOT_SENT | _SERVICE_PARAMS]
        await self.shake_hands(request.headers["host"], headers)
        if self.refused is None:
            params = {name: value for name, value in request.headers.items() if name in _SERVICE_PARAMS}
            await self.send({**orjson.loads(request.content), "serviceParams": params})

    async def shake_hands(self, host: str, headers: list[tuple[str, str]]) -> None:
        """Ask for a connection, and wait for the answer."""
        await self._send(
            Request(
                host=host,
                target="/websocket",
                subprotocols=["a2a.v1"],
                extra_headers=[(name.encode(), value.encode()) for name, value in headers],
            )
        )
        while self.refused is None and self.connection.state.name != "OPEN":
            await self._read()

    async def send(self, message: dict[str, Any]) -> None:
        """Send a message."""
        await self._send(TextMessage(orjson.dumps(message).decode()))

    async def message(self) -> dict[str, Any]:
        """The next message."""
        while not self._messages:
            await self._read()
        return self._messages.pop(0)

    async def _send(self, event: Event) -> None:
        await self.stream.send(self.connection.send(event))

    async def _read(self) -> None:
        try:
            self.connection.receive_data(await self.stream.receive())
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            raise httpx.RemoteProtocolError("the connection ended") from None
        for event in self.connection.events():
            match event:
                case TextMessage():
                    self._text += event.data
                    if event.message_finished:
                        self._messages.append(orjson.loads(self._text))
                        self._text = ""
                case Ping():
                    await self._send(event.response())
                case RejectConnection():
                    self._head = event
                case RejectData():
                    self._body += bytes(event.data)
                    if event.body_finished and self._head is not None:
                        self.refused = httpx.Response(
                            self._head.status_code, headers=self._head.headers, content=self._body
                        )
                case CloseConnection():
                    raise httpx.RemoteProtocolError(f"the connection was closed: {event.code}")
                case _:
                    assert isinstance(event, AcceptConnection)


class Events(httpx.AsyncByteStream):
    """The events of a stream as Server-Sent Events."""

    def __init__(self, exchange: Exchange, first: dict[str, Any]) -> None:
        self._exchange = exchange
        self._first: dict[str, Any] | None = first

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        message, self._first = self._first, None
        message = message or await self._exchange.message()
        if message.get("streamEnd"):
            raise StopAsyncIteration
        event_id = message.pop("eventId", None)
        number = b"" if event_id is None else b"id: %b\n" % event_id.encode()
        return b"%bdata: %b\n\n" % (number, orjson.dumps(message))

    async def aclose(self) -> None:
        await self._exchange.stream.aclose()


class WebSocketTransport(httpx.AsyncBaseTransport):
    """Speaks WebSocket for requests to `PATH`, and leaves the others to another transport."""

    def __init__(self, other: httpx.AsyncBaseTransport) -> None:
        self._other = other

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path != PATH:
            return await self._other.handle_async_request(request)
        stream = await anyio.connect_tcp(request.url.host, request.url.port or 80)
        try:
            exchange = Exchange(stream)
            await exchange.begin(request)
            if exchange.refused is not None:
                await stream.aclose()
                return exchange.refused
            first = await exchange.message()
        except BaseException:
            await anyio.aclose_forcefully(stream)
            raise
        headers = dict(first.pop("serviceParams", {}))
        if "eventId" in first or "streamEnd" in first:
            headers["content-type"] = "text/event-stream"
            return httpx.Response(200, headers=headers, stream=Events(exchange, first))
        await stream.aclose()
        return httpx.Response(200, headers=headers, json=first)

    async def aclose(self) -> None:
        await self._other.aclose()
