"""The JSON-RPC binding, as it is served."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from attrs import field, frozen

from sansio.a2a.bindings import jsonrpc, sse
from sansio.a2a.bindings import last_event_id as last_event
from sansio.a2a.bindings.extension_headers import negotiated
from sansio.a2a.bindings.http_messages import Request, Response, refusal, retry_headers
from sansio.a2a.codecs.registry import CODECS
from sansio.a2a.dialects import DIALECTS
from sansio.a2a.errors import ErrorKind, ProtocolError, shortened
from sansio.a2a.media_types import JSON
from sansio.a2a.operations import Operation, operation_of
from sansio.a2a.serving.served import CallRefusedError, ServedProtocol
from sansio.a2a.serving.sse_call import STREAM_HEADERS, SseCall, json_response
from sansio.a2a.versions import HEADER as VERSION_HEADER

PATH = "/"
JSON_BODY = True

_Kind = TypeVar("_Kind", bound="RpcCall")


@frozen(kw_only=True)
class RpcCall(SseCall):
    """A call over JSON-RPC. `request_id`: repeated in each answer. `notification`: it has no answer."""

    request_id: jsonrpc.RequestId = None
    notification: bool = False
    prefix: bytes = field(init=False, repr=False)
    suffix: bytes = field(init=False, repr=False, default=jsonrpc.RESULT_SUFFIX)

    @prefix.default
    def _make_prefix(self) -> bytes:
        return jsonrpc.result_prefix(self.request_id)

    def respond(self, result: Sequence[bytes] | None) -> Response:
        """Render a whole answer. `result`: JSON in pieces; None: there is none."""
        if self.notification:
            return _nothing(self.version)
        return json_response([self.prefix, *(result or [b"null"]), self.suffix], JSON, self.headers)

    def refuse(self, error: ProtocolError) -> Response:
        """Render a refusal."""
        if self.notification:
            return self.respond(None)
        body = jsonrpc.render_error(self.request_id, error, self.version)
        if self.streams and self.dialect.errors_in_streams:
            return Response(200, sse.encode(sse.json_data(body)), (*STREAM_HEADERS, (VERSION_HEADER, self.version)))
        return _error(body, self.version, *retry_headers(error))

    def failure_frame(self, error: ProtocolError) -> bytes:
        """Render an error inside a stream: without an id, as nothing was sent that a reader could miss."""
        return b"data: %b\n\n" % sse.json_data(jsonrpc.render_error(self.request_id, error, self.version))


def takes(request: Request) -> bool:
    """Return whether a request is one of JSON-RPC."""
    return request.path == PATH


def check_target(request: Request, _served: ServedProtocol) -> None:
    """Refuse a request by its method, before its body is read. Raises `ProtocolError` (METHOD_NOT_ALLOWED)."""
    if request.method != "POST":
        raise ProtocolError(
            ErrorKind.METHOD_NOT_ALLOWED,
            f"Method {shortened(request.method)} is not allowed here",
            metadata={"allow": "POST"},
        )


def refuse(error: ProtocolError, request: Request, served: ServedProtocol, challenge: str = "") -> Response:
    """Render the refusal of a request that has not been understood. `challenge`: for a caller who is not known."""
    return refusal(error, served.version_of_refusal(request, None), challenge)


def understand(request: Request, served: ServedProtocol) -> RpcCall:
    """Return the call that a request makes. Raises `CallRefusedError`."""
    try:
        envelope = jsonrpc.parse_request(request.body)
    except jsonrpc.RpcRequestError as error:
        version = served.version_of_refusal(request, None)
        body = jsonrpc.render_error(error.request_id, error, version)
        refused = _error(body, version) if error.is_answered else _nothing(version)
        raise CallRefusedError(refused, error) from None
    return call_of(RpcCall, envelope, request, served)


def call_of(kind: type[_Kind], envelope: jsonrpc.RpcRequest, request: Request, served: ServedProtocol) -> _Kind:
    """Return the call of a request whose envelope is read. Raises `CallRefusedError`."""
    request.outcome.operation = envelope.method
    operation, hint = operation_of(envelope.method)
    version = hint or served.version_of_refusal(request, None)
    try:
        version = served.version_of(request, hint)
        served.check_offered(operation)
    except ProtocolError as error:
        refused = _error(jsonrpc.render_error(envelope.id, error, version), version)
        if envelope.notification:
            refused = _nothing(version)
        raise CallRefusedError(refused, error) from None
    if envelope.notification and operation is Operation.STREAM:
        operation = Operation.SEND  # nobody reads the stream
    return kind(
        dialect=DIALECTS[version],
        method=envelope.method,
        operation=operation,
        params=envelope.params if operation is None else operation.rpc_params(envelope.params),
        codec=CODECS[version],
        activated=negotiated(request.headers, served.extensions),
        last_event_id=request.headers.get(last_event.HEADER),
        request_id=envelope.id,
        notification=envelope.notification,
        takes_push=served.takes_push,
    )


def _nothing(version: str) -> Response:
    """Return what HTTP answers to a notification."""
    return Response(204, b"", ((VERSION_HEADER, version),))


def _error(body: bytes, version: str, *headers: tuple[str, str]) -> Response:
    return Response(200, body, (("content-type", JSON), (VERSION_HEADER, version), *headers))
