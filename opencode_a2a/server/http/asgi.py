"""The HTTP surface as an ASGI application: reads a request, passes guards, runs the operation, writes the answer.

No framework. `sansio.a2a.server` decides what a request means, and how an answer to it looks.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, MutableMapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, Protocol, TypeAlias

import anyio
import anyio.lowlevel
from attrs import evolve, frozen

from opencode_a2a.logs import plain
from opencode_a2a.metrics.endpoint import MetricsEndpoint
from opencode_a2a.metrics.meters import NO_METERS, Meters
from opencode_a2a.metrics.request_metrics import count_request
from opencode_a2a.server.http.dispatch import Dispatch, Invocation
from opencode_a2a.server.http.documents import Documents, Published, only
from opencode_a2a.server.http.payload_log import PayloadLog
from opencode_a2a.server.http.probes import Probes, asks_for_stream, probe_stream
from opencode_a2a.server.http.request_log import log_request
from opencode_a2a.server.http.request_span import begin_request_span, end_request_span, trace_headers
from opencode_a2a.server.http.revocable_stream import SLACK, RevocableStream
from opencode_a2a.server.http.stream_frames import LONG, Frames, frames_of
from opencode_a2a.server.identity.authenticator import Authenticator
from opencode_a2a.server.identity.rate_guard import RateGuard
from opencode_a2a.tracing.spans import NO_TRACER, Tracer, working_for
from sansio import http
from sansio.a2a.bindings.http_messages import Request, Response, json_response, refusal
from sansio.a2a.cards.parse import CARD_PATHS
from sansio.a2a.cards.signatures import JWKS_PATH
from sansio.a2a.errors import ErrorKind, ProtocolError
from sansio.a2a.operations import Operation
from sansio.a2a.server import (
    RPC_PATH,
    STREAM_HEADERS,
    Call,
    CallRefusedError,
    ServedProtocol,
    check_target,
    understand,
)
from sansio.access import Authentication, Identity
from sansio.guards.hosts import ServedHosts
from sansio.guards.origins import NO_ORIGINS, AllowedOrigins, cors_headers
from sansio.guards.proxies import NO_PROXIES, TrustedProxies
from sansio.guards.rate_limits import RequestRates
from sansio.limits import StreamLimits

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Asgi: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


_log = logging.getLogger(__name__)

LINGER = 10.0
"""Seconds for which the rest of a request is awaited where the connection goes on."""

_MUCH = 65536  # bytes; to compress more would hold the loop for a millisecond and longer
_GZIP = 16 + zlib.MAX_WBITS  # the container of zlib's output


@frozen(kw_only=True)
class Surface:
    """The deployment, as the HTTP surface needs to know it.

    `body_limit` and `gzip_minimum`: bytes, 0 for none. `stays_open`: no stream ends where its task asks;
    `stays_open_for`: nor does one with one of these extensions.
    `prefix`: the path of the public URL, without a slash at its end. `rates`: None for no rate limits.
    """

    authenticator: Authenticator
    protocol: ServedProtocol
    body_limit: int
    gzip_minimum: int
    limits: StreamLimits
    started: float
    origins: AllowedOrigins = NO_ORIGINS
    prefix: str = ""
    hosts: ServedHosts = ServedHosts()
    proxies: TrustedProxies = NO_PROXIES
    rates: RequestRates | None = None
    stays_open: bool = False
    stays_open_for: frozenset[str] = frozenset()
    meters: Meters = NO_METERS
    metrics: MetricsEndpoint | None = None
    payloads: PayloadLog | None = None
    tracer: Tracer = NO_TRACER


class ExtensionMethods(Protocol):
    """The methods that an agent has beside the protocol's."""

    async def run(self, name: str, params: object, identity: Identity, version: str) -> bytes:
        """Return the result as JSON. Raises `ProtocolError`, also for a name that there is not."""


@frozen
class Streaming:
    """A response whose body comes as frames.

    `access`: calls its argument where the caller may not read on, while the context lasts. `refused`: the last frame
    then.
    """

    headers: tuple[tuple[str, str], ...]
    frames: AsyncGenerator[Frames]
    closed: Callable[[], None]
    access: Callable[[Callable[[], None]], AbstractContextManager[None]]
    refused: bytes


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
        self._surface = surface
        self._dispatch = dispatch
        self._methods = methods
        self._health = health
        self._guard = RateGuard(surface.authenticator, surface.rates)
        self._documents = Documents(self._guard, surface.started)
        self._probes = Probes(self._guard, unready)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    # --- one request --------------------------------------------------------------------------------------

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = http.header_map(scope["headers"])
        source = self._surface.proxies.source((scope.get("client") or ("",))[0], headers)
        request = Request(
            method=scope["method"],
            path=http.without_prefix(scope["method"], scope["path"], self._surface.prefix or source.prefix),
            query_string=scope["query_string"],
            headers=headers,
            source=source,
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
        try:
            http.check_repeated(scope["headers"], self.authenticator.headers)
            if request.path not in http.PROBE_PATHS:
                self._surface.hosts.check(request.headers.get("host"))
                if request.source.host is not None:
                    self._surface.hosts.check(request.source.host)
            answer = await self._answer(request, receive)
        except _DisconnectedError:
            return
        except Exception as exc:
            error = _as_protocol_error(exc, request)
            challenge = self._surface.authenticator.challenge(request)
            answer = refusal(error, self._surface.protocol.version_for_errors(request), challenge)
        cors = cors_headers(request.headers, self._surface.origins)
        answer = evolve(answer, headers=(*answer.headers, *cors, *request.rate_headers, *trace_headers(request)))
        request.outcome.status = answer.status if isinstance(answer, Response) else 200
        if self._surface.payloads is not None:
            self._surface.payloads.log(request, answer if isinstance(answer, Response) else None)
        if isinstance(answer, Response):
            coding = request.headers.get("accept-encoding")
            answer, in_gzip = http.negotiate_coding(answer, coding, self._surface.gzip_minimum)
            if in_gzip:
                answer = await _in_gzip(answer)
            if request.unread and not multiplexed:
                # the connection cannot be used again, and no client is to send its next request into it
                answer = evolve(answer, headers=(*answer.headers, ("connection", "close")))
            await _write(answer, request.method, send, receive if request.unread and multiplexed else None)
        else:
            await _write_stream(answer, request.method, receive, send, self._surface.limits)

    async def _answer(self, request: Request, receive: Receive) -> Response | Streaming:
        surface = self._surface
        answer = http.answer_before_body(request, surface.origins)
        if answer is not None:
            return answer
        if request.path in http.PROBE_PATHS:
            if asks_for_stream(request):
                return Streaming(STREAM_HEADERS, probe_stream(), _nothing, _everybody, b"")
            return await self._probes.answer(request)
        if request.path in http.DOCUMENT_PATHS:
            self._guard.read(request)
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
        if request.path == RPC_PATH:
            only(request, "POST")
        else:
            check_target(request, surface.protocol)
        if request.method == "POST":
            await _read_body(request, receive, surface.body_limit)
        try:
            call = understand(request, surface.protocol)
        except CallRefusedError as refused:
            request.outcome.error = refused.error
            return refused.response
        request.outcome.label = call.operation.name.lower() if call.operation is not None else "extension"
        try:
            return await self._perform(call, request, caller)
        except Exception as exc:
            return call.refuse(_as_protocol_error(exc, request))

    async def _perform(self, call: Call, request: Request, caller: Authentication) -> Response | Streaming:
        identity = caller.identity
        large = len(request.body) > _MUCH
        if large:
            await anyio.lowlevel.checkpoint()  # to decode it took a while, and to parse it will
        if call.operation is None:
            return call.respond([await self._methods.run(call.method, call.params, identity, call.version)])
        if call.operation is Operation.EXTENDED_CARD:
            card = self.cards.extended(identity, call.version)
            if call.is_rpc:
                return call.respond([card.body])
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
        )
        if call.streams:
            stream, presentation = await self._dispatch.stream(invocation)
            frames = frames_of(stream, presentation, call, self._surface.limits, self._surface.meters)

            def closed() -> None:
                invocation.found(stream.active)  # whose session is chosen while it is read
                stream.close()

            access = partial(self._surface.authenticator.stream, caller)
            refused = call.failure_frame(ProtocolError(ErrorKind.UNAUTHENTICATED))
            return Streaming(call.stream_headers, frames, closed, access, refused)
        if call.operation.row.streaming:  # a notification: nobody reads the stream
            return call.respond(None)
        return call.respond(await self._dispatch.unary(invocation))


def _nothing() -> None:
    """There is nothing to close behind a stream that is no task's."""


def _everybody(_end: Callable[[], None]) -> AbstractContextManager[None]:
    """Let everybody read on."""
    return nullcontext()


def _as_protocol_error(exc: Exception, request: Request) -> ProtocolError:
    """The error to tell: the peer's own, or that we failed, which is for the log alone."""
    error = exc if isinstance(exc, ProtocolError) else ProtocolError(ErrorKind.INTERNAL_ERROR)
    request.outcome.error = error
    if error is not exc:
        _log.error("%s %s", plain(request.method), plain(request.path), exc_info=exc)
    return error


class _DisconnectedError(Exception):
    """The client left before its request was whole."""


async def _read_body(request: Request, receive: Receive, limit: int) -> None:
    http.check_media_type(request)
    chunks: list[bytes] = []
    size = 0
    with anyio.move_on_after(http.BODY_SECONDS) as patience:
        while request.unread or not chunks:
            message = await receive()
            if message["type"] != "http.request":
                raise _DisconnectedError
            request.unread = message.get("more_body", False)
            chunk = message.get("body", b"")
            size += len(chunk)
            if limit and size > limit:
                raise http.too_large(limit)
            chunks.append(chunk)
            if request.unread:
                patience.deadline += len(chunk) / http.BODY_RATE
    if patience.cancelled_caught:
        raise ProtocolError(ErrorKind.REQUEST_TIMEOUT)
    request.body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
    http.check_media_type(request)  # over HTTP/2 a body need not be announced


async def _in_gzip(response: Response) -> Response:
    """The response with its body compressed; much of it in a thread, so that nobody waits for it."""
    if response.length > _MUCH:
        return await anyio.to_thread.run_sync(_gzip, response)
    return _gzip(response)


def _gzip(response: Response) -> Response:
    coder = zlib.compressobj(6, zlib.DEFLATED, _GZIP)
    pieces = [coder.compress(part) for part in _parts(response, _MUCH)]
    return evolve(response, body=b"", more=(*filter(None, pieces), coder.flush()))


def _parts(response: Response, size: int) -> Iterator[bytes]:
    """The body in parts of at most `size` bytes."""
    for piece in (response.body, *response.more):
        if len(piece) <= size:
            yield piece
        else:
            yield from (piece[start : start + size] for start in range(0, len(piece), size))


async def _write(response: Response, method: str, send: Send, unread: Receive | None = None) -> None:
    """Write a whole response. `unread`: the request's body is still on its way, and its end is awaited."""
    bodiless = response.status in (204, 304)
    pairs = [pair for pair in response.headers if not (bodiless and pair[0] == "content-type")]
    headers = [(name.encode(), value.encode("latin-1")) for name, value in pairs]
    if not bodiless:
        headers.append((b"content-length", str(response.length).encode()))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    body = b""
    if not bodiless and method != "HEAD":
        for part in _parts(response, _MUCH):
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


async def _write_stream(
    streaming: Streaming, method: str, receive: Receive, send: Send, limits: StreamLimits
) -> None:
    """Write the frames; the client's leaving ends the reading, nothing else. HEAD gets the headers alone.

    Most streams end soon, so only one that has shown its first sign of life is watched for its client's leaving.
    A client that does not read is cut off by the same limits of time as others. One that may not read on any more
    gets an error as the last frame.
    """
    headers = [(name.encode(), value.encode("latin-1")) for name, value in streaming.headers]
    frames = streaming.frames
    patience = limits.duration + SLACK if limits.duration else None
    stream, plain_send = RevocableStream(), send
    is_whole = False
    try:
        with streaming.access(stream.end), anyio.move_on_after(patience) as scope:
            stream.within(scope)
            send = stream.sending(send)
            if limits.idle:
                send = _impatient(send, limits.idle + SLACK, scope)
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            if method == "HEAD":
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                is_whole = True
            elif not (is_whole := await _write_frames(frames, send, stream, until_idle=True)):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(_cancel_when_gone, receive, tasks.cancel_scope)
                    is_whole = await _write_frames(frames, send, stream, until_idle=False)
                    tasks.cancel_scope.cancel()
        if stream.is_ended and not is_whole and not stream.was_cut:
            with anyio.move_on_after(SLACK):
                await plain_send({"type": "http.response.body", "body": streaming.refused, "more_body": False})
    finally:
        streaming.closed()
        await frames.aclose()


def _impatient(send: Send, seconds: float, stream: anyio.CancelScope) -> Send:
    """`send` that cancels the stream where the client takes longer than that to make room for a message."""

    async def sending(message: MutableMapping[str, Any]) -> None:
        with anyio.move_on_after(seconds) as waiting:
            await send(message)
        if waiting.cancelled_caught:
            stream.cancel()

    return sending


async def _write_frames(
    frames: AsyncGenerator[Frames], send: Send, stream: RevocableStream, *, until_idle: bool
) -> bool:
    """Write to the end of the body (True), or to where the stream is idle for the first time, or is ended (False)."""
    async for piece in frames:
        if stream.is_ended:
            return False
        await send({"type": "http.response.body", "body": piece.data, "more_body": not piece.last})
        if piece.last:
            return True
        if len(piece.data) > LONG:
            await anyio.lowlevel.checkpoint()  # to send need not wait for anything
        if piece.idle and until_idle:
            return False
    await send({"type": "http.response.body", "body": b"", "more_body": False})
    return True


async def _cancel_when_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


async def _lifespan(receive: Receive, send: Send) -> None:
    """The application is opened and closed around the server, so there is nothing to do here."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
