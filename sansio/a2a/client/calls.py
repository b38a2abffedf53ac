"""The client side of the protocol: operations as HTTP requests, and the agent's answers as values of the model.

Both bindings, both versions. Pure: it sends nothing and knows no credentials. Two errors leave this module:
`AgentError` for an agent's refusal, `ProtocolError` for an answer that is not valid.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

import orjson
from attrs import evolve, frozen

from sansio.a2a.bindings.extension_headers import HEADER_OF as EXTENSION_HEADERS
from sansio.a2a.bindings.last_event_id import HEADER as RESUME_HEADER
from sansio.a2a.bindings.sse import SseDecoder
from sansio.a2a.cards.parse import JSONRPC, Interface
from sansio.a2a.client.agent_errors import AgentError, agent_error, fault_in
from sansio.a2a.codecs.fields import compact
from sansio.a2a.codecs.json_values import integer_at, list_at, member, text_at
from sansio.a2a.codecs.registry import CODECS, Codec, rest_codec_of_task
from sansio.a2a.dialects import DIALECTS
from sansio.a2a.errors import ErrorKind, ProtocolError
from sansio.a2a.media_types import EVENT_STREAM, JSON
from sansio.a2a.model import (
    GetTaskRequest,
    JsonObject,
    ListTasksRequest,
    SendRequest,
    StatusUpdate,
    StreamItem,
    Task,
    TaskIdRequest,
    TaskPage,
)
from sansio.a2a.operations import Operation
from sansio.a2a.versions import HEADER

__all__ = [
    "AgentError",
    "HttpCall",
    "StreamReader",
    "get_task_call",
    "read_answer",
    "read_task_answer",
    "send_call",
    "subscribe_call",
    "to_json",
]


@frozen(kw_only=True)
class HttpCall:
    """One HTTP request to be made. `streaming`: the answer is expected to be an event stream."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None = None
    streaming: bool = False


def to_json(value: object) -> bytes:
    """Render compact JSON. Raises `ProtocolError` for a value that JSON cannot hold, such as one nested too deep."""
    try:
        return orjson.dumps(value)
    except TypeError:
        raise ProtocolError(ErrorKind.INVALID_REQUEST, "A value cannot be written as JSON") from None


# --- requests ---------------------------------------------------------------------------------------------


def send_call(
    interface: Interface,
    request: SendRequest,
    *,
    request_id: str,
    streaming: bool = False,
    extensions: Sequence[str] = (),
) -> HttpCall:
    """Make a message to the agent; `streaming` asks for the events as they come. `request_id` is JSON-RPC's.

    `extensions`: the URIs of those to activate.
    """
    operation = Operation.STREAM if streaming else Operation.SEND
    if interface.binding == JSONRPC:
        params = _form(interface).render_send(_with_tenant(interface, request))
        call = _rpc(interface, operation, params, request_id)
    else:
        body = _form(interface).render_send(evolve(request, tenant=None))  # the path names it
        call = HttpCall(
            method=operation.row.http_method,
            url=_rest_url(interface, operation.row.path),
            headers=_headers(interface, streaming=streaming, body=True),
            body=to_json(body),
            streaming=streaming,
        )
    return _activating(interface, call, extensions)


def get_task_call(
    interface: Interface, request: GetTaskRequest, *, request_id: str, extensions: Sequence[str] = ()
) -> HttpCall:
    """Make the request that reads a task. `extensions`: the URIs of those to activate."""
    operation = Operation.GET_TASK
    if interface.binding == JSONRPC:
        tenant = interface.tenant if DIALECTS[interface.version].has_tenants else None
        params = compact(id=request.id, historyLength=request.history_length, tenant=tenant)
        return _activating(interface, _rpc(interface, operation, params, request_id), extensions)
    query = {} if request.history_length is None else {"historyLength": request.history_length}
    path = operation.row.path.replace("{id}", quote(request.id, safe=""))
    call = HttpCall(
        method=operation.row.http_method,
        url=_rest_url(interface, path, urlencode(query)),
        headers=_headers(interface, streaming=False, body=False),
    )
    return _activating(interface, call, extensions)


def subscribe_call(
    interface: Interface,
    request: TaskIdRequest,
    *,
    request_id: str,
    last_event_id: str = "",
    extensions: Sequence[str] = (),
) -> HttpCall:
    """Make the request that follows a task. `last_event_id`: the SSE id after which the stream begins; empty: now."""
    operation = Operation.SUBSCRIBE
    if interface.binding == JSONRPC:
        tenant = interface.tenant if DIALECTS[interface.version].has_tenants else None
        call = _rpc(interface, operation, compact(id=request.id, tenant=tenant), request_id)
    else:
        call = HttpCall(
            method=operation.row.http_method,
            url=_rest_url(interface, operation.row.path.replace("{id}", quote(request.id, safe=""))),
            headers=_headers(interface, streaming=True, body=False),
            streaming=True,
        )
    if last_event_id and last_event_id.isprintable() and last_event_id.isascii():
        call = evolve(call, headers={**call.headers, RESUME_HEADER: last_event_id})
    return _activating(interface, call, extensions)


def cancel_call(interface: Interface, request: TaskIdRequest, *, request_id: str) -> HttpCall:
    """Make the request that cancels a task."""
    operation = Operation.CANCEL
    if interface.binding == JSONRPC:
        tenant = interface.tenant if DIALECTS[interface.version].has_tenants else None
        return _rpc(interface, operation, compact(id=request.id, tenant=tenant), request_id)
    return HttpCall(
        method=operation.row.http_method,
        url=_rest_url(interface, operation.row.path.replace("{id}", quote(request.id, safe=""))),
        headers=_headers(interface, streaming=False, body=True),
        body=to_json({}),
    )


def list_tasks_call(interface: Interface, request: ListTasksRequest, *, request_id: str) -> HttpCall:
    """Make the request that lists tasks. Version 0.3 has no such operation, but some of its agents do."""
    operation = Operation.LIST_TASKS
    states = {state: name for name, state in _form(interface).STATES.items()}
    params = compact(
        contextId=request.context_id,
        status=None if request.state is None else states[request.state],
        pageSize=request.page_size,
        pageToken=request.page_token,
        historyLength=request.history_length,
        includeArtifacts=request.include_artifacts or None,
    )
    if interface.binding == JSONRPC:
        tenant = interface.tenant if DIALECTS[interface.version].has_tenants else None
        return _rpc(interface, operation, compact(**params, tenant=tenant), request_id)
    query = {name: str(value).lower() if isinstance(value, bool) else value for name, value in params.items()}
    return HttpCall(
        method=operation.row.http_method,
        url=_rest_url(interface, operation.row.path, urlencode(query)),
        headers=_headers(interface, streaming=False, body=False),
    )


def _activating(interface: Interface, call: HttpCall, extensions: Sequence[str]) -> HttpCall:
    if not extensions:
        return call
    return evolve(call, headers={**call.headers, EXTENSION_HEADERS[interface.version]: ", ".join(extensions)})


def _form(interface: Interface) -> Codec:
    """Return the codec of an interface: over HTTP+JSON, version 0.3 is ProtoJSON."""
    return CODECS[interface.version] if interface.binding == JSONRPC else rest_codec_of_task(interface.version, None)


def _with_tenant(interface: Interface, request: SendRequest) -> SendRequest:
    return request if interface.tenant is None else evolve(request, tenant=interface.tenant)


def _headers(interface: Interface, *, streaming: bool, body: bool) -> dict[str, str]:
    headers = {
        "accept": f"{EVENT_STREAM}, {JSON}" if streaming else JSON,
        HEADER: interface.version,
    }
    if body:
        headers["content-type"] = JSON
    return headers


def _rpc(interface: Interface, operation: Operation, params: JsonObject, request_id: str) -> HttpCall:
    row = operation.row
    method = row.rpc_names[interface.version]
    envelope = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}
    return HttpCall(
        method="POST",
        url=interface.url,
        headers=_headers(interface, streaming=row.streaming, body=True),
        body=to_json(envelope),
        streaming=row.streaming,
    )


def _rest_url(interface: Interface, path: str, query: str = "") -> str:
    """Return the URL of `path` below the interface's URL, whose own query is kept."""
    parts = urlsplit(interface.url)
    dialect = DIALECTS[interface.version]
    prefix = dialect.path_prefix
    if interface.tenant is not None and dialect.has_tenants:
        prefix = "/" + quote(interface.tenant, safe="")
    joined = "&".join(text for text in (parts.query, query) if text)
    return urlunsplit(parts._replace(path=parts.path.rstrip("/") + prefix + path, query=joined, fragment=""))


# --- answers ----------------------------------------------------------------------------------------------


def read_answer(interface: Interface, status: int, body: bytes) -> StreamItem:
    """Parse the answer to a send that was not streamed. Raises `AgentError` and `ProtocolError`."""
    return _item(interface, _result(interface, status, body))


def read_task_answer(interface: Interface, status: int, body: bytes) -> Task:
    """Parse the answer to reading a task. Raises `AgentError` and `ProtocolError`."""
    value = _result(interface, status, body)
    try:
        return _form(interface).parse_task(value)
    except ProtocolError as error:
        raise _senseless(interface, error) from None


def read_page_answer(interface: Interface, status: int, body: bytes) -> TaskPage:
    """Parse the answer to listing tasks. Raises `AgentError` and `ProtocolError`."""
    value = _result(interface, status, body)
    try:
        if not isinstance(member(value, "tasks"), list):
            raise ProtocolError(ErrorKind.INVALID_AGENT_RESPONSE, "tasks: must be a list")
        tasks = tuple(_form(interface).parse_task(task) for task in list_at(value, "tasks"))
    except ProtocolError as error:
        raise _senseless(interface, error) from None
    return TaskPage(
        tasks=tasks,
        next_page_token=text_at(value, "nextPageToken") or "",
        page_size=integer_at(value, "pageSize") or len(tasks),
        total=integer_at(value, "totalSize") or len(tasks),
    )


class StreamReader:
    """An event stream's bytes in, items out."""

    def __init__(self, interface: Interface, *, limit: int = 16 * 1024 * 1024, stays_open: bool = False) -> None:
        """Begin a stream. `limit`: the largest event, in bytes. `stays_open`: the stream does not end where the task
        asks.
        """
        self._interface = interface
        self._decoder = SseDecoder(limit)
        self._stays_open = stays_open

    @property
    def last_id(self) -> str:
        """The SSE id of the last event; empty where there is none."""
        return self._decoder.last_id

    def feed(self, chunk: bytes) -> Iterator[StreamItem]:
        """Yield the items that `chunk` completes. Consume it whole: an error is raised after the items before it.

        Raises `AgentError` for an error that the agent sent, `ProtocolError` for an event that is not valid.
        """
        for event in self._decoder.feed(chunk):
            if event.data.strip():
                item = _item(self._interface, _payload(self._interface, 200, _decoded(event.data)))
                if not (DIALECTS[self._interface.version].marks_final or self._stays_open) and isinstance(
                    item, StatusUpdate
                ):
                    # that version has no word for it: the stream ends where the task waits (section 11.7)
                    item = evolve(item, final=item.status.state.ends_stream)
                yield item


def _result(interface: Interface, status: int, body: bytes) -> Any:
    if not 200 <= status < 300:
        raise agent_error(status, body)
    return _payload(interface, status, _decoded(body))


def _decoded(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise ProtocolError(ErrorKind.INVALID_AGENT_RESPONSE, "The agent's answer is not JSON") from None


def _payload(interface: Interface, status: int, value: Any) -> Any:
    """Return the result in the envelope of the binding. The id is not checked: HTTP pairs requests and answers."""
    if not isinstance(value, dict):
        raise ProtocolError(ErrorKind.INVALID_AGENT_RESPONSE, "The agent's answer is not a JSON object")
    if value.get("error") is not None:
        raise fault_in(status, value)
    if interface.binding != JSONRPC:
        return value
    if "result" not in value:
        raise ProtocolError(ErrorKind.INVALID_AGENT_RESPONSE, "The agent's answer has neither a result nor an error")
    return value["result"]


def _item(interface: Interface, value: Any) -> StreamItem:
    try:
        return _form(interface).parse_item(value)
    except ProtocolError as error:
        raise _senseless(interface, error) from None


def _senseless(interface: Interface, error: ProtocolError) -> ProtocolError:
    return ProtocolError(
        ErrorKind.INVALID_AGENT_RESPONSE,
        f"The agent's answer is not valid on line {interface.version}: {error.message[:500]}",
    )
