"""HTTP/1.1 as Hypercorn has it, but stricter, and with an end to everything; HTTP/2 where a connection begins so.

Differs from Hypercorn in this: ambiguous heads are refused; a flood of small pieces neither holds the loop nor is
served; what follows a connection's last request is ignored; `100 Continue` is sent when the application begins to
read the body; nobody is switched to `h2c`, and to WebSocket only where the application has it, over HTTP/1.1; HTTP/2
is served only where it is on; a connection that is over stops processing what was sent ahead.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import h11
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import Data, Request, Response, StreamClosed
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h11 import STREAM_ID, H2ProtocolAssumedError, H11Protocol
from hypercorn.typing import AppWrapper, ConnectionState, H11SendableEvent, TaskGroup, WorkerContext

from runtime_http import websocket
from runtime_http.http2 import Http2
from runtime_http.stream import Fields, HttpStream, scope_of
from runtime_http.tls import TlsSession
from sansio.transport import heads
from sansio.transport.chunks import ChunkBudget
from sansio.transport.connections import Connection

_log = logging.getLogger(__name__)

Address = tuple[str, int] | None
_VERSIONS = (b"1.0", b"1.1")
_READ_AHEAD = 262_144  # bytes of a body that wait for the application
_STEP = 128  # events that are handled before other connections get their turn, some two milliseconds
_CHUNKED = b"\r\nTransfer-Encoding: chunked\r\n"  # as h11 adds it
_IGNORED = 65536  # bytes behind the last request of a connection that are read and thrown away


class Protocol:
    """The protocol of one connection: HTTP/1.1 until the client's first bytes are those of HTTP/2.

    `write_now`: writes bytes if nobody has to wait for that, and returns whether it did. `tls`: the connection's
    TLS, whose handshake is complete; None without.
    """

    def __init__(
        self,
        app: AppWrapper,
        config: Config,
        context: WorkerContext,
        task_group: TaskGroup,
        state: ConnectionState,
        client: Address,
        server: Address,
        send: Callable[[Event], Awaitable[None]],
        write_now: Callable[[bytes], bool],
        connection: Connection,
        tls: TlsSession | None = None,
    ) -> None:
        self._parts = (app, config, context, task_group, state, tls is not None, client, server, send)
        self._more: dict[str, Any] = {"write_now": write_now, "connection": connection}
        self._chosen = None if tls is None else tls.protocol
        self._protocol: H11Protocol | Http2 = Http1(*self._parts, **self._more)

    async def begin(self) -> None:
        """Speak HTTP/2 from the start where the handshake of TLS has chosen it."""
        if self._chosen == "h2":
            self._protocol = Http2(*self._parts, **self._more)
            await self._protocol.initiate()

    async def handle(self, event: Event) -> None:
        """Take bytes that came, or the end of the connection."""
        try:
            await self._protocol.handle(event)
        except H2ProtocolAssumedError as error:
            self._protocol = Http2(*self._parts, **self._more)
            await self._protocol.initiate()
            await self._protocol.handle(RawData(error.data))

    def end_now(self) -> None:
        """Announce the end of the connection, which follows, where HTTP has a way to do that without waiting."""
        if isinstance(self._protocol, Http2):
            self._protocol.end_now()

    @property
    def unread(self) -> bool:
        """Whether the client may still be sending what nobody will read, so that a plain close would reset it."""
        return isinstance(self._protocol, Http1) and self._protocol.unread


class Http1(H11Protocol):
    """HTTP/1.1, until a request switches it to WebSocket."""

    connection: h11.Connection
    stream: Any  # an `HttpStream`, a `WebSocketStream`, or None

    def __init__(self, *parts: Any, write_now: Callable[[bytes], bool], connection: Connection) -> None:
        super().__init__(*parts)
        self._clock = connection
        self._write_now = write_now
        self._is_chunked = False  # the answer's body
        self._http2 = connection.limits.http2
        self._is_switched = False
        self._held = b""  # the head of an answer, whose rest follows at once
        self._over = False
        self._refused = False
        self._ignored = 0  # bytes behind the last request
        self._pieces: list[bytes] = []  # of a body, not yet given to the application
        self._head = heads.HeadScan()
        self._at_chunk = False  # the head of a chunk comes next
        self._in_trailers = False
        self._may_end = False  # a last chunk may be among the bytes that came
        self._line_ended = False  # by the last byte that came
        self._chunks = ChunkBudget()
        self._ahead = 0  # bytes of the body that the application has not read
        self._room = self.context.event_class()

    @property
    def unread(self) -> bool:
        """Whether the request is not whole, or bytes behind it came."""
        read = self.connection.their_state in {h11.IDLE, h11.DONE, h11.MUST_CLOSE, h11.CLOSED}
        return not read or bool(self._ignored) or bool(self.connection.trailing_data[0])

    async def handle(self, event: Event) -> None:
        if isinstance(event, RawData) and self._is_switched:
            if isinstance(self.stream, websocket.WebSocketStream):
                await self.stream.handle(Data(stream_id=STREAM_ID, data=event.data))
            return
        if isinstance(event, RawData) and self.connection.their_state is h11.MUST_CLOSE:
            await self._ignore(event.data)
            return
        if isinstance(event, RawData):
            found = b"\n0" in event.data or (self._line_ended and event.data.startswith(b"0"))
            self._may_end = found or (self._may_end and self._at_chunk)
            self._line_ended = event.data.endswith(b"\n")
        await super().handle(event)
        if isinstance(event, Closed):
            self._over = True
            await self.can_read.set()

    async def _ignore(self, data: bytes) -> None:
        """Throw away what follows the last request (RFC 9112, section 9.6); stop reading where it is much."""
        self._ignored += len(data)
        if self._ignored > _IGNORED and not self._over:
            await self.can_read.clear()
            await self.can_read.wait()

    async def _run(self, scope: Any, receive: Any, send: Any, sync_spawn: Any, call_soon: Any) -> None:
        """Run the application; `100 Continue` goes out when it first asks for the body."""

        async def receiving() -> Any:
            if self.connection.they_are_waiting_for_100_continue:
                await self._send_h11_event(h11.InformationalResponse(status_code=100, headers=[]))
            message = await receive()
            if self._ahead:
                self._ahead -= len(message.get("body", b""))
                await self._room.set()
            return message

        await self.app(scope, receiving, send, sync_spawn, call_soon)

    async def _take(self, stream: HttpStream, *, more: bool = True) -> None:
        """Give the application the pieces of a body as one; wait where it does not keep up.

        Hypercorn's own queue is without bound here: what is full cannot take the end of the connection either,
        and then the connection stays open for good.
        """
        data = b"".join(self._pieces)
        self._pieces.clear()
        self._ahead += len(data)
        await stream.give(data, more=more)
        while self._ahead > _READ_AHEAD and self.stream is stream:
            await self._room.clear()
            await self._room.wait()

    async def _handle_events(self) -> None:
        step = 0
        begun = False  # the head of a request came last: its end may stand right behind it
        while not self._over and self.connection.their_state is not h11.MUST_CLOSE:
            step += 1
            if step >= _STEP and not begun:  # an answer ahead of that end would end the connection
                step = 0
                if self._pieces and isinstance(self.stream, HttpStream):
                    await self._take(self.stream)
                await self.context.sleep(0)
                continue
            if self.connection.their_state is h11.IDLE:
                if not self._skip_empty_lines():
                    return
                refusal = self._head.look(self.connection.trailing_data[0])
            else:
                refusal = self._look_at_trailers()
            if refusal is not None:
                await self._refuse(refusal.status, refusal.reason)
                return
            try:
                event = self.connection.next_event()
            except h11.RemoteProtocolError as error:
                await self._refuse(error.error_status_hint, "not well formed, or cut off")
                return
            if isinstance(event, h11.Data):
                self._pieces.append(bytes(event.data))
                self._at_chunk = event.chunk_end
                if not self._chunks.take(len(event.data), begins=event.chunk_start):
                    await self._refuse(400, "too many small chunks")
            elif not await self._handle_event(event):
                return
            begun = isinstance(event, h11.Request)

    async def _handle_event(self, event: Any) -> bool:
        """Handle an event other than a piece of a body. Returns whether to go on with the bytes that came."""
        is_whole = isinstance(event, h11.EndOfMessage)
        if (self._pieces or is_whole) and isinstance(self.stream, HttpStream):
            await self._take(self.stream, more=not is_whole)
        if isinstance(event, h11.Request):
            if event.http_version in _VERSIONS:
                await self.send(Updated(idle=False))
                await self._create_stream(event)
            elif self._http2 and (event.method, event.target, event.http_version) == (b"PRI", b"*", b"2.0"):
                raise H2ProtocolAssumedError(b"PRI * HTTP/2.0\r\n\r\n" + self.connection.trailing_data[0])
            else:
                await self._refuse(505, "not HTTP/1")
        elif event is h11.PAUSED:
            await self.can_read.clear()
            await self.can_read.wait()
            if self._is_switched:
                await self.handle(RawData(self.connection.trailing_data[0]))
                return False
        elif not (is_whole and self.stream is not None):
            return False
        return True

    def _look_at_trailers(self) -> heads.Refusal | None:
        """Judge the trailer section of a chunked body, before h11 parses it together with the last chunk."""
        may_end = self._at_chunk and self._may_end  # to look at each chunk costs as much as h11 takes for one
        if self.connection.their_state is not h11.SEND_BODY or not (may_end or self._in_trailers):
            return None
        data = self.connection.trailing_data[0]
        begins = 0 if self._in_trailers else heads.last_chunk(data)
        if begins is None:
            return None
        self._at_chunk, self._in_trailers = False, True
        return heads.refused_trailers(data[begins:])

    def _skip_empty_lines(self) -> bool:
        """Drop empty lines ahead of a request line. Returns False where the rest of one is awaited.

        h11 refuses them, and drops nothing from its buffer: a new one begins where they end.
        """
        data, ended = self.connection.trailing_data
        empty = heads.empty_lines(data)
        if not empty:
            return True
        if data[:empty].endswith(b"\r"):
            return ended
        self.connection = h11.Connection(h11.SERVER, max_incomplete_event_size=self.config.h11_max_incomplete_size)
        if len(data) > empty:
            self.connection.receive_data(data[empty:])
        if ended:
            self.connection.receive_data(b"")
        return True

    async def _refuse(self, status: int, reason: str) -> None:
        """Answer in the application's place, unless it has begun to answer, and end the connection."""
        _log.info("refused a request with %d: %s", status, reason)
        self._over = self._refused = True  # before anything is sent: the application may be about to answer
        self._pieces.clear()
        if self.connection.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            fields = [(b"content-length", b"0"), (b"connection", b"close"), *self.config.response_headers("h11")]
            await super()._send_h11_event(h11.Response(status_code=status, headers=fields))
            await super()._send_h11_event(h11.EndOfMessage())
        await self.send(Closed())

    async def _send_h11_event(self, event: Any) -> None:
        """Send, unless the request is refused: then it has its answer."""
        if not self._refused:
            await super()._send_h11_event(event)

    async def _create_stream(self, request: h11.Request) -> None:
        self._ahead = 0
        self._head = heads.HeadScan()
        self._at_chunk = any(name == b"transfer-encoding" for name, _ in request.headers)
        self._in_trailers = False
        self._chunks = ChunkBudget()
        path, authority = heads.target(request.target)
        headers = list(request.headers)
        if authority is not None:
            headers = [(b"host", authority), *(header for header in headers if header[0] != b"host")]
        method, version = request.method.decode("ascii").upper(), request.http_version.decode()
        if websocket.is_wanted(request, path, self._clock.limits.websockets):
            if (refusal := websocket.refusal(request)) is not None:
                await self._refuse_handshake(refusal)
                return
            parts = (self.config, self.context, self.task_group, self.ssl, self.client, self.server, self.stream_send)
            self.stream = stream = websocket.WebSocketStream(self.app, *parts, STREAM_ID, connection=self._clock)
            state = self.connection_state
            await stream.handle(
                Request(
                    stream_id=STREAM_ID,
                    headers=headers,
                    http_version=version,
                    method=method,
                    raw_path=path,
                    state=state,
                )
            )
        else:
            scope = scope_of(method, version, path, headers, trailers=False)
            scope["scheme"] = "https" if self.ssl else "http"
            scope |= {"client": self.client, "server": self.server, "state": self.connection_state.copy()}
            self.stream = HttpStream(self._run, self.context, self, STREAM_ID, scope)
            self.stream.begin(self.task_group)
        self.keep_alive_requests += 1

    async def _refuse_handshake(self, fields: list[tuple[bytes, bytes]]) -> None:
        """Refuse a handshake that no version of WebSocket has, and end the connection. `fields`: why."""
        status = 426 if fields else 400
        self._over = self._refused = True
        ends = b"close, upgrade" if fields else b"close"
        fields = [(b"content-length", b"0"), (b"connection", ends), *fields, *self.config.response_headers("h11")]
        await super()._send_h11_event(h11.Response(status_code=status, headers=fields))
        await super()._send_h11_event(h11.EndOfMessage())
        await self.send(Closed())

    async def send_head(self, _number: int, status: int, headers: Fields, *, more: bool) -> None:
        """Send the head of an answer; with `more`, together with what follows."""
        fields = [*headers, *self.config.response_headers("h11")]
        if self.keep_alive_requests >= self.config.keep_alive_max_requests:
            fields.append((b"connection", b"close"))
        self._is_chunked = False
        await self._send_together(h11.Response(status_code=status, headers=fields), held=more)

    def send_now(self, _number: int, data: bytes) -> bool:
        """Send a piece of an answer in chunks if that waits for nothing. Returns whether it is sent."""
        if self._held or self._refused or not self._is_chunked:
            return False
        return self._write_now(b"%x\r\n%b\r\n" % (len(data), data))  # h11 keeps nothing of a chunk

    async def send_body(self, _number: int, data: bytes, *, ends: bool) -> None:
        """Send a piece of an answer, and its end."""
        events = [h11.Data(data=data)] if data else []
        await self._send_together(*events, *([h11.EndOfMessage()] if ends else []))

    async def send_end(self, number: int, data: bytes, _trailers: Fields) -> None:
        """Send the rest of an answer. Trailers were not offered."""
        await self.send_body(number, data, ends=True)

    async def finish(self, _number: int, *, whole: bool) -> None:
        """End a stream, and the connection with it where that cannot be used again."""
        await self._maybe_recycle()

    async def _send_together(self, *events: H11SendableEvent, held: bool = False) -> None:
        """Send events in one write, unless the request is refused: then it has its answer."""
        if self._refused:
            return
        pieces, self._held = [self._held], b""
        for event in events:
            try:
                pieces += self.connection.send_with_data_passthrough(event) or ()
            except h11.LocalProtocolError:
                if self.connection.their_state != h11.ERROR:
                    raise
        data = b"".join(pieces)
        if isinstance(events[0], h11.Response):
            self._is_chunked = _CHUNKED in data
        if held:
            self._held = data
        elif data:
            await self.send(RawData(data))

    async def stream_send(self, event: StreamEvent) -> None:
        await super().stream_send(event)
        if isinstance(event, Response) and event.status_code == 101:
            self._is_switched = True
            await self.can_read.set()

    async def _close_stream(self) -> None:
        stream, self.stream = self.stream, None
        if isinstance(stream, HttpStream):
            await stream.close()
        elif stream is not None:
            await stream.handle(StreamClosed(stream_id=STREAM_ID))
        await self._room.set()

    async def _maybe_recycle(self) -> None:
        await self._close_stream()
        done = self.connection.our_state is h11.DONE and self.connection.their_state is h11.DONE
        if done and not self._over and not self.context.terminated.is_set():
            self.connection.start_next_cycle()
            await self.send(Updated(idle=True))
            await self.can_read.set()
        else:
            self._over = True
            await self.can_read.set()
            await self.send(Closed())
