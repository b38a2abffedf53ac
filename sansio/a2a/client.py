"""The client side of the protocol: operations as HTTP requests, and the agent's answers as values of the model.

Both bindings, both lines. Pure: who sends the requests, and with which credentials, is not known here. Two
errors leave this module: ``AgentError`` where the agent says no, ``ProtocolError`` where it makes no sense.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

import orjson
from attrs import evolve, frozen

from .agent_errors import AgentError, agent_error, fault_in
from .card_reading import JSONRPC, Interface
from .errors import ErrorKind, ProtocolError
from .fields import compact
from .model import (
    DataPart,
    FilePart,
    GetTaskRequest,
    JsonObject,
    Message,
    Part,
    SendRequest,
    StreamItem,
    Task,
    TextPart,
)
from .operations import Operation
from .rest import PREFIX_0_3
from .sse import SseDecoder
from .v0_3 import render_push_config
from .versions import HEADER
from .wire import FORMS

__all__ = [
    "AgentError",
    "HttpCall",
    "StreamReader",
    "get_task_call",
    "read_answer",
    "read_task_answer",
    "send_call",
    "to_json",
]

EVENT_STREAM = "text/event-stream"
_JSON = "application/json"


@frozen(kw_only=True)
class HttpCall:
    """One HTTP request to be made. ``streaming``: the answer is expected to be an event stream."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None = None
    streaming: bool = False


def to_json(value: object) -> bytes:
    """Compact JSON. Raises ``ProtocolError`` for what cannot be said in it, such as absurdly deep nesting."""
    try:
        return orjson.dumps(value)
    except TypeError:
        raise ProtocolError(ErrorKind.INVALID_REQUEST, "A value cannot be written as JSON") from None


# --- requests ---------------------------------------------------------------------------------------------


def send_call(interface: Interface, request: SendRequest, *, request_id: str, streaming: bool = False) -> HttpCall:
    """A message to the agent; ``streaming`` asks for the events as they come. ``request_id`` is JSON-RPC's."""
    operation = Operation.STREAM if streaming else Operation.SEND
    if interface.binding == JSONRPC:
        params = FORMS[interface.line].render_send(_with_tenant(interface, request))
        return _rpc(interface, operation, params, request_id)
    if interface.line == "0.3":
        body = _gateway_send(request)
    else:
        body = FORMS[interface.line].render_send(evolve(request, tenant=None))  # the path names it
    return HttpCall(
        method=operation.row.http_method,
        url=_rest_url(interface, operation.row.path),
        headers=_headers(interface, streaming=streaming, body=True),
        body=to_json(body),
        streaming=streaming,
    )


def get_task_call(interface: Interface, request: GetTaskRequest, *, request_id: str) -> HttpCall:
    """Reads one task."""
    operation = Operation.GET_TASK
    if interface.binding == JSONRPC:
        tenant = interface.tenant if interface.line == "1.0" else None
        params = compact(id=request.id, historyLength=request.history_length, tenant=tenant)
        return _rpc(interface, operation, params, request_id)
    query = {} if request.history_length is None else {"historyLength": request.history_length}
    path = operation.row.path.replace("{id}", quote(request.id, safe=""))
    return HttpCall(
        method=operation.row.http_method,
        url=_rest_url(interface, path, urlencode(query)),
        headers=_headers(interface, streaming=False, body=False),
    )


def _with_tenant(interface: Interface, request: SendRequest) -> SendRequest:
    return request if interface.tenant is None else evolve(request, tenant=interface.tenant)


def _headers(interface: Interface, *, streaming: bool, body: bool) -> dict[str, str]:
    headers = {
        "accept": f"{EVENT_STREAM}, {_JSON}" if streaming else _JSON,
        HEADER: interface.line,
    }
    if body:
        headers["content-type"] = _JSON
    return headers


def _rpc(interface: Interface, operation: Operation, params: JsonObject, request_id: str) -> HttpCall:
    row = operation.row
    method = row.rpc_1_0 if interface.line == "1.0" else row.rpc_0_3
    envelope = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}
    return HttpCall(
        method="POST",
        url=interface.url,
        headers=_headers(interface, streaming=row.streaming, body=True),
        body=to_json(envelope),
        streaming=row.streaming,
    )


def _rest_url(interface: Interface, path: str, query: str = "") -> str:
    """``path`` below the interface's URL, whose own query is kept."""
    parts = urlsplit(interface.url)
    prefix = f"/{PREFIX_0_3}" if interface.line == "0.3" else ""
    if interface.tenant is not None and interface.line == "1.0":
        prefix = "/" + quote(interface.tenant, safe="")
    joined = "&".join(text for text in (parts.query, query) if text)
    return urlunsplit(parts._replace(path=parts.path.rstrip("/") + prefix + path, query=joined, fragment=""))


def _gateway_send(request: SendRequest) -> JsonObject:
    """A send in the HTTP+JSON dialect of line 0.3, the only one its published servers take.

    It is the JSON of that line's ``a2a.proto`` rather than of its JSON Schema.
    """
    configuration = request.configuration
    return compact(
        message=_gateway_message(request.message),
        configuration=compact(
            acceptedOutputModes=list(configuration.accepted_output_modes) or None,
            historyLength=configuration.history_length,
            blocking=configuration.blocking,
            pushNotification=render_push_config(configuration.push) if configuration.push else None,
        ),
        metadata=request.metadata,
    )


def _gateway_message(message: Message) -> JsonObject:
    return compact(
        messageId=message.message_id,
        contextId=message.context_id,
        taskId=message.task_id,
        role=f"ROLE_{message.role.name}",
        content=[_gateway_part(part) for part in message.parts],
        metadata=message.metadata,
        extensions=list(message.extensions) or None,
    )


def _gateway_part(part: Part) -> JsonObject:
    if isinstance(part, TextPart):
        return compact(text=part.text, metadata=part.metadata)
    if isinstance(part, DataPart):
        return compact(data={"data": part.data}, metadata=part.metadata)
    return compact(file=_gateway_file(part), metadata=part.metadata)


def _gateway_file(part: FilePart) -> JsonObject:
    return compact(fileWithBytes=part.raw, fileWithUri=part.url, mimeType=part.media_type, name=part.filename)


# --- answers ----------------------------------------------------------------------------------------------


def read_answer(interface: Interface, status: int, body: bytes) -> StreamItem:
    """The answer to a send that was not streamed. Raises ``AgentError`` and ``ProtocolError``."""
    return _item(interface, _result(interface, status, body))


def read_task_answer(interface: Interface, status: int, body: bytes) -> Task:
    """The answer to reading a task. Raises ``AgentError`` and ``ProtocolError``."""
    value = _result(interface, status, body)
    try:
        return FORMS[interface.line].parse_task(value)
    except ProtocolError as error:
        raise _senseless(interface, error) from None


class StreamReader:
    """An event stream's bytes in, items out."""

    def __init__(self, interface: Interface, *, limit: int = 16 * 1024 * 1024) -> None:
        """``limit``: the largest event, in bytes."""
        self._interface = interface
        self._decoder = SseDecoder(limit)

    def feed(self, chunk: bytes) -> Iterator[StreamItem]:
        """The items that ``chunk`` completes. To be consumed whole: the errors come after what precedes them.

        Raises ``AgentError`` where the agent tells of an error, ``ProtocolError`` for what makes no sense.
        """
        for event in self._decoder.feed(chunk):
            if event.data.strip():
                yield _item(self._interface, _payload(self._interface, 200, _decoded(event.data)))


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
    """What an answer carries, out of the envelope of the binding. The id is not looked at: HTTP pairs them."""
    if not isinstance(value, dict):
        raise ProtocolError(ErrorKind.INVALID_AGENT_RESPONSE, "The agent's answer is not a JSON object")
    if value.get("error") is not None:
        raise fault_in(status, value)
    if interface.binding != JSONRPC:
        return value
    if "result" not in value:
        raise ProtocolError(ErrorKind.INVALID_AGENT_RESPONSE, "The agent's answer has neither a result nor an error")
    return value["result"]


_GATEWAY_KINDS = {
    "task": "task",
    "message": "message",
    "statusUpdate": "status-update",
    "artifactUpdate": "artifact-update",
}


def _item(interface: Interface, value: Any) -> StreamItem:
    if interface.line == "0.3" and isinstance(value, dict) and "kind" not in value:
        value = _from_gateway(value)
    try:
        return FORMS[interface.line].parse_item(value)
    except ProtocolError as error:
        raise _senseless(interface, error) from None


def _from_gateway(value: JsonObject) -> JsonObject:
    """Out of the wrapper that line 0.3's HTTP+JSON servers use in place of ``kind``."""
    given = [name for name in _GATEWAY_KINDS if isinstance(value.get(name), dict)]
    if len(given) != 1 or "id" in value:
        return value
    return {**value[given[0]], "kind": _GATEWAY_KINDS[given[0]]}


def _senseless(interface: Interface, error: ProtocolError) -> ProtocolError:
    return ProtocolError(
        ErrorKind.INVALID_AGENT_RESPONSE,
        f"The agent's answer is not valid on line {interface.line}: {error.message[:500]}",
    )
