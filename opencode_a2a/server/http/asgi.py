"""The HTTP surface as an ASGI application: reads a request, passes guards, runs the operation, writes the answer.

No framework. `sansio.a2a.server` decides what a request means, and how an answer to it looks.
"""

from __future__ import annotations

import logging
import zlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, Protocol, TypeAlias

import anyio
import anyio.lowlevel
from attrs import evolve

from opencode_a2a.logs import plain
from opencode_a2a.metrics.request_metrics import count_request
from opencode_a2a.server.grpc.trailers import with_trailers
from opencode_a2a.server.http.dispatch import Dispatch, Invocation, at_once, note_task
from opencode_a2a.server.http.documents import Documents, Published, only
from opencode_a2a.server.http.probes import Probes, asks_for_stream, probe_stream
from opencode_a2a.server.http.request_log import log_request
from opencode_a2a.server.http.request_span import begin_request_span, end_request_span, trace_headers
from opencode_a2a.server.http.stream_frames import Shortcut, Streaming, frames_of
from opencode_a2a.server.http.stream_writing import GONE, SLACK, too_late, write_stream
from opencode_a2a.server.identity.rate_guard import RateGuard
from opencode_a2a.server.operations.task_operations import ClientLeftError, WhenGone, never
from opencode_a2a.server.steps import in_turns
from opencode_a2a.server.surface import Surface
from opencode_a2a.server.websocket.handshake import WebSockets
from opencode_a2a.tracing.spans import working_for
from sansio import http
from sansio.a2a.bindings import grpc
from sansio.a2a.bindings.http_messages import Request, Response, json_response
from sansio.a2a.cards.parse import CARD_PATHS
from sansio.a2a.cards.signatures import JWKS_PATH
from sansio.a2a.errors import ErrorKind, ProtocolError
from sansio.a2a.operations import GRPC_PATHS, Operation
from sansio.a2a.server import (
    Call,
    CallRefusedError,
    brings_json,
    check_body,
    check_target,
    is_grpc,
    load_bindings,
    refuse,
    understand,
)
from sansio.a2a.serving.sse_call import STREAM_HEADERS
from sansio.a2a.websocket import messages as websocket
from sansio.access import Authentication, Identity
from sansio.guards.console import is_of_page
from sansio.guards.origins import cors_headers

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers: TypeAlias = tuple[tuple[str, str], ...]
Asgi: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


_log = logging.getLogger(__name__)

LINGER = 10.0
"""Seconds for which the rest of a request is awaited where the connection goes on."""

_WHOLE = "http.request.whole"  # an extension of ASGI that our runtimes have
_ROOM = "http.response.room"  # another: whoever makes an answer waits until its client has read enough of others
_MUCH = 65536  # bytes; to compress more would hold the loop for a millisecond and longer
_GZIP = 16 + zlib.MAX_WBITS  # the container of zlib's output


class ExtensionMethods(Protocol):
    """The methods that an agent has beside the protocol's."""

    async def run(self, name: str, params: object, identity: Identity, version: str) -> list[bytes]:
        """Return the result as JSON in pieces. Raises `ProtocolError`, also for a name that there is not."""


class Application:
    """The ASGI application."""

    def __init__(
        self,
        surface: Surface,
        dispatch: Dispatch,
        methods: ExtensionMethods,
        cards: Published,
        health: Callable[[], dict[str, object]],
        unready: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self.cards = cards
        self.authenticator = surface.authenticator
        load_bindings(surface.protocol)
        self._surface = surface
        self._dispatch = dispatch
        self._methods = methods
        self._health = health
        self._more = {
            **(http.WEBSOCKET_PATHS if surface.protocol.serves_websocket else {}),
            **(surface.console.paths if surface.console is not None else {}),
        }
        self._guard = RateGuard(surface.authenticator, surface.rates)
        self._documents = Documents(self._guard, surface.started)
        self._unready = unready
        self._probes = Probes(self._guard, unready)
        self.websockets = WebSockets(surface, self._guard, perform=self._perform, as_error=_as_protocol_error)

    def drain(self) -> None:
        """Begin no request on WebSocket connections any more, and end each with its last answer."""
        self.websockets.drain()

    def stop(self) -> None:
        """End all WebSocket connections."""
        self.websockets.stop()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            await self.websockets.serve(scope, receive, send)

    # --- one request --------------------------------------------------------------------------------------

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = http.header_map(scope["headers"])
        extensions = scope.get("extensions") or {}
        source = self._surface.proxies.source((scope.get("client") or ("",))[0], headers)
        request = Request(
            method=scope["method"],
            path=http.without_prefix(scope["method"], scope["path"], self._surface.prefix or source.prefix),
            query_string=scope["query_string"],
            headers=headers,
            source=source,
            takes_trailers="http.response.trailers" in extensions,
            came=_WHOLE in extensions and extensions[_WHOLE]["call"](),
            is_over_tls=(source.scheme or scope.get("scheme")) == "https",
        )
        # On a connection that goes on, a body need not be announced, and one that comes after the answer's end
        # would be taken for an error of the whole connection: so its end is waited for. On another, the server
        # throws the rest away and closes.
        multiplexed = not scope["http_version"].startswith("1")
        request.unread = request.unread or multiplexed
        started = anyio.current_time()
        span = begin_request_span(self._surface.tracer, request, scope)
        try:
            with working_for(span.context):
                await self._answered(request, scope, multiplexed, receive, send)
        finally:
            end_request_span(span, request)
            count_request(self._surface.meters, request.outcome)
            log_request(request, anyio.current_time() - started)

    async def _answered(
        self, request: Request, scope: Scope, multiplexed: bool, receive: Receive, send: Send
    ) -> None:
        extensions = scope.get("extensions") or {}
        try:
            http.check_repeated(scope["headers"], self.authenticator.headers)
            if request.path not in http.PROBE_PATHS and request.path not in grpc.HEALTH_PATHS:
                self._surface.hosts.check(request.headers.get("host"))
                if request.source.host is not None:
                    self._surface.hosts.check(request.source.host)
            answer = await self._answer(request, receive, extensions)
        except ClientLeftError:
            return
        except Exception as exc:
            error = _as_protocol_error(exc, request)
            # the browser would ask for a password beside the page, which asks itself
            challenge = "" if is_of_page(request) else self._surface.authenticator.challenge(request)
            answer = refuse(error, request, self._surface.protocol, challenge)
        cors = cors_headers(request.headers, self._surface.origins)
        headers = (*answer.headers, *cors, *request.rate_headers, *trace_headers(request))
        if multiplexed:
            headers = http.end_to_end(headers)
        request.outcome.status = answer.status if isinstance(answer, Response) else 200
        if self._surface.payloads is not None:
            self._surface.payloads.log(request, answer if isinstance(answer, Response) else None)
        request.body = b""
        if isinstance(answer, Response):
            answer = evolve(answer, headers=headers)
            coding = request.headers.get("accept-encoding")
            answer, in_gzip = http.negotiate_coding(answer, coding, self._surface.gzip_minimum)
            if in_gzip:
                answer = await _in_gzip(answer)
            if _ROOM in extensions:
                await extensions[_ROOM]["hold"](answer.length)
            if request.unread and not multiplexed:
                # the connection cannot be used again, and no client is to send its next request into it
                answer = evolve(answer, headers=(*answer.headers, ("connection", "close")))
            writing = _write(answer, request.method, send, receive if request.unread and multiplexed else None)
            del answer  # its pieces go one by one: to free a large one at once would hold the loop
            await writing
        else:
            await write_stream(answer, headers, request.method, receive, send, self._surface.limits, extensions)

    async def _answer(
        self, request: Request, receive: Receive, extensions: Mapping[str, Any]
    ) -> Response | Streaming:
        surface = self._surface
        if request.method != "POST" and is_grpc(request, surface.protocol):
            self._refuse_unknown(request)
        answer = http.answer_before_body(request, surface.origins, self._more)
        if answer is not None:
            return answer
        if surface.console is not None and request.path in surface.console.paths:
            return await surface.console.answer(request, self._guard)
        if surface.protocol.serves_websocket and request.path == websocket.PATH:
            raise ProtocolError(ErrorKind.UPGRADE_REQUIRED)
        if request.path in http.PROBE_PATHS:
            if asks_for_stream(request):
                return Streaming(STREAM_HEADERS, probe_stream(), _nothing, _everybody, b"")
            return await self._probes.answer(request)
        if request.path in http.DOCUMENT_PATHS:
            self._guard.read(request)
        if request.path in http.GRPC_SERVICE_PATHS and is_grpc(request, surface.protocol):
            return await self._serve_beside(request, receive)
        if request.path not in GRPC_PATHS and is_grpc(request, surface.protocol):
            self._refuse_unknown(request)
        if request.path in CARD_PATHS:
            return self._documents.public(request, self.cards.public)
        if request.path == JWKS_PATH:
            return self._documents.public(request, self.cards.keys)
        if request.path == http.OPENAPI_PATH:
            return await self._documents.described(request, self.cards)
        http.check_length(request.headers, surface.body_limit)
        caller = await self._guard.authenticate(request)
        identity = caller.identity
        request.outcome.principal, request.outcome.credential_id = identity.principal, identity.credential_id
        if request.unread and request.method != "POST":  # it means nothing, but the next request comes behind it
            await _read_body(request, receive, surface.body_limit)
            request.body = b""
        if request.path == http.HEALTH_PATH:
            only(request, "GET", "HEAD")
            return json_response(200, self._health())
        if request.path == http.METRICS_PATH and surface.metrics is not None:
            only(request, "GET", "HEAD")
            return await surface.metrics.response(identity)
        if surface.protocol.serves_websocket and request.path == websocket.TICKET_PATH:
            return await self.websockets.ticket(request, caller)
        check_target(request, surface.protocol)
        if request.method == "POST":
            await _read_body(request, receive, surface.body_limit, json=brings_json(request, surface.protocol))
            if len(request.body) > _MUCH:
                await anyio.lowlevel.checkpoint()  # to join its pieces took a while, and to decode it will
        try:
            if len(request.body) > _MUCH:
                await in_turns(check_body(request, surface.protocol))
            call = understand(request, surface.protocol)
        except CallRefusedError as refused:
            request.outcome.error = refused.error.kept()
            return refused.response
        request.outcome.label = call.operation.name.lower() if call.operation is not None else "extension"
        try:
            when_gone = extensions[GONE]["call"] if GONE in extensions else never
            room = partial(_take_room, extensions[_ROOM]["take"], call) if _ROOM in extensions else None
            return await self._perform(call, request, caller, None if call.streams else room, when_gone)
        except ClientLeftError:
            raise
        except Exception as exc:
            return call.refuse(_as_protocol_error(exc, request))

    async def _serve_beside(self, request: Request, receive: Receive) -> Response | Streaming:
        """Answer for a service of gRPC that is not the protocol's."""
        # these need the extra `grpc`
        from opencode_a2a.server.grpc.services import REFLECTION_SECONDS, GrpcServices
        from sansio.a2a.serving.grpc_call import ending

        async def noted() -> MutableMapping[str, Any]:
            message = await receive()
            request.unread = message.get("more_body", False)
            return message

        beside = GrpcServices(self._surface.protocol.versions, self._unready)
        if request.path == grpc.HEALTH_PATH:
            return await beside.check(noted)
        self._guard.read(request)
        frames = beside.reflect(request.path, noted)
        return Streaming(grpc.HEADERS, frames, _nothing, _everybody, b"", REFLECTION_SECONDS + SLACK, ending)

    def _refuse_unknown(self, request: Request) -> None:
        """Refuse a call of gRPC that is no POST, or of no method of the protocol's, whoever calls.

        A client's library asks for some by itself, as for `Health/Watch`, without a credential. It goes on where the
        status is UNIMPLEMENTED, and nowhere else.
        """
        if request.path not in grpc.HEALTH_PATHS:
            self._guard.read(request)
        check_target(request, self._surface.protocol)

    async def _perform(
        self,
        call: Call,
        request: Request,
        caller: Authentication,
        room: Callable[[], Awaitable[None]] | None = None,
        when_gone: WhenGone = never,
    ) -> Response | Streaming:
        identity = caller.identity
        large = len(request.body) > _MUCH
        if large:
            await anyio.lowlevel.checkpoint()  # to decode it took a while, and to parse it will
        if room is not None and call.operation in (None, Operation.EXTENDED_CARD):
            await room()
        if call.operation is None:
            return call.respond(await self._methods.run(call.method, call.params, identity, call.version))
        if call.operation is Operation.EXTENDED_CARD:
            card = self.cards.extended(identity, call.version)
            if not call.is_document:
                return call.respond_card(card.body)
            answer = self._documents.private(request, card)
            return evolve(answer, headers=(*answer.headers, ("vary", "A2A-Version"), *call.headers))
        stays_open = self._surface.stays_open or not self._surface.stays_open_for.isdisjoint(call.activated.names)
        invocation = Invocation(
            call=call,
            identity=identity,
            stays_open=stays_open,
            large=large,
            outcome=request.outcome,
            trace=request.trace,
            room=room or at_once,
            when_gone=when_gone,
        )
        if call.streams:
            stream, presentation = await self._dispatch.stream(invocation)
            bare = evolve(call, params=None)  # they may be large, and the stream may last for hours
            limits, meters = self._surface.limits, self._surface.meters
            shortcut = Shortcut()
            frames = frames_of(stream, presentation, bare, limits, meters, room, shortcut)
            outcome = request.outcome
            active, close, is_prompt = stream.active, stream.close, not stream.whole
            del stream  # which has the task as it was

            def closed() -> None:
                note_task(outcome, active)  # whose session is chosen while it is read
                close()

            access = partial(self._surface.authenticator.stream, caller)
            refused = bare.failure_frame(ProtocolError(ErrorKind.UNAUTHENTICATED))
            headers = bare.stream_headers
            ends = (bare.timeout, bare.trailers)
            return Streaming(headers, frames, closed, access, refused, *ends, is_prompt, shortcut)
        if call.operation.row.streaming:  # a notification: nobody reads the stream
            return call.respond(None)
        with anyio.move_on_after(call.timeout):
            return await self._dispatch.unary(invocation)
        raise too_late()


def _nothing() -> None:
    """There is nothing to close behind a stream that is no task's."""


def _everybody(_end: Callable[[], None]) -> AbstractContextManager[None]:
    """Let everybody read on."""
    return nullcontext()


def _as_protocol_error(exc: Exception, request: Request) -> ProtocolError:
    """The error to tell: the peer's own, or that we failed, which is for the log alone."""
    error = exc if isinstance(exc, ProtocolError) else ProtocolError(ErrorKind.INTERNAL_ERROR)
    request.outcome.error = error.kept()
    if error is not exc:
        _log.error("%s %s", plain(request.method), plain(request.path), exc_info=exc)
    return error


async def _read_body(request: Request, receive: Receive, limit: int, *, json: bool = True) -> None:
    if json:
        http.check_media_type(request)
    if request.came:
        await _read_pieces(request, receive, limit)
    else:
        with anyio.move_on_after(http.BODY_SECONDS) as patience:
            await _read_pieces(request, receive, limit, patience)
        if patience.cancelled_caught:
            raise ProtocolError(ErrorKind.REQUEST_TIMEOUT)
    if json:
        http.check_media_type(request)  # over HTTP/2 a body need not be announced


async def _read_pieces(
    request: Request, receive: Receive, limit: int, patience: anyio.CancelScope | None = None
) -> None:
    """Read the pieces of a body, each of which gives it more time."""
    chunks: list[bytes] = []
    size = 0
    while request.unread or not chunks:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientLeftError
        request.unread = message.get("more_body", False)
        chunk = message.get("body", b"")
        size += len(chunk)
        if limit and size > limit:
            raise http.too_large(limit)
        chunks.append(chunk)
        if request.unread and patience is not None:
            patience.deadline += len(chunk) / http.BODY_RATE
    request.body = chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def _take_room(take: Callable[..., Awaitable[bool]], call: Call) -> None:
    """Wait for room to make the answer of a call. Raises `ClientLeftError`."""
    if not await take(for_method=call.operation is None):
        raise ClientLeftError


async def _in_gzip(response: Response) -> Response:
    """The response with its body compressed; much of it in a thread, so that nobody waits for it."""
    if response.length > _MUCH:
        return await anyio.to_thread.run_sync(_gzip, response)
    return _gzip(response)


def _gzip(response: Response) -> Response:
    coder = zlib.compressobj(6, zlib.DEFLATED, _GZIP)
    pieces = [coder.compress(part) for part in _parts(deque((response.body, *response.more)), _MUCH)]
    return evolve(response, body=b"", more=(*filter(None, pieces), coder.flush()))


def _parts(pieces: deque[bytes], size: int) -> Iterator[bytes]:
    """Take the pieces of a body, in parts of at most `size` bytes."""
    while pieces:
        piece = pieces.popleft()
        if len(piece) <= size:
            yield piece
        else:
            yield from (piece[start : start + size] for start in range(0, len(piece), size))


async def _write(response: Response, method: str, send: Send, unread: Receive | None = None) -> None:
    """Write a whole response. `unread`: the request's body is still on its way, and its end is awaited."""
    pieces = deque((response.body, *response.more))
    bodiless = response.status in (204, 304)
    pairs = [pair for pair in response.headers if not (bodiless and pair[0] == "content-type")]
    headers = [(name.encode(), value.encode("latin-1")) for name, value in pairs]
    if response.trailers is not None:
        send = with_trailers(send, partial(tuple, response.trailers))
    elif not bodiless:
        headers.append((b"content-length", str(response.length).encode()))
    start = {"type": "http.response.start", "status": response.status, "headers": headers, "more": True}
    del response
    await send(start)
    body = b""
    if not bodiless and method != "HEAD":
        for part in _parts(pieces, _MUCH):
            if body:
                await send({"type": "http.response.body", "body": body, "more_body": True})
                await anyio.lowlevel.checkpoint()  # to send need not wait for anything
            body = part
    if unread is not None:
        await send({"type": "http.response.body", "body": body, "more_body": True})
        with anyio.move_on_after(LINGER):
            while (await unread()).get("more_body", False):
                pass
        body = b""
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _lifespan(receive: Receive, send: Send) -> None:
    """The application is opened and closed around the server, so there is nothing to do here."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
