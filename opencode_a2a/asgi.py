"""The HTTP surface as an ASGI application: reads a request, passes the guards, asks the service, writes the answer.

No framework. What is decided is decided in ``sansio``: routes, versions, wire forms and errors are tables and
pure functions there.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from contextlib import aclosing
from email.utils import formatdate
from typing import Any, TypeAlias

import anyio
import orjson
from attrs import evolve, frozen

from sansio import http
from sansio.a2a import jsonrpc, rest, sse
from sansio.a2a.card import CardDocument, matches
from sansio.a2a.errors import ErrorKind, ProtocolError
from sansio.a2a.log import Entry
from sansio.a2a.model import JsonObject, Task
from sansio.a2a.operations import Operation, operation_of
from sansio.a2a.versions import negotiate
from sansio.a2a.wire import FORMS, WireForm, rest_form, rest_form_of_task
from sansio.access import CredentialSet
from sansio.http import Request, Response
from sansio.opencode.projections import with_answer_as_message

from .service import OpenStream, Service

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_log = logging.getLogger(__name__)

CARD_PATHS = frozenset({"/.well-known/agent-card.json", "/.well-known/agent.json"})
_LINGER = 1.0  # seconds for which the rest of a request that was refused is thrown away
_STREAM_HEADERS = (
    ("content-type", "text/event-stream; charset=utf-8"),
    ("cache-control", "no-store"),
    ("x-accel-buffering", "no"),
)


@frozen(kw_only=True)
class Surface:
    """What the HTTP surface needs to know of its deployment. ``body_limit``: bytes, 0 for none."""

    credentials: CredentialSet
    lines: tuple[str, ...]
    default_line: str
    body_limit: int
    started: float


@frozen
class Frames:
    """A piece of a stream. ``idle``: it only shows that the stream lives; ``last``: nothing follows."""

    data: bytes
    idle: bool = False
    last: bool = False


@frozen
class Streaming:
    """A response whose body comes as frames."""

    headers: tuple[tuple[str, str], ...]
    frames: AsyncGenerator[Frames]
    closed: Callable[[], None]


class Application:
    """The ASGI application."""

    def __init__(
        self,
        surface: Surface,
        service: Service,
        card: CardDocument,
        health: Callable[[], dict[str, object]],
    ) -> None:
        self.card = card
        self._surface = surface
        self._service = service
        self._health = health
        self._challenge = surface.credentials.challenge()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    # --- one request --------------------------------------------------------------------------------------

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(
            method=scope["method"],
            path=scope["path"],
            query_string=scope["query_string"],
            headers=http.header_map(scope["headers"]),
        )
        try:
            answer = await self._answer(request, receive)
        except _Disconnected:
            return
        except Exception as exc:
            error = _as_told(exc, request)
            answer = http.refusal(error, self._line_for_errors(request), self._challenge)
        if isinstance(answer, Response):
            unread = scope["http_version"].startswith("1") and request.unread
            if unread:
                # the connection cannot be used again: said, so that no client sends its next request into it
                answer = evolve(answer, headers=(*answer.headers, ("connection", "close")))
            await _write(answer, request.method, send, receive if unread else None)
        else:
            await _write_stream(answer, receive, send)

    async def _answer(self, request: Request, receive: Receive) -> Response | Streaming:
        surface = self._surface
        if request.path in CARD_PATHS:
            return self._card(request)
        http.check_length(request.headers, surface.body_limit)
        identity = http.authenticate(surface.credentials, request.headers)
        if request.path == "/health":
            _only(request, "GET", "HEAD")
            return http.json_response(200, self._health())
        if request.path == "/":
            _only(request, "POST")
            await _read_body(request, receive, surface.body_limit)
            return await self._rpc(request, identity.principal)
        route = rest.route("GET" if request.method == "HEAD" else request.method, request.path)
        line = self._negotiate(request, route.hint)
        if request.method == "POST":
            await _read_body(request, receive, surface.body_limit)
        return await self._rest(request, route, line, identity.principal)

    def _negotiate(self, request: Request, hint: str | None) -> str:
        surface = self._surface
        return negotiate(request.a2a_version, hint=hint, supported=surface.lines, default=surface.default_line)

    def _line_for_errors(self, request: Request) -> str:
        """The line whose shape an error takes where the request's own could not be settled."""
        hint = "1.0" if request.path != "/" and not request.path.startswith("/v1/") else None
        try:
            return self._negotiate(request, hint)
        except ProtocolError:
            return hint or self._surface.default_line

    # --- JSON-RPC -----------------------------------------------------------------------------------------

    async def _rpc(self, request: Request, principal: str) -> Response | Streaming:
        line = self._line_for_errors(request)
        request_id: jsonrpc.RequestId = None
        notification = streaming = False
        try:
            call = jsonrpc.parse_request(request.body)
            request_id, notification = call.id, call.notification
            operation, hint = operation_of(call.method)
            line = self._negotiate(request, hint)
            if operation is None:
                raise jsonrpc.method_not_found(call.method, line)
            form = FORMS[line]
            streaming = operation.row.streaming
            if streaming and not notification:
                stream = await self._service.stream(principal, form.parse_send(call.params))
                return self._streaming(stream, form, jsonrpc.result_prefix(call.id), jsonrpc.RESULT_SUFFIX)
            result = await self._unary(operation, form, call.params, principal, wait=not notification)
        except Exception as exc:
            if notification:
                return Response(204, b"", (("a2a-version", line),))
            if isinstance(exc, jsonrpc.RpcFault):
                request_id = exc.request_id
            error = jsonrpc.render_error(request_id, _as_told(exc, request), line)
            if streaming and line == "0.3":
                # that line's clients look for the error in the stream they asked for
                return Response(200, sse.encode(sse.json_data(error)), (*_STREAM_HEADERS, ("a2a-version", line)))
            return self._rpc_response(error, line)
        if notification:
            return Response(204, b"", (("a2a-version", line),))
        return self._rpc_response(jsonrpc.render_result(request_id, result), line)

    def _rpc_response(self, body: bytes, line: str) -> Response:
        return Response(200, body, (("content-type", http.JSON), ("a2a-version", line)))

    # --- HTTP+JSON ----------------------------------------------------------------------------------------

    async def _rest(self, request: Request, route: rest.Route, line: str, principal: str) -> Response | Streaming:
        if route.operation is Operation.GET_TASK:
            asked = FORMS[line].parse_get_task({**request.query, "id": route.id})
            found = await self._service.get_task(principal, asked)
            form = rest_form_of_task(line, found.form)
            return http.json_response(200, form.render_task(_for_line(found.task, line)), ("a2a-version", line))
        body = _parse_json(request.body)
        form = rest_form(line, body)
        message = evolve(form.parse_send(body), form=form.NAME)
        if route.operation.row.streaming:
            return self._streaming(await self._service.stream(principal, message), form, b"", b"")
        task = _for_line(await self._service.send(principal, message), line)
        return http.json_response(200, form.render_send_result(task), ("a2a-version", line))

    # --- both ---------------------------------------------------------------------------------------------

    async def _unary(
        self, operation: Operation, form: WireForm, params: object, principal: str, *, wait: bool = True
    ) -> JsonObject:
        """The result of a JSON-RPC operation that answers once; without ``wait`` nobody reads it."""
        if operation is Operation.GET_TASK:
            found = await self._service.get_task(principal, form.parse_get_task(params))
            return form.render_task(_for_line(found.task, form.LINE))
        asked = form.parse_send(params)
        if not wait:
            asked = evolve(asked, configuration=evolve(asked.configuration, blocking=False))
        task = await self._service.send(principal, asked)
        return form.render_send_result(_for_line(task, form.LINE))

    def _streaming(self, stream: OpenStream, form: WireForm, prefix: bytes, suffix: bytes) -> Streaming:
        headers = (*_STREAM_HEADERS, ("a2a-version", form.LINE))
        return Streaming(headers, self._frames(stream, form, prefix, suffix), self._service.stream_closed)

    async def _frames(
        self, stream: OpenStream, form: WireForm, prefix: bytes, suffix: bytes
    ) -> AsyncGenerator[Frames]:
        """The task as it is, then everything after it; what is ready together is one piece of bytes."""
        live = stream.live
        await self._service.told(live)
        first = sse.json_data(orjson.dumps(form.render_item(stream.task)))
        ready = _frame(stream.cursor, prefix, first, suffix)
        if live.visible == stream.cursor:
            yield Frames(ready)
            ready = b""
        async with aclosing(live.read(stream.cursor)) as batches:
            async for entries in batches:
                ready += b"".join(
                    _frame(entry.number, prefix, _wire(entry, form), suffix)
                    for entry in entries
                    if entry.item is not None
                )
                yield Frames(ready or sse.COMMENT, idle=not entries, last=live.over)
                ready = b""

    # --- the card -----------------------------------------------------------------------------------------

    def _card(self, request: Request) -> Response:
        _only(request, "GET", "HEAD")
        card = self.card
        headers = (
            ("etag", card.etag),
            ("cache-control", "public, max-age=300"),
            ("last-modified", formatdate(self._surface.started, usegmt=True)),
        )
        if matches(request.headers.get("if-none-match"), card.etag):
            return Response(304, b"", headers)
        return Response(200, card.body, (("content-type", http.JSON), *headers))


def _frame(number: int, prefix: bytes, json: bytes, suffix: bytes) -> bytes:
    """``sse.encode`` for what is known to be one line: it need not be looked through again."""
    return b"id: %d\ndata: %b%b%b\n\n" % (number, prefix, json, suffix)


def _wire(entry: Entry, form: WireForm) -> bytes:
    """The item as JSON of a wire form, rendered for the first reader who asks."""
    rendered = entry.wire.get(form.NAME)
    if rendered is None:
        assert entry.item is not None  # callers leave out what readers do not see
        rendered = entry.wire[form.NAME] = sse.json_data(orjson.dumps(form.render_item(entry.item)))
    return rendered


def _for_line(task: Task, line: str) -> Task:
    return with_answer_as_message(task) if line == "0.3" else task


def _as_told(exc: Exception, request: Request) -> ProtocolError:
    """The error to tell: the peer's own, or that we failed, which is for the log alone."""
    if isinstance(exc, ProtocolError):
        return exc
    _log.error("%s %s", request.method, request.path, exc_info=exc)
    return ProtocolError(ErrorKind.INTERNAL_ERROR)


class _Disconnected(Exception):
    """The client left before its request was whole."""


def _only(request: Request, *methods: str) -> None:
    if request.method not in methods:
        raise ProtocolError(
            ErrorKind.METHOD_NOT_ALLOWED,
            f"Method {request.method} is not allowed here",
            metadata={"allow": ", ".join(methods)},
        )


def _parse_json(body: bytes) -> object:
    try:
        value: object = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise ProtocolError(ErrorKind.PARSE_ERROR, f"Invalid JSON payload: {exc}") from None
    return value


async def _read_body(request: Request, receive: Receive, limit: int) -> None:
    chunks: list[bytes] = []
    size = 0
    while request.unread or not chunks:
        message = await receive()
        if message["type"] != "http.request":
            raise _Disconnected
        request.unread = message.get("more_body", False)
        chunk = message.get("body", b"")
        size += len(chunk)
        if limit and size > limit:
            raise http.too_large(limit)
        chunks.append(chunk)
    request.body = chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def _write(response: Response, method: str, send: Send, unread: Receive | None = None) -> None:
    """Write a whole response. ``unread``: the request's body is still on its way.

    To close a connection on bytes that nobody has read resets it, and the client may lose the answer: so what
    comes is thrown away for a while before the answer ends.
    """
    headers = [(name.encode(), value.encode("latin-1")) for name, value in response.headers]
    if response.status not in (204, 304):
        headers.append((b"content-length", str(len(response.body)).encode()))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    body = b"" if method == "HEAD" else response.body
    if unread is not None:
        await send({"type": "http.response.body", "body": body, "more_body": True})
        with anyio.move_on_after(_LINGER):
            while (await unread()).get("more_body", False):
                pass
        body = b""
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _write_stream(streaming: Streaming, receive: Receive, send: Send) -> None:
    """Write the frames; the client's leaving ends the reading, nothing else.

    Most streams end soon, so only one that has shown its first sign of life is watched for its client's leaving.
    """
    headers = [(name.encode(), value.encode("latin-1")) for name, value in streaming.headers]
    frames = streaming.frames
    try:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if not await _write_frames(frames, send, until_idle=True):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_cancel_when_gone, receive, tasks.cancel_scope)
                await _write_frames(frames, send, until_idle=False)
                tasks.cancel_scope.cancel()
    finally:
        streaming.closed()
        await frames.aclose()


async def _write_frames(frames: AsyncGenerator[Frames], send: Send, *, until_idle: bool) -> bool:
    """Write to the end of the body, which is told by True, or to the first sign that the stream is idle."""
    async for piece in frames:
        await send({"type": "http.response.body", "body": piece.data, "more_body": not piece.last})
        if piece.last:
            return True
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
