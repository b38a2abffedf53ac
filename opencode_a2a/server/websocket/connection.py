"""One WebSocket connection: reads messages, runs their requests side by side, and sends what answers them.

`sansio.a2a.websocket` decides what a message means, whose turn it is to be sent, and when the connection ends. A
client that does not read holds up its own streams alone, and each of them ends, resumable, after some time.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, MutableMapping
from functools import partial
from typing import Any, Final, TypeAlias

import anyio
import anyio.lowlevel
from attrs import define

from opencode_a2a.metrics.request_metrics import count_request
from opencode_a2a.server.http.request_log import log_request
from opencode_a2a.server.http.request_span import begin_request_span, end_request_span, trace_headers
from opencode_a2a.server.http.stream_frames import Frames, Shortcut, Streaming
from opencode_a2a.server.http.stream_writing import SLACK
from opencode_a2a.server.identity.rate_guard import RateGuard
from opencode_a2a.server.surface import Surface
from opencode_a2a.server.websocket.room import Place, Room
from opencode_a2a.tracing.spans import CURRENT
from sansio.a2a.bindings.http_messages import Request, Response, retry_headers
from sansio.a2a.bindings.jsonrpc import RpcRequest, render_error
from sansio.a2a.errors import ErrorKind, ProtocolError
from sansio.a2a.operations import operation_of
from sansio.a2a.server import Call, CallRefusedError
from sansio.a2a.serving.websocket_call import understand
from sansio.a2a.versions import HEADER as VERSION_HEADER
from sansio.a2a.websocket import messages
from sansio.a2a.websocket.outbox import MOST, Outbox
from sansio.a2a.websocket.session import STOPPING, Begun, Close, CloseCode, Left, Refused, Session, SessionLimits
from sansio.access import Authentication

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Perform: TypeAlias = Callable[
    [Call, Request, Authentication, Callable[[], Awaitable[None]]], Awaitable[Response | Streaming]
]

MOST_WAITING: Final = MOST
"""Bytes of answers that may wait before the next message is read, or another answer is added."""

_PING: Final = "websocket.ping"  # extensions of ASGI that our runtimes have
_FRAGMENTS: Final = "websocket.fragments"
_LONG: Final = 16384  # bytes of a message after which others have their turn
_ENDING: Final = 1.0  # seconds for streams to end after their tasks
_FLUSHING: Final = 4.0  # seconds for the last answers of a connection that ends in order
_METHOD: Final = "WS"  # of requests in logs and spans; HTTP has no such method
_TOO_SLOW: Final = "the client did not read in time"
_UNREAD: Final = "The client did not read what was sent before in time, and the answer is left out"
_BINARY: Final = Close(CloseCode.UNSUPPORTED_DATA, "messages are text")
_REVOKED: Final = Close(CloseCode.AUTHENTICATION_REQUIRED, "the credential proves nothing any more")
_FLOOD: Final = Close(CloseCode.POLICY_VIOLATION, "too many messages that ask for nothing")


@define(eq=False)
class _Stream:
    """A stream to send. `params`: the service parameters of its first message, empty once they are sent."""

    frames: AsyncGenerator[Frames]
    closed: Callable[[], None]
    version: str
    params: tuple[tuple[str, str], ...]
    shortcut: Shortcut | None


class ServedConnection:
    """One connection of a `caller` who is known. `handshake`: the request that it began with, `scope`: ASGI's."""

    def __init__(
        self,
        surface: Surface,
        guard: RateGuard,
        *,
        perform: Perform,
        as_error: Callable[[Exception, Request], ProtocolError],
        handshake: Request,
        scope: Message,
        caller: Authentication,
        limits: SessionLimits,
    ) -> None:
        self._surface = surface
        self._guard = guard
        self._perform = perform
        self._as_error = as_error
        self._handshake = handshake
        self._scope = scope
        self._caller = caller
        self._session = Session(limits, anyio.current_time())
        self.outbox = Outbox(most=MOST_WAITING)
        self._room = Room(self.outbox)
        self._params = {
            name: value
            for name, value in handshake.headers.items()
            if name in messages.OF_CONNECTION or name == "host"
        }
        self.streams: dict[Begun, anyio.CancelScope] = {}
        self._left: set[Begun] = set()  # streams that the client has left, perhaps before they began
        self._readable = anyio.Event()  # set once the next message may be read
        self._wake = anyio.Event()
        self._closing: Close | None = None
        self._flushes = False
        self._is_sending = self._is_gone = False
        self._tasks = anyio.create_task_group()
        self._send: Send

    async def run(self, receive: Receive, send: Send) -> None:
        """Accept the connection, and serve it to its end."""
        self._send = send
        headers = [(name.encode(), value.encode("latin-1")) for name, value in trace_headers(self._handshake)]
        await send({"type": "websocket.accept", "subprotocol": messages.SUBPROTOCOL, "headers": headers})
        async with self._tasks:
            self._tasks.start_soon(self._write)
            self._tasks.start_soon(self._watch)
            with self._surface.authenticator.stream(self._caller, lambda: self.close(_REVOKED)):
                await self._read(receive)
                await anyio.sleep_forever()
        if self._closing is not None and not self._is_gone and not self._is_sending:
            with anyio.move_on_after(SLACK):
                code, reason = self._closing.code.value, self._closing.reason
                await send({"type": "websocket.close", "code": code, "reason": reason})

    def close(self, close: Close, *, flush: bool = False) -> None:
        """End the connection once the message that is being sent is taken. `flush`: once all are that wait."""
        if self._closing is None:
            self._closing, self._flushes = close, flush
            self._tasks.cancel_scope.deadline = anyio.current_time() + (_FLUSHING if flush else SLACK)
            self._wake.set()

    def drain(self) -> None:
        """Begin nothing new, and end with the last answer."""
        self._session.drain()
        self._look()

    def stop(self) -> None:
        """End soon, whatever runs. Tasks are over by now, and their streams need a moment to end, too."""
        self._tasks.start_soon(self._stop)

    async def _stop(self) -> None:
        await anyio.sleep(_ENDING)
        self.close(STOPPING)

    def _look(self) -> None:
        close = self._session.due(anyio.current_time())
        if close is not None:
            self.close(close, flush=True)

    # --- what runs as long as the connection --------------------------------------------------------------

    async def _read(self, receive: Receive) -> None:
        """Take messages until the connection ends, or has to."""
        while self._closing is None:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                self._is_gone = True
                self._tasks.cancel_scope.cancel()
                return
            text = message.get("text")
            if text is None:
                self.close(_BINARY)
                return
            self._take(text.encode())
            # To receive need not wait for anything: a flood of messages would take the turns of all others.
            await anyio.lowlevel.checkpoint()
            while self.outbox.is_full:
                self._readable = anyio.Event()
                await self._readable.wait()

    def _take(self, body: bytes) -> None:
        if self._closing is not None:
            return
        step = self._session.receive(body)
        match step:
            case Begun():
                self._tasks.start_soon(self._answer, step, body)
            case Left(begun):
                self._left.add(begun)
                if (scope := self.streams.get(begun)) is not None:
                    scope.cancel()
            case Refused():
                answer = self._refused(step)
                if step.error.is_answered:
                    self.outbox.put(None, answer)
                    self._wake.set()
            case None:
                if self._limited(self._request({}, body)) is not None:
                    self.close(_FLOOD)

    def _refused(self, refused: Refused) -> bytes:
        """Count a message that begins nothing as a request, and render the answer to it."""
        message = refused.message
        request = self._request({} if message is None else message.service_params, b"")
        error = self._limited(request) or refused.error
        version = self._version_of(request, None if message is None else message.request)
        answer = render_error(refused.error.request_id, error, version)
        params = ((VERSION_HEADER, version), *request.rate_headers, *retry_headers(error))
        return messages.with_service_params(answer, params)

    def _version_of(self, request: Request, envelope: RpcRequest | None) -> str:
        """Return the version in whose shape a request is refused. `envelope`: None where it could not be read."""
        hint = None if envelope is None else operation_of(envelope.method)[1]
        return self._surface.protocol.version_of_refusal(request, hint)

    def _limited(self, request: Request) -> ProtocolError | None:
        """Count a request of the caller. Returns the error where it is one too many."""
        try:
            self._guard.admit(self._caller, request)
        except ProtocolError as error:
            return error.kept()
        return None

    async def _write(self) -> None:
        """Send what waits, a message of each request in turn; at the end, end the rest of the connection."""
        while self._closing is None or self._flushes:
            found = self.outbox.take()
            if found is not None:
                _, message = found
                self._is_sending = True
                if isinstance(message, bytes):
                    more = self.outbox.size > 0  # our runtimes write them at once; others pass over that
                    await self._send({"type": "websocket.send", "text": message.decode(), "more": more})
                else:
                    await self._send_large(message)
                self._is_sending = False
                self._taken()
            elif self._closing is not None:
                break
            else:
                await self._wake.wait()
                self._wake = anyio.Event()
        self._tasks.cancel_scope.cancel()

    async def _send_large(self, message: messages.LargeMessage) -> None:
        """Send a message in fragments, with everybody's turn in between; as a whole where the server has none."""
        if self._has(_FRAGMENTS):
            for text, ends in message.fragments():
                await self._send({"type": "websocket.send", "text": text, "ends": ends})
                await anyio.lowlevel.checkpoint()  # a write need not wait
        else:
            whole = "".join(text for text, _ in message.fragments())
            await self._send({"type": "websocket.send", "text": whole})

    def _has(self, extension: str) -> bool:
        return extension in (self._scope.get("extensions") or {})

    def _taken(self) -> None:
        """Let others go on for which there is room by now."""
        self._room.look()
        if not self.outbox.is_full:
            self._readable.set()

    async def _watch(self) -> None:
        """See that the client is there, and that it asks for something."""
        pings = self._has(_PING)
        while True:
            await anyio.sleep(self._session.wait(anyio.current_time()))
            self._look()
            if pings and self._closing is None:
                await self._send({"type": _PING})

    # --- one request --------------------------------------------------------------------------------------

    def _request(self, params: Mapping[str, str], body: bytes) -> Request:
        handshake = self._handshake
        request = Request(
            method=_METHOD,
            path=handshake.path,
            query_string=handshake.query_string,
            headers={**self._params, **params} if params else self._params,
            body=body,
            source=handshake.source,
        )
        identity = self._caller.identity
        request.outcome.principal, request.outcome.credential_id = identity.principal, identity.credential_id
        return request

    async def _answer(self, begun: Begun, body: bytes) -> None:
        """Answer a request, from its message to its last one."""
        request = self._request(begun.message.service_params, body)
        del body
        started = anyio.current_time()
        span = begin_request_span(self._surface.tracer, request, self._scope)
        CURRENT.set(span.context)  # the task has no other request
        place = self._room.place()
        try:
            stream = await self._answered(begun, request, place)
            if stream is not None:
                await self._stream(begun, request, stream, place)
        finally:
            place.leave()
            end_request_span(span, request)
            count_request(self._surface.meters, request.outcome)
            log_request(request, anyio.current_time() - started)
            self._left.discard(begun)
            self._session.ended(begun, anyio.current_time())
            self._look()

    async def _answered(self, begun: Begun, request: Request, place: Place) -> _Stream | None:
        """Answer a request; a stream is returned, and only what is needed to send it is kept."""
        envelope = begun.message.request
        answer: Response | Streaming
        call: Call | None = None
        version = self._version_of(request, envelope)
        try:
            self._guard.admit(self._caller, request)
            call = understand(envelope, request, self._surface.protocol)
            request.outcome.label = call.operation.name.lower() if call.operation is not None else "extension"
            room = partial(place.take, for_method=call.operation is None)
            answer = await self._perform(call, request, self._caller, room)
        except CallRefusedError as refused:
            request.outcome.error, answer = refused.error.kept(), refused.response
        except Exception as exc:
            error = self._as_error(exc, request)
            answer = self._refusal(envelope, call, error, version)
        request.outcome.status = 200
        if self._surface.payloads is not None:
            self._surface.payloads.log(request, answer if isinstance(answer, Response) else None)
        headers = ((VERSION_HEADER, version),) if call is None else call.headers
        refusal = request.outcome.error
        retry = () if refusal is None else retry_headers(refusal)
        headers = (*headers, *messages.service_params_in(answer.headers))
        params = (*headers, *request.rate_headers, *retry, *trace_headers(request))
        if isinstance(answer, Streaming):
            request.body, request.headers, request.rate_headers = b"", self._params, ()
            begun.forget_params()
            version = version if call is None else call.version
            return _Stream(answer.frames, answer.closed, version, params, answer.shortcut)
        pieces = (answer.body, *answer.more)
        if any(pieces) and not await self._put(begun, messages.message_of(pieces, params)):
            error = request.outcome.error = ProtocolError(ErrorKind.OVERLOADED, _UNREAD)
            body = self._refusal(envelope, call, error, version).body
            params = (*params, *retry_headers(error))
            self.outbox.put(begun, messages.with_service_params(body, params))
            self._wake.set()
        return None

    def _refusal(self, envelope: RpcRequest, call: Call | None, error: ProtocolError, version: str) -> Response:
        """Render the refusal of a request. `call`: None where it could not be understood."""
        if call is not None:
            return call.refuse(error)
        return Response(200, b"" if envelope.notification else render_error(envelope.id, error, version))

    async def _stream(self, begun: Begun, request: Request, stream: _Stream, place: Place) -> None:
        """Send a stream, and its end. The client's leaving ends the reading, nothing else.

        `place`: each piece takes it before it is made, and has it until its messages wait to be sent. There are many
        streams, which wait for long: this is one coroutine, and has nothing that a stream need not keep.
        """
        reason = None
        parts: list[bytes] = []  # of a message whose end has not come
        try:
            with anyio.CancelScope() as scope:
                self.streams[begun] = scope
                if begun in self._left:
                    scope.cancel()
                async for piece in stream.frames:
                    if not await self._put_piece(begun, stream, parts, piece.data):
                        reason = _TOO_SLOW
                        break
                    if not parts:
                        place.leave()
                        if stream.shortcut is not None and stream.shortcut.write is None and not stream.params:
                            stream.shortcut.write = partial(self._put_at_once, begun)
                    if piece.last:
                        reason = piece.reason
                        break
                    del piece  # the next one may be hours away
            if scope.cancelled_caught or reason is _TOO_SLOW:
                self.outbox.drop(begun)
                self._taken()
        except Exception as exc:
            error = self._as_error(exc, request)
            self.outbox.put(begun, render_error(begun.message.request.id, error, stream.version))
        finally:
            del self.streams[begun]
            if stream.shortcut is not None:
                stream.shortcut.write = None
            stream.closed()
            await stream.frames.aclose()
        self.outbox.put(begun, messages.stream_end(begun.message.request.id, reason))
        self._wake.set()

    def _put_at_once(self, begun: Begun, data: bytes) -> bool:
        """Have whole messages of a stream sent, whose task waits; False where there is no room for them."""
        if self._closing is not None or not self.outbox.takes(begun):
            return False
        for message in data.removesuffix(b"\n").split(b"\n"):
            self.outbox.put(begun, message)
        self._wake.set()
        return True

    async def _put_piece(self, begun: Begun, stream: _Stream, parts: list[bytes], data: bytes) -> bool:
        """Have the messages of a piece sent; False where the client does not read for long."""
        *whole, rest = data.split(b"\n")
        del data
        while whole:
            message = messages.message_of((*parts, whole.pop(0)), stream.params)
            parts.clear()
            stream.params = ()
            if not await self._put(begun, message):
                return False
        if rest:
            parts.append(rest)
        return True

    async def _put(self, begun: Begun, message: bytes | messages.LargeMessage) -> bool:
        """Have a message sent once there is room; False where the client does not read for long."""
        if not await self._room.put(begun, message):
            return False
        self._wake.set()
        if len(message) > _LONG:
            await anyio.lowlevel.checkpoint()
        return True
