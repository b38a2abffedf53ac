"""The gRPC binding, as it is served. Needs the library `protobuf`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

import orjson
from attrs import Factory, field, frozen

from sansio.a2a.bindings import grpc
from sansio.a2a.bindings import last_event_id as last_event
from sansio.a2a.bindings.extension_headers import negotiated
from sansio.a2a.bindings.http_messages import Request, Response, challenge_headers, retry_headers
from sansio.a2a.bindings.json_output import SLICE, Steps
from sansio.a2a.codecs.registry import GRPC_CODECS
from sansio.a2a.dialects import DIALECTS, Dialect
from sansio.a2a.errors import ErrorKind, ProtocolError, details, invalid, shortened
from sansio.a2a.model import ArtifactUpdate, JsonObject, StreamItem, TaskPage
from sansio.a2a.protobuf import cards_0_3
from sansio.a2a.protobuf.conversion import json_of, message_of, status_message
from sansio.a2a.protobuf.counting import check_values
from sansio.a2a.protobuf.messages import RPCS, STATUS, Rpc
from sansio.a2a.protobuf.pieces import encoded_pieces, field_class, field_pieces
from sansio.a2a.protobuf.text_pieces import TextPieces
from sansio.a2a.serving.call import Call
from sansio.a2a.serving.served import CallRefusedError, ServedProtocol
from sansio.a2a.tasks.presentation import TASKS_AT_ONCE, Presentation

JSON_BODY = False
_RESOURCES: Final = frozenset({"name", "parent"})  # fields of version 0.3 that name a task, or what belongs to one
_LONGEST_MESSAGE: Final = 300  # characters, each up to twelve in a header
_LONGEST_STATUS: Final = 4000  # bytes: clients take headers of 8 kB together
_POST: Final = "POST"
_TASKS: Final = "tasks"  # the field of a page, and the collection that the names of version 0.3 begin with


@frozen(kw_only=True)
class GrpcCall(Call):
    """A call over gRPC."""

    rpc: Rpc
    pieces: TextPieces = field(
        init=False, repr=False, eq=False, default=Factory(lambda self: TextPieces(self.rpc.answer), takes_self=True)
    )
    encoding: ClassVar[str] = "protobuf"
    keep_alive: ClassVar[bytes] = b""

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """The headers of every answer but a refusal."""
        return (*grpc.HEADERS, *super().headers)

    @property
    def stream_headers(self) -> tuple[tuple[str, str], ...]:
        """The headers of a stream."""
        return self.headers

    def result(self, value: JsonObject) -> Steps[list[bytes]]:
        """Encode the result of an operation as a message, in steps and pieces."""
        return encoded_pieces(self.rpc.answer, value)

    def page(self, page: TaskPage, presentation: Presentation, *, artifacts: bool) -> Steps[list[bytes]]:
        """Encode a page of tasks as a message, with or without their artifacts, in steps and pieces."""
        answer = self.rpc.answer
        task_class = field_class(answer, _TASKS)
        made, pieces = 0, [message_of(answer, presentation.rest_of(page)).SerializeToString()]
        for number, task in enumerate(presentation.tasks_of(page, artifacts=artifacts), 1):
            encoded = yield from encoded_pieces(task_class, task)
            pieces += field_pieces(answer, _TASKS, encoded)
            made += sum(map(len, encoded))
            if made > SLICE or number % TASKS_AT_ONCE == 0:
                made = 0
                yield
        return pieces

    def respond(self, result: Sequence[bytes] | None) -> Response:
        """Render a whole answer. `result`: a message in pieces; None: there is none."""
        body, *more = grpc.framed_pieces([b""] if result is None else result)
        return Response(200, body, self.headers, tuple(more), trailers=grpc.OK)

    def respond_card(self, card: bytes) -> Response:
        """Render an answer that is a card, as JSON."""
        value = orjson.loads(card)
        if not self.dialect.has_error_details:
            value = cards_0_3.in_message(value)
        return self.respond([message_of(self.rpc.answer, value).SerializeToString()])

    def refuse(self, error: ProtocolError) -> Response:
        """Render a refusal."""
        return Response(200, b"", (*self.headers, *retry_headers(error)), trailers=trailers(error, self.dialect))

    def encode(self, item: StreamItem, number: int, presentation: Presentation) -> bytes:
        """Encode an item of a stream for any number of readers: as a message with its length."""
        text = presentation.text_alone(item)
        if text is None or not isinstance(item, ArtifactUpdate):
            return self._framed(presentation.item(item, number))
        return grpc.framed(self.pieces.encoded(item, text, presentation))

    def frame(self, number: int, encoded: bytes) -> bytes:
        """Render one event of a stream. `encoded`: a stream item, by `encode`."""
        return encoded

    def frame_in_steps(self, number: int, item: JsonObject) -> Steps[list[bytes]]:
        """Render one event of a stream, which may be large, in steps and pieces, one at least."""
        return grpc.framed_pieces((yield from encoded_pieces(self.rpc.answer, item)))

    def failure_frame(self, error: ProtocolError) -> bytes:
        """Return nothing: an error is in the trailers."""
        return b""

    def comment(self, text: str) -> bytes:
        """Return nothing: there are no comments."""
        return b""

    def trailers(self, failure: ProtocolError | None) -> tuple[tuple[str, str], ...] | None:
        """Return what ends a stream. `failure`: why it ends before its task does; None: nothing is wrong."""
        return ending(failure, self.dialect)

    def _framed(self, value: JsonObject) -> bytes:
        return grpc.framed(message_of(self.rpc.answer, value).SerializeToString())


def ending(failure: ProtocolError | None, dialect: Dialect | None = None) -> tuple[tuple[str, str], ...]:
    """Return the trailers that end a stream. `failure`: why it ends early; None: nothing is wrong."""
    return grpc.OK if failure is None else trailers(failure, dialect)


def trailers(error: ProtocolError, dialect: Dialect | None = None) -> tuple[tuple[str, str], ...]:
    """Return the trailers of an error: its code, its message, and its details as a `google.rpc.Status`.

    Clients take so much and no more: where the details are longer, the reason is the only one. On version 0.3 the
    message begins with the error's name, as the official servers of that version have it and their clients read it.
    """
    code, message = error.row.grpc, error.message
    if dialect is not None and dialect.names_errors and error.row.name is not None:
        message = f"{error.row.name}: {message}"
    message = shortened(message, _LONGEST_MESSAGE)
    value: JsonObject = {"code": grpc.CODES[code], "message": message, "details": details(error)}
    status = status_message(STATUS, value).SerializeToString()
    if len(status) > _LONGEST_STATUS:
        value["details"] = [one for one in value["details"] if "reason" in one]
        status = status_message(STATUS, value).SerializeToString()
    return grpc.trailers(code, message, status)


def takes(request: Request) -> bool:
    """Return whether a request is one of gRPC, and the answer may have trailers."""
    return request.takes_trailers and grpc.is_grpc(request.headers)


def check_target(request: Request, served: ServedProtocol) -> None:
    """Refuse a request by its method, path and version, before its body is read.

    Raises `ProtocolError`: METHOD_NOT_FOUND, METHOD_NOT_ALLOWED, VERSION_NOT_SUPPORTED.
    """
    _rpc(request, served)
    grpc.timeout(request.headers)


def check_message(request: Request, served: ServedProtocol) -> Steps[None]:
    """Refuse a message of too many values, in steps: it is parsed in one. Raises `CallRefusedError`."""
    try:
        rpc = _rpc(request, served)
        request.outcome.operation = rpc.operation.name
        yield from check_values(rpc.request, grpc.message_in(request.body))
    except ProtocolError as error:
        raise CallRefusedError(refuse(error, request, served), error) from None


def understand(request: Request, served: ServedProtocol) -> GrpcCall:
    """Return the call that a request makes. Raises `CallRefusedError`."""
    try:
        rpc = _rpc(request, served)
        request.outcome.operation = rpc.operation.name
        served.check_offered(rpc.operation)
        timeout = grpc.timeout(request.headers)
        params = json_of(rpc.request, grpc.message_in(request.body))
        dialect = DIALECTS[rpc.version]
        params = params if dialect.has_tenants else _without_resources(params, rpc)
    except ProtocolError as error:
        raise CallRefusedError(refuse(error, request, served), error) from None
    return GrpcCall(
        dialect=dialect,
        method=rpc.operation.name,
        operation=rpc.operation,
        params=params,
        codec=GRPC_CODECS[rpc.version],
        activated=negotiated(request.headers, served.extensions),
        last_event_id=request.headers.get(last_event.HEADER),
        takes_push=served.takes_push,
        timeout=timeout,
        rpc=rpc,
    )


def refuse(error: ProtocolError, request: Request, _served: ServedProtocol, challenge: str = "") -> Response:
    """Render the refusal of a request that has not been understood. `challenge`: for a caller who is not known.

    One that is no POST is no call, and has the status of HTTP that says so beside that of gRPC.
    """
    rpc = RPCS.get(request.path)
    dialect = None if rpc is None else DIALECTS[rpc.version]
    is_no_call = error.kind is ErrorKind.METHOD_NOT_ALLOWED
    headers = (
        *grpc.HEADERS,
        *((("allow", _POST),) if is_no_call else ()),
        *challenge_headers(error, challenge),
        *retry_headers(error),
    )
    return Response(error.row.http if is_no_call else 200, b"", headers, trailers=trailers(error, dialect))


def _rpc(request: Request, served: ServedProtocol) -> Rpc:
    if request.method != _POST:
        raise ProtocolError(ErrorKind.METHOD_NOT_ALLOWED, "A call of gRPC is a POST", metadata={"allow": _POST})
    rpc = RPCS.get(request.path)
    if rpc is None or rpc.version not in served.versions:
        raise ProtocolError(ErrorKind.METHOD_NOT_FOUND, f"There is no method {shortened(request.path)}")
    served.version_of(request, rpc.version)
    return rpc


def _without_resources(params: JsonObject, rpc: Rpc) -> JsonObject:
    """Return the parameters of version 0.3 with the ids that the names of its resources hold.

    `tasks/T/pushNotificationConfigs/C` is what the operation has as its path over HTTP+JSON. Raises `ProtocolError`:
    INVALID_PARAMS, which names the field that the client has, for a name that holds no id.
    """
    found = dict(params)
    for resource in _RESOURCES.intersection(rpc.request.DESCRIPTOR.fields_by_name):
        collection, *ids = str(found.pop(resource, "")).split("/")
        if collection != _TASKS or not any(ids[:1]):
            raise invalid(
                (resource,), "has the form tasks/ID, and more behind it where it names a push configuration"
            )
        found |= zip(rpc.operation.row.ids[rpc.version], ids[::2], strict=False)
    return found
