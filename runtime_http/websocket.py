"""WebSocket over HTTP/1.1 as Hypercorn has it, but with bounds, and with every end that RFC 6455 has.

Differs from Hypercorn in this: no extension is agreed on, so that nothing small becomes large; a broken frame ends
the connection with the code that says so; the size of a message is counted in bytes; frames that carry nothing are
counted; a client whose messages are not read waits; the application may have the client sent a ping, send a message
in fragments, and mark a message behind which it has `more`, so that they are written at once.
"""

from __future__ import annotations

import logging
from typing import Any, Final

import h11
from hypercorn.protocol.events import Data, Event, Request, Response, StreamClosed
from hypercorn.protocol.ws_stream import ASGIWebsocketState, WSStream
from hypercorn.typing import WebsocketAcceptEvent
from wsproto.connection import Connection as Frames
from wsproto.connection import ConnectionState, ConnectionType
from wsproto.events import CloseConnection, Message, Ping, Pong, TextMessage
from wsproto.frame_protocol import CloseReason
from wsproto.handshake import WEBSOCKET_VERSION
from wsproto.utilities import LocalProtocolError, generate_accept_token

from sansio.transport.connections import Connection
from sansio.transport.messages import MessageBudget, ReadAhead

_log = logging.getLogger(__name__)

PING: Final = "websocket.ping"
"""The extension of ASGI, and its message, by which an application has its client sent a ping."""

FRAGMENTS: Final = "websocket.fragments"
"""The extension of ASGI by which an application sends a message in fragments: `"ends": False` but for the last."""

_LISTS: Final = (b"connection", b"sec-websocket-extensions", b"sec-websocket-protocol")  # Hypercorn decodes them
_STEP: Final = 128  # frames that are handled before other connections get their turn
_TOGETHER: Final = 32_768  # bytes of messages that are written at once
_PIECES: Final = 1024  # of a message that are kept before they are joined


def is_wanted(request: h11.Request, path: bytes, ending: str) -> bool:
    """Return whether a request asks for WebSocket, and its path has that. `ending`: of such paths; empty: none has.

    A request with a body is one for HTTP: what follows it could be taken for frames.
    """
    if not ending or request.http_version != b"1.1" or request.method != b"GET":
        return False
    if not path.partition(b"?")[0].endswith(ending.encode()):
        return False
    if any(name in (b"content-length", b"transfer-encoding") for name, _ in request.headers):
        return False
    return _has_token(request, b"connection", b"upgrade") and _has_token(request, b"upgrade", b"websocket")


def refusal(request: h11.Request) -> list[tuple[bytes, bytes]] | None:
    """Return the fields that say why a handshake is refused, perhaps none; None where it is a good one."""
    keys = [value for name, value in request.headers if name == b"sec-websocket-key"]
    versions = [value for name, value in request.headers if name == b"sec-websocket-version"]
    if versions != [WEBSOCKET_VERSION]:
        return [(b"upgrade", b"websocket"), (b"sec-websocket-version", WEBSOCKET_VERSION)]
    if not all(value.isascii() for name, value in request.headers if name in _LISTS):
        return []
    return None if len(keys) == 1 and len(keys[0]) == 24 else []


def _has_token(request: h11.Request, field: bytes, token: bytes) -> bool:
    values = (value for name, value in request.headers if name == field)
    return any(part.strip().lower() == token for value in values for part in value.split(b","))


class WebSocketStream(WSStream):
    """One WebSocket connection, from its handshake on. `connection`: its clock."""

    connection: Frames

    def __init__(self, app: Any, *parts: Any, connection: Connection) -> None:
        super().__init__(app, *parts)
        self._application = app
        self.app = self._run
        self._clock = connection
        self._budget = MessageBudget(self.context.time(), connection.limits.largest_message)
        self._pieces: list[Any] = []
        self._joined = 0  # of the pieces, those that were many
        self._ahead = ReadAhead()
        self._room = self.context.event_class()
        self._held = b""  # frames that are written with the next one

    async def _run(self, scope: Any, receive: Any, send: Any, sync_spawn: Any, call_soon: Any) -> None:
        """Run the application, and notice what it takes."""
        scope["extensions"] |= {PING: {}, FRAGMENTS: {}}

        async def receiving() -> Any:
            message = await receive()
            if message["type"] == "websocket.receive":
                self._ahead.take(len(message["text"] or message["bytes"] or b""))
                await self._room.set()
            return message

        await self._application(scope, receiving, send, sync_spawn, call_soon)

    async def handle(self, event: Event) -> None:
        if isinstance(event, Data):
            if not self.closed and self.connection.state in (ConnectionState.OPEN, ConnectionState.LOCAL_CLOSING):
                self.connection.receive_data(event.data)
                await self._handle_events()
        elif isinstance(event, Request | StreamClosed):
            await super().handle(event)
            if isinstance(event, StreamClosed):
                await self._room.set()
            elif self.closed:  # it is refused
                await self.send(StreamClosed(stream_id=self.stream_id))

    async def app_send(self, message: Any) -> None:
        if message is not None and message["type"] == PING:
            if self.state is ASGIWebsocketState.CONNECTED and not self.closed:
                self._clock.pinged(self.context.time())
                await self._send_wsproto_event(Ping())
            return
        if message is not None and message.get("more") and self.state is ASGIWebsocketState.CONNECTED:
            await self._hold(message["text"])
            return
        if message is not None and "ends" in message and self.state is ASGIWebsocketState.CONNECTED:
            await self._send_wsproto_event(TextMessage(message["text"], message_finished=message["ends"]))
            return
        await super().app_send(message)

    async def _hold(self, text: str) -> None:
        """Keep a message until the next one is written, which the application has already; a write costs more."""
        try:
            self._held += self.connection.send(TextMessage(text))
        except LocalProtocolError:
            return  # it is too late for that
        if len(self._held) > _TOGETHER:
            held, self._held = self._held, b""
            await self.send(Data(stream_id=self.stream_id, data=held))

    async def _accept(self, message: WebsocketAcceptEvent) -> None:
        self.state = ASGIWebsocketState.CONNECTED
        self.handshake.accepted = True
        self.connection = Frames(ConnectionType.SERVER, [])
        headers = [
            (b"upgrade", b"websocket"),
            (b"connection", b"upgrade"),
            (b"sec-websocket-accept", generate_accept_token(self.handshake.key or b"")),
            *message.get("headers", []),
        ]
        subprotocol = message.get("subprotocol")
        if subprotocol is not None:
            headers.append((b"sec-websocket-protocol", subprotocol.encode()))
        await self.send(Response(stream_id=self.stream_id, status_code=101, headers=headers))

    async def _handle_events(self) -> None:
        for step, event in enumerate(self.connection.events(), 1):
            if self.closed:
                return
            if self.state is ASGIWebsocketState.CLOSED and not isinstance(event, CloseConnection):
                continue  # what came behind our own end is nobody's any more
            if isinstance(event, Message):
                await self._take(event)
            elif isinstance(event, Ping | Pong):
                if not self._budget.control(self.context.time()):
                    await self._end(CloseReason.POLICY_VIOLATION, "too many control frames")
                elif isinstance(event, Ping):
                    await self._send_wsproto_event(event.response())
            elif isinstance(event, CloseConnection):
                if self.connection.state is ConnectionState.REMOTE_CLOSING:
                    await self._send_wsproto_event(event.response())
                else:
                    await self._send_wsproto_event(event)  # a broken frame; nothing, where ours is sent already
                await self.send(StreamClosed(stream_id=self.stream_id))
                return
            if step % _STEP == 0:
                await self.context.sleep(0)

    async def _take(self, event: Message[Any]) -> None:
        """Take a piece of a message; give the application the whole, and wait where it does not keep up."""
        size = len(event.data.encode()) if isinstance(event, TextMessage) else len(event.data)
        if self._budget.is_too_large(size):
            await self._end(CloseReason.MESSAGE_TOO_BIG, "the message is too large")
            return
        now = self.context.time()
        ends = event.message_finished
        if not self._budget.fragment(size, now, frame_ends=event.frame_finished, message_ends=ends):
            await self._end(CloseReason.POLICY_VIOLATION, "too many small fragments")
            return
        nothing = event.data[:0]
        self._pieces.append(event.data)
        if not ends:
            if len(self._pieces) - self._joined > _PIECES:  # each may be one byte, and takes more
                self._pieces[self._joined :] = [nothing.join(self._pieces[self._joined :])]
                self._joined += 1
            return
        whole = nothing.join(self._pieces)
        self._pieces.clear()
        self._joined = 0
        self._ahead.put(len(whole))
        text = whole if isinstance(whole, str) else None
        data = None if isinstance(whole, str) else bytes(whole)
        assert self.app_put is not None
        await self.app_put({"type": "websocket.receive", "text": text, "bytes": data})
        while self._ahead.is_full and not self.closed:
            await self._room.clear()
            await self._room.wait()

    async def _end(self, code: CloseReason, reason: str) -> None:
        """End the connection: the client does what is not allowed."""
        _log.info("ended a WebSocket connection with %d: %s", code.value, reason)
        await self._send_wsproto_event(CloseConnection(code=code.value, reason=reason))
        await self.send(StreamClosed(stream_id=self.stream_id))

    async def _send_wsproto_event(self, event: Any) -> None:
        try:
            data = self.connection.send(event)
        except LocalProtocolError:
            return  # it is too late for that
        held, self._held = self._held, b""
        await self.send(Data(stream_id=self.stream_id, data=held + data))
