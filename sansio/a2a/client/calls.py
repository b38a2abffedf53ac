"""The client side of the protocol: operations as HTTP requests, and the agent's answers as values of the model.

All bindings, both versions. Pure: it sends nothing and knows no credentials. Two errors leave this module:
`AgentError` for an agent's refusal, `InvalidAnswerError` for an answer that is not valid. An answer over gRPC is read
here without its frame and its status, which `grpc_answers` reads.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

import orjson
from attrs import define, evolve, frozen

from sansio.a2a.bindings.extension_headers import HEADER_OF as EXTENSION_HEADERS
from sansio.a2a.bindings.last_event_id import HEADER as RESUME_HEADER
from sansio.a2a.bindings.sse import SseDecoder
from sansio.a2a.cards.parse import GRPC, JSONRPC, WEBSOCKET, Interface
from sansio.a2a.client.agent_errors import agent_error, fault_in
from sansio.a2a.client.client_errors import AgentError, InvalidAnswerError
from sansio.a2a.codecs.json_values import integer_at, member, text_at
from sansio.a2a.codecs.registry import CODECS, GRPC_CODECS, Codec, rest_codec_of
from sansio.a2a.dialects import DIALECTS
from sansio.a2a.errors import ErrorKind, ProtocolError
from sansio.a2a.media_types import EVENT_STREAM, JSON
from sansio.a2a.model import (
    GetTaskRequest,
    JsonObject,
    ListPushConfigsRequest,
    ListTasksRequest,
    Message,
    PushConfig,
    PushConfigId,
    PushConfigPage,
    SendRequest,
    StatusUpdate,
    StreamItem,
    Task,
    TaskIdRequest,
    TaskPage,
)
from sansio.a2a.operations import Operation
from sansio.a2a.tasks.shared_metadata import PUSH_INTERRUPTS_URI
from sansio.a2a.versions import HEADER

if TYPE_CHECKING:
    from sansio.a2a.client.grpc_answers import GrpcDecoder

__all__ = [
    "AgentError",
    "HttpCall",
    "Request",
    "StreamReader",
    "decoded",
    "extensions_of",
    "operation_call",
    "read_answer",
    "read_card_answer",
    "read_deletion",
    "read_page_answer",
    "read_push_config_answer",
    "read_push_configs_answer",
    "read_task_answer",
    "send_call",
    "to_json",
]

T = TypeVar("T")

MOST_VALUES: Final = 1_000_000
"""Objects and lists of an answer: an empty one takes thirty times the memory of its two bytes."""

_RPC: Final = (JSONRPC, WEBSOCKET)
"""The bindings whose messages are those of JSON-RPC."""

_SLOTS: Final = re.compile(r"\{[a-z_]+\}")


@frozen(kw_only=True)
class HttpCall:
    """One HTTP request to be made. `streaming`: the answer is expected to be a stream.

    `grpc`: it goes over HTTP/2 alone, and the status of its answer is in the trailers. `message_id`: the body is a
    message with this id, on the WebSocket connection that begins at `url`; empty: it is none.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None = None
    streaming: bool = False
    grpc: bool = False
    message_id: str = ""


def to_json(value: object) -> bytes:
    """Render compact JSON. Raises `ProtocolError` for a value that JSON cannot hold, such as one nested too deep."""
    try:
        return orjson.dumps(value)
    except TypeError:
        raise ProtocolError(ErrorKind.INVALID_REQUEST, "A value cannot be written as JSON") from None


# --- requests ---------------------------------------------------------------------------------------------

Request: TypeAlias = (
    SendRequest
    | GetTaskRequest
    | ListTasksRequest
    | TaskIdRequest
    | PushConfig
    | PushConfigId
    | ListPushConfigsRequest
    | None
)
"""The parameters of an operation; an extended card has none."""

_WITHOUT_BODY: Final = frozenset({Operation.SUBSCRIBE})
"""Operations that are a POST without a body: the proto files have them as GET."""


def extensions_of(request: Request) -> Sequence[str]:
    """Return the URIs of the extensions without which an agent would not do what a request says."""
    if isinstance(request, SendRequest | PushConfig | PushConfigId | ListPushConfigsRequest):
        return (PUSH_INTERRUPTS_URI,) if request.interrupts_only else ()
    return ()


def operation_call(
    interface: Interface,
    operation: Operation,
    request: Request = None,
    *,
    request_id: str,
    extensions: Sequence[str] = (),
    last_event_id: str = "",
    timeout: float | None = None,
) -> HttpCall:
    """Make the HTTP request of an operation.

    `request_id` is JSON-RPC's. `extensions`: the URIs of those to activate, beside those of `extensions_of`.
    `last_event_id`: of the event after which a subscription begins; empty: now. `timeout`: seconds until the whole
    answer is of no use, which gRPC alone sends.
    Raises `ProtocolError` for a value that JSON cannot hold, `UnsupportedError` for an operation that the interface
    cannot have.
    """
    if interface.binding == GRPC:
        call = _grpc(interface, operation, request, timeout)
    else:
        call = (_rpc if interface.binding in _RPC else _rest)(interface, operation, request, request_id)
    headers = dict(call.headers)
    extensions = tuple(dict.fromkeys((*extensions, *extensions_of(request))))
    if extensions:
        headers[EXTENSION_HEADERS[interface.version]] = ", ".join(extensions)
    if last_event_id and last_event_id.isprintable() and last_event_id.isascii():
        headers[RESUME_HEADER] = last_event_id
    return evolve(call, headers=headers) if len(headers) > len(call.headers) else call


def send_call(
    interface: Interface,
    request: SendRequest,
    *,
    request_id: str,
    streaming: bool = False,
    extensions: Sequence[str] = (),
) -> HttpCall:
    """Make a message to the agent; `streaming` asks for the events as they come. Else like `operation_call`."""
    operation = Operation.STREAM if streaming else Operation.SEND
    return operation_call(interface, operation, request, request_id=request_id, extensions=extensions)


def _codec(interface: Interface, operation: Operation) -> Codec:
    """Return the codec of an interface: over HTTP+JSON and gRPC, version 0.3 is ProtoJSON."""
    codecs = {JSONRPC: CODECS, WEBSOCKET: CODECS, GRPC: GRPC_CODECS}.get(interface.binding)
    return rest_codec_of(operation, interface.version) if codecs is None else codecs[interface.version]


def _params(interface: Interface, operation: Operation, request: Request) -> JsonObject:
    return _codec(interface, operation).REQUESTS[operation].write(request)


def _headers(interface: Interface, *, streaming: bool, body: bool) -> dict[str, str]:
    headers = {
        "accept": f"{EVENT_STREAM}, {JSON}" if streaming else JSON,
        HEADER: interface.version,
    }
    if body:
        headers["content-type"] = JSON
    return headers


def _rpc(interface: Interface, operation: Operation, request: Request, request_id: str) -> HttpCall:
    row = operation.row
    params = _params(interface, operation, request)
    if interface.tenant is not None and DIALECTS[interface.version].has_tenants:
        params["tenant"] = interface.tenant
    envelope = {"jsonrpc": "2.0", "id": request_id, "method": row.rpc_names[interface.version], "params": params}
    if interface.binding == WEBSOCKET:
        return HttpCall(
            method="GET",
            url=interface.url,
            headers={HEADER: interface.version},
            body=to_json(envelope),
            streaming=row.streaming,
            message_id=request_id,
        )
    return HttpCall(
        method="POST",
        url=interface.url,
        headers=_headers(interface, streaming=row.streaming, body=True),
        body=to_json(envelope),
        streaming=row.streaming,
    )


def _rest(interface: Interface, operation: Operation, request: Request, request_id: str) -> HttpCall:
    """Make the request over HTTP+JSON: ids go into the path, the rest into the body or the query."""
    row = operation.row
    route = row.route(interface.version)
    params = _params(interface, operation, request)
    params.pop("tenant", None)  # the path names it
    path = route.path
    for slot, name in zip(_SLOTS.findall(path), row.ids[interface.version], strict=False):
        path = path.replace(slot, quote(str(params.pop(name, "")), safe=""))
    has_body = route.method == "POST" and operation not in _WITHOUT_BODY
    query = "" if route.method == "POST" else urlencode({name: _as_query(value) for name, value in params.items()})
    return HttpCall(
        method=route.method,
        url=_rest_url(interface, path, query, prefixed=route.prefixed),
        headers=_headers(interface, streaming=row.streaming, body=has_body),
        body=to_json(params) if has_body else None,
        streaming=row.streaming,
    )


def _grpc(interface: Interface, operation: Operation, request: Request, timeout: float | None) -> HttpCall:
    """Make the request over gRPC: its parameters as one message."""
    from sansio.a2a.client import grpc_requests  # which needs the extra `grpc`

    row = operation.row
    params = _params(interface, operation, request)
    if interface.tenant is not None and DIALECTS[interface.version].has_tenants:
        params["tenant"] = interface.tenant
    made = grpc_requests.request_of(interface.version, operation, params)
    headers = {**grpc_requests.HEADERS, HEADER: interface.version}
    if timeout is not None and not row.streaming:
        headers["grpc-timeout"] = grpc_requests.timeout_text(timeout)
    return HttpCall(
        method="POST",
        url=interface.url + made.path,
        headers=headers,
        body=made.body,
        streaming=row.streaming,
        grpc=True,
    )


def _as_query(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def _rest_url(interface: Interface, path: str, query: str, *, prefixed: bool) -> str:
    """Return the URL of `path` below the interface's URL, whose own query is kept."""
    parts = urlsplit(interface.url)
    dialect = DIALECTS[interface.version]
    prefix = dialect.path_prefix if prefixed else ""
    if interface.tenant is not None and dialect.has_tenants:
        prefix = "/" + quote(interface.tenant, safe="")
    joined = "&".join(text for text in (parts.query, query) if text)
    return urlunsplit(parts._replace(path=parts.path.rstrip("/") + prefix + path, query=joined, fragment=""))


# --- answers ----------------------------------------------------------------------------------------------


def read_answer(interface: Interface, status: int, body: bytes) -> Task | Message:
    """Parse the answer to a send that was not streamed. Raises `AgentError` and `InvalidAnswerError`."""
    item = _item(interface, _result(interface, Operation.SEND, status, body))
    if not isinstance(item, Task | Message):
        raise InvalidAnswerError("The agent answered a message with an update, not with a task or a message")
    return item


def read_task_answer(interface: Interface, status: int, body: bytes) -> Task:
    """Parse the answer to reading or cancelling a task. Raises `AgentError` and `InvalidAnswerError`."""
    value = _result(interface, Operation.GET_TASK, status, body)
    return _parsed(interface, lambda: _codec(interface, Operation.GET_TASK).parse_task(value))


def read_page_answer(interface: Interface, status: int, body: bytes) -> TaskPage:
    """Parse the answer to listing tasks. Raises `AgentError` and `InvalidAnswerError`."""
    value = _result(interface, Operation.LIST_TASKS, status, body)
    codec = _codec(interface, Operation.LIST_TASKS)
    tasks = _parsed(interface, lambda: tuple(codec.parse_task(task) for task in _listed(value, "tasks")))
    return TaskPage(
        tasks=tasks,
        next_page_token=text_at(value, "nextPageToken") or "",
        page_size=integer_at(value, "pageSize") or len(tasks),
        total=integer_at(value, "totalSize") or len(tasks),
    )


def read_push_config_answer(interface: Interface, task_id: str, status: int, body: bytes) -> PushConfig:
    """Parse a push configuration of a task. Raises `AgentError` and `InvalidAnswerError`."""
    return _push_config(interface, task_id, _result(interface, Operation.GET_PUSH_CONFIG, status, body))


def read_push_configs_answer(interface: Interface, task_id: str, status: int, body: bytes) -> PushConfigPage:
    """Parse the push configurations of a task. Raises `AgentError` and `InvalidAnswerError`.

    Version 0.3 has a list over JSON-RPC, and no pages.
    """
    value = _result(interface, Operation.LIST_PUSH_CONFIGS, status, body)
    found = value if isinstance(value, list) else _listed(value or {"configs": []}, "configs")
    return PushConfigPage(
        configs=tuple(_push_config(interface, task_id, one) for one in found),
        next_page_token=text_at(value, "nextPageToken") or "",
    )


def _push_config(interface: Interface, task_id: str, value: Any) -> PushConfig:
    codec = _codec(interface, Operation.GET_PUSH_CONFIG)
    config = _parsed(interface, lambda: codec.parse_push_config_result(value))
    return evolve(config, task_id=config.task_id or task_id)


def read_deletion(status: int, body: bytes) -> None:
    """Read the answer to a deletion, which may be empty. Raises `AgentError` and `InvalidAnswerError`.

    Some agents leave out a result of JSON-RPC that is null.
    """
    if not 200 <= status < 300:
        raise agent_error(status, body)
    value = decoded(body) if body.strip() else None
    if isinstance(value, dict) and value.get("error") is not None:
        raise fault_in(status, value)


def read_card_answer(interface: Interface, status: int, body: bytes) -> JsonObject:
    """Parse the answer to asking for the extended card. Raises `AgentError` and `InvalidAnswerError`."""
    value = _result(interface, Operation.EXTENDED_CARD, status, body)
    if not isinstance(value, dict):
        raise InvalidAnswerError("The agent's extended card is not a JSON object")
    return value


def _listed(value: Any, name: str) -> list[Any]:
    found = member(value, name)
    if not isinstance(found, list):
        raise InvalidAnswerError(f"The agent's answer is not valid: {name}: must be a list")
    return found


class StreamReader:
    """A stream's bytes in, items out."""

    def __init__(self, interface: Interface, *, limit: int = 16 * 1024 * 1024, stays_open: bool = False) -> None:
        """Begin a stream. `limit`: the largest event, in bytes. `stays_open`: the stream does not end where the task
        asks.
        """
        self._interface = interface
        self._decoder: SseDecoder | GrpcDecoder | _MessageDecoder
        if interface.binding == GRPC:
            from sansio.a2a.client import grpc_answers  # which needs the extra `grpc`

            self._decoder = grpc_answers.GrpcDecoder(interface.version, limit)
        elif interface.binding == WEBSOCKET:
            self._decoder = _MessageDecoder(interface, limit)
        else:
            self._decoder = SseDecoder(limit)
        # a version without a word for it ends the stream where the task waits (section 11.7)
        self._ends_at_states = not (DIALECTS[interface.version].marks_final or stays_open)

    @property
    def last_id(self) -> str:
        """The id of the last event; empty where there is none."""
        return self._decoder.last_id

    @property
    def held(self) -> int:
        """Bytes of an event whose end has not come."""
        return self._decoder.held

    def feed(self, chunk: bytes) -> Iterator[StreamItem]:
        """Yield the items that `chunk` completes. Consume it whole: an error is raised after the items before it.

        Over WebSocket, a chunk is a message, or empty.

        Raises `AgentError` for an error that the agent sent, `InvalidAnswerError` for an event that is not valid.
        """
        for value in self._values(chunk):
            item = _item(self._interface, value)
            if self._ends_at_states and isinstance(item, StatusUpdate):
                item = evolve(item, final=item.status.state.ends_stream)
            yield item

    def _values(self, chunk: bytes) -> Iterator[Any]:
        decoder = self._decoder
        if not isinstance(decoder, SseDecoder):
            yield from decoder.feed(chunk)
            return
        for event in _parsed(self._interface, lambda: decoder.feed(chunk)):
            if event.data.strip():
                yield _payload(self._interface, 200, decoded(event.data))


@define
class _MessageDecoder:
    """A stream's messages in, their results out. `last_id`: the id of the last event."""

    interface: Interface
    limit: int
    last_id: str = ""
    held: int = 0

    def feed(self, message: bytes) -> Iterator[Any]:
        if len(message) > self.limit:
            raise InvalidAnswerError(f"An event of the agent's stream is larger than {self.limit} bytes")
        if message:
            value = decoded(message)
            payload = _payload(self.interface, 200, value)
            self.last_id = text_at(value, "eventId") or self.last_id
            yield payload


def _result(interface: Interface, operation: Operation, status: int, body: bytes) -> Any:
    if not 200 <= status < 300:
        raise agent_error(status, body)
    if interface.binding == GRPC:
        from sansio.a2a.client import grpc_answers  # which needs the extra `grpc`

        return grpc_answers.result_in(interface.version, operation, body)
    return _payload(interface, status, decoded(body))


def decoded(body: bytes) -> Any:
    """Decode the JSON of an answer. Raises `InvalidAnswerError` for what is none, and for more than `MOST_VALUES`."""
    # those in texts count too: what is this large has others by far
    if len(body) > MOST_VALUES and body.count(b"{") + body.count(b"[") > MOST_VALUES:
        raise InvalidAnswerError(f"The agent's answer holds more than {MOST_VALUES} objects and lists")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise InvalidAnswerError("The agent's answer is not JSON") from None


def _payload(interface: Interface, status: int, value: Any) -> Any:
    """Return the result in the envelope of the binding. The id is not checked: HTTP pairs requests and answers."""
    is_rpc = interface.binding in _RPC
    if not is_rpc and isinstance(value, list):
        return value
    if not isinstance(value, dict):
        raise InvalidAnswerError("The agent's answer is not a JSON object")
    if value.get("error") is not None or (not is_rpc and _is_flat_error(value)):
        raise fault_in(status, value)
    if not is_rpc:
        return value
    if "result" not in value:
        raise InvalidAnswerError("The agent's answer has neither a result nor an error")
    return value["result"]


def _is_flat_error(value: JsonObject) -> bool:
    """Whether a body of HTTP+JSON is an error of version 0.3. In a stream, no HTTP status says so."""
    return isinstance(value.get("code"), int) and isinstance(value.get("message"), str)


def _item(interface: Interface, value: Any) -> StreamItem:
    return _parsed(interface, lambda: _codec(interface, Operation.SEND).parse_item(value))


def _parsed(interface: Interface, parse: Callable[[], T]) -> T:
    try:
        return parse()
    except InvalidAnswerError:
        raise
    except ProtocolError as error:
        raise InvalidAnswerError(
            f"The agent's answer is not valid on version {interface.version}: {error.message[:500]}"
        ) from None
