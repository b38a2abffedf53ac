"""The server side of the protocol: an HTTP request becomes a `Call`, and a call renders whatever answers it.

The counterpart of `sansio.a2a.client`, for both bindings and both versions. Pure: who calls, and what is done, is
decided elsewhere. A request that cannot be understood raises `CallRefusedError`, which holds the finished answer.

    request -> check_target (before the body is read) -> understand -> Call -> respond | stream frames | refuse
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
from attrs import evolve, field, frozen

from sansio.a2a.bindings import jsonrpc, rest, sse
from sansio.a2a.bindings import last_event_id as last_event
from sansio.a2a.bindings.extension_headers import NOTHING, Negotiated, negotiated
from sansio.a2a.bindings.http_messages import Request, Response, refusal
from sansio.a2a.codecs.registry import CODECS, Codec, rest_codec, rest_codec_of, rest_codec_of_task
from sansio.a2a.dialects import DIALECTS, Dialect
from sansio.a2a.errors import A2AError, ErrorKind, ProtocolError, frame_error
from sansio.a2a.media_types import EVENT_STREAM, JSON
from sansio.a2a.model import JsonObject
from sansio.a2a.operations import Operation, operation_of
from sansio.a2a.versions import HEADER as VERSION_HEADER
from sansio.a2a.versions import VERSIONS, negotiate, version_of_errors

RPC_PATH = "/"
STREAM_HEADERS = (
    ("content-type", f"{EVENT_STREAM}; charset=utf-8"),
    ("cache-control", "no-store"),
    ("x-accel-buffering", "no"),
)
_SENDS = (Operation.SEND, Operation.STREAM)
_WITHHELD: Mapping[Operation, ErrorKind] = {
    Operation.EXTENDED_CARD: ErrorKind.EXTENDED_AGENT_CARD_NOT_CONFIGURED,
    Operation.SET_PUSH_CONFIG: ErrorKind.PUSH_NOTIFICATION_NOT_SUPPORTED,
    Operation.GET_PUSH_CONFIG: ErrorKind.PUSH_NOTIFICATION_NOT_SUPPORTED,
    Operation.LIST_PUSH_CONFIGS: ErrorKind.PUSH_NOTIFICATION_NOT_SUPPORTED,
    Operation.DELETE_PUSH_CONFIG: ErrorKind.PUSH_NOTIFICATION_NOT_SUPPORTED,
}
"""The error of an operation that is not offered, where it is not UNSUPPORTED_OPERATION (specification 1.0, 3.3.2)."""
_JOINED = 65536  # bytes of an answer up to which its pieces are joined; to copy more would hold the loop

_PARSERS: Mapping[Operation, Callable[[Codec, object], Any]] = {
    Operation.SEND: lambda codec, params: codec.parse_send(params),
    Operation.STREAM: lambda codec, params: codec.parse_send(params),
    Operation.GET_TASK: lambda codec, params: codec.parse_get_task(params),
    Operation.LIST_TASKS: lambda codec, params: codec.parse_list_tasks(params),
    Operation.CANCEL: lambda codec, params: codec.parse_task_id(params),
    Operation.SUBSCRIBE: lambda codec, params: codec.parse_task_id(params),
    Operation.SET_PUSH_CONFIG: lambda codec, params: codec.parse_push_config_request(params),
    Operation.GET_PUSH_CONFIG: lambda codec, params: codec.parse_push_config_id(params),
    Operation.LIST_PUSH_CONFIGS: lambda codec, params: codec.parse_list_push_configs(params),
    Operation.DELETE_PUSH_CONFIG: lambda codec, params: codec.parse_push_config_id(params, required=True),
}


class CallRefusedError(A2AError):
    """A request that cannot be understood. `response`: the finished refusal; `error`: its reason."""

    def __init__(self, response: Response, error: ProtocolError) -> None:
        super().__init__(error.message)
        self.response = response
        self.error = error


@frozen(kw_only=True)
class ServedProtocol:
    """The protocol as one deployment serves it.

    `versions`: oldest first. `default_version`: of requests that name none. `extensions`: URIs to names. `withheld`:
    the operations that the agent does not offer; without SET_PUSH_CONFIG, a message may not bring a configuration.
    """

    versions: tuple[str, ...] = VERSIONS
    default_version: str = "0.3"
    extensions: Mapping[str, str] = field(factory=dict)
    withheld: frozenset[Operation] = frozenset()

    def check_offered(self, operation: Operation | None) -> None:
        """Refuse an operation that is withheld. Raises `ProtocolError`, whose kind names the missing capability."""
        if operation in self.withheld:
            raise ProtocolError(_WITHHELD.get(operation, ErrorKind.UNSUPPORTED_OPERATION))

    def version_of(self, request: Request, hint: str | None) -> str:
        """Return the version of a request. Raises `ProtocolError` (VERSION_NOT_SUPPORTED)."""
        return negotiate(request.a2a_version, hint=hint, supported=self.versions, default=self.default_version)

    def version_for_errors(self, request: Request) -> str:
        """Return the version in whose shape a request is refused, even where it names one that is not served."""
        hint = None if request.path == RPC_PATH else rest.hint_of(request.path)
        try:
            return self.version_of(request, hint)
        except ProtocolError:
            return version_of_errors(request.a2a_version, hint, self.default_version)


@frozen(kw_only=True)
class Call:
    """A request that was understood: what is asked, and how everything that answers it is written.

    `operation` None: `method` names an extension method. `params`: decoded, not parsed. `codec`: reads the
    params and writes the results. `last_event_id`: the header, as it came. `notification`: it has no answer.
    `takes_push`: a message may bring a push configuration.
    """

    dialect: Dialect
    is_rpc: bool
    method: str
    operation: Operation | None
    params: object
    codec: Codec
    activated: Negotiated = NOTHING
    last_event_id: str | None = None
    request_id: jsonrpc.RequestId = None
    notification: bool = False
    takes_push: bool = True
    frame_prefix: bytes = field(init=False, repr=False)
    frame_suffix: bytes = field(init=False, repr=False)

    @frame_prefix.default
    def _make_frame_prefix(self) -> bytes:
        return jsonrpc.result_prefix(self.request_id) if self.is_rpc else b""

    @frame_suffix.default
    def _make_frame_suffix(self) -> bytes:
        return jsonrpc.RESULT_SUFFIX if self.is_rpc else b""

    @property
    def version(self) -> str:
        """The protocol version, such as `1.0`."""
        return self.dialect.version

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """The headers of every answer but a refusal: the version, and the extensions that are activated."""
        version = ((VERSION_HEADER, self.version),)
        return version if self.operation is None else (*version, *self.activated.headers)

    @property
    def streams(self) -> bool:
        """Whether the answer is a stream."""
        return self.operation is not None and self.operation.row.streaming and not self.notification

    # --- what is asked ------------------------------------------------------------------------------------

    def read(self) -> Any:
        """Parse the params into the typed request of the operation. Raises `ProtocolError` by field.

        A message over HTTP+JSON records the codec that it came in: later answers about its task use the same.
        """
        assert self.operation is not None
        request = _PARSERS[self.operation](self.codec, self.params)
        if self.operation in _SENDS and not self.takes_push and request.configuration.push is not None:
            raise ProtocolError(ErrorKind.PUSH_NOTIFICATION_NOT_SUPPORTED)
        if self.operation in _SENDS and not self.is_rpc:
            return evolve(request, codec_name=self.codec.NAME)
        return request

    def cursor(self, metadata: JsonObject | None) -> int | None:
        """Return the number of the last event that the reader of a stream has. Raises `ProtocolError`."""
        return last_event.cursor_in(self.last_event_id, metadata)

    def codec_of(self, kept: str | None) -> Codec:
        """Return the codec that answers about a task. `kept`: the one its message came in over HTTP+JSON."""
        return self.codec if self.is_rpc else rest_codec_of_task(self.version, kept)

    # --- how it is answered -------------------------------------------------------------------------------

    def respond(self, result: Sequence[bytes] | None) -> Response:
        """Render a whole answer. `result`: JSON in pieces; None: there is none."""
        if self.notification:
            return Response(204, b"", ((VERSION_HEADER, self.version),))
        if self.is_rpc:
            return _json_response([self.frame_prefix, *(result or [b"null"]), self.frame_suffix], JSON, self.headers)
        if result is None:
            return Response(204, b"", self.headers)
        return _json_response(result, self.dialect.media_type, self.headers)

    def refuse(self, error: ProtocolError) -> Response:
        """Render a refusal."""
        if not self.is_rpc:
            return refusal(error, self.version)
        if self.notification:
            return self.respond(None)
        body = jsonrpc.render_error(self.request_id, error, self.version)
        if self.streams and self.dialect.errors_in_streams:
            return Response(200, sse.encode(sse.json_data(body)), (*STREAM_HEADERS, (VERSION_HEADER, self.version)))
        return _rpc_error(body, self.version)

    @property
    def stream_headers(self) -> tuple[tuple[str, str], ...]:
        """The headers of a stream."""
        return (*STREAM_HEADERS, *self.headers)

    def frame(self, number: int, json: bytes) -> bytes:
        """Render one event of a stream. `json`: a stream item, as one line."""
        return b"id: %d\ndata: %b%b%b\n\n" % (number, self.frame_prefix, json, self.frame_suffix)

    def failure_frame(self, error: ProtocolError) -> bytes:
        """Render an error inside a stream: without an id, as nothing was sent that a reader could miss."""
        if self.is_rpc:
            body = jsonrpc.render_error(self.request_id, error, self.version)
        else:
            body = orjson.dumps(frame_error(error, self.version))
        return b"data: %b\n\n" % sse.json_data(body)


def check_target(request: Request, served: ServedProtocol) -> None:
    """Refuse an HTTP+JSON request by its method, path and version, before its body is read.

    Raises `ProtocolError`: NOT_FOUND, METHOD_NOT_ALLOWED, VERSION_NOT_SUPPORTED.
    """
    served.version_of(request, _route(request).hint)


def understand(request: Request, served: ServedProtocol) -> Call:
    """Return the call that a request makes. Raises `CallRefusedError`."""
    return _understand_rpc(request, served) if request.path == RPC_PATH else _understand_rest(request, served)


def _understand_rpc(request: Request, served: ServedProtocol) -> Call:
    version = served.version_for_errors(request)
    request_id: jsonrpc.RequestId = None
    notification = False
    try:
        envelope = jsonrpc.parse_request(request.body)
        request.outcome.operation = envelope.method
        request_id, notification = envelope.id, envelope.notification
        operation, hint = operation_of(envelope.method)
        version = hint or version
        version = served.version_of(request, hint)
        served.check_offered(operation)
    except ProtocolError as error:
        if notification:
            raise CallRefusedError(Response(204, b"", ((VERSION_HEADER, version),)), error) from None
        if isinstance(error, jsonrpc.RpcRequestError):
            request_id = error.request_id
        refused = _rpc_error(jsonrpc.render_error(request_id, error, version), version)
        raise CallRefusedError(refused, error) from None
    if notification and operation is Operation.STREAM:
        operation = Operation.SEND  # nobody reads the stream
    return Call(
        dialect=DIALECTS[version],
        is_rpc=True,
        method=envelope.method,
        operation=operation,
        params=envelope.params if operation is None else operation.rpc_params(envelope.params),
        codec=CODECS[version],
        activated=negotiated(request.headers, served.extensions),
        last_event_id=request.headers.get(last_event.HEADER),
        request_id=request_id,
        notification=notification,
        takes_push=Operation.SET_PUSH_CONFIG not in served.withheld,
    )


def _understand_rest(request: Request, served: ServedProtocol) -> Call:
    version = served.version_for_errors(request)
    try:
        route = _route(request)
        operation = route.operation
        version = served.version_of(request, route.hint)
        request.outcome.operation = operation.name
        served.check_offered(operation)
        params = rest.params_of(route, version, request.parameters, request.body)
    except ProtocolError as error:
        raise CallRefusedError(refusal(error, version), error) from None
    return Call(
        dialect=DIALECTS[version],
        is_rpc=False,
        method=operation.name,
        operation=operation,
        params=params,
        codec=rest_codec(version, params) if operation in _SENDS else rest_codec_of(operation, version),
        activated=negotiated(request.headers, served.extensions),
        last_event_id=request.headers.get(last_event.HEADER),
        takes_push=Operation.SET_PUSH_CONFIG not in served.withheld,
    )


def _route(request: Request) -> rest.Route:
    return rest.route("GET" if request.method == "HEAD" else request.method, request.path)


def _json_response(pieces: Sequence[bytes], media_type: str, headers: tuple[tuple[str, str], ...]) -> Response:
    headers = (("content-type", media_type), *headers)
    if sum(map(len, pieces)) <= _JOINED:
        return Response(200, b"".join(pieces), headers)
    return Response(200, b"", headers, tuple(pieces))


def _rpc_error(body: bytes, version: str) -> Response:
    return Response(200, body, (("content-type", JSON), (VERSION_HEADER, version)))
