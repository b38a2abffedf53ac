"""The messages of the Model Context Protocol: JSON-RPC 2.0 with ids that are never null. Knows no HTTP.

A body is decoded as a whole, so a caller bounds it first.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Final, TypeAlias, TypeGuard

import orjson
from attrs import field, frozen

Id: TypeAlias = str | int
"""The id of a request, and a progress token."""

LONGEST_ID: Final = 256
"""Characters of an id, which every answer repeats."""

LARGEST_BATCH: Final = 16
"""Messages of a batch."""

_LARGEST_NUMBER: Final = 2**53


class ErrorCode(IntEnum):
    """Codes of JSON-RPC errors."""

    PARSE_ERROR = -32700
    INVALID_REQUEST = -32600
    METHOD_NOT_FOUND = -32601
    INVALID_PARAMS = -32602
    INTERNAL_ERROR = -32603


@frozen
class Fault:
    """A refusal of one message. `id` None: it had none that could be read."""

    code: ErrorCode
    message: str
    id: Id | None = None


@frozen(kw_only=True)
class Request:
    """A request of the client's."""

    id: Id
    method: str
    params: dict[str, Any] = field(repr=False)


@frozen(kw_only=True)
class Notification:
    """A message of the client's that gets no answer."""

    method: str
    params: dict[str, Any] = field(repr=False)


@frozen
class ClientResponse:
    """An answer of the client's. This server asks nothing, so none is expected."""


ClientMessage: TypeAlias = Request | Notification | ClientResponse | Fault


def is_id(value: object) -> TypeGuard[Id]:
    """Return whether a value can be an id or a progress token."""
    if isinstance(value, str):
        return len(value) <= LONGEST_ID
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LARGEST_NUMBER


@frozen
class Body:
    """The messages of a body, of which there is one where it is no batch."""

    messages: tuple[ClientMessage, ...]
    is_batch: bool = False


def parse_body(body: bytes) -> Body:
    """Decode a body. A message that is none is a `Fault` in its place."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        return Body((Fault(ErrorCode.PARSE_ERROR, f"Invalid JSON: {exc}"),))
    if not isinstance(value, list):
        return Body((_message(value),))
    if not value or len(value) > LARGEST_BATCH:
        return Body((Fault(ErrorCode.INVALID_REQUEST, f"A batch holds from 1 to {LARGEST_BATCH} messages"),))
    return Body(tuple(_message(one) for one in value), is_batch=True)


def _message(value: object) -> ClientMessage:
    if not isinstance(value, dict):
        return Fault(ErrorCode.INVALID_REQUEST, "A message must be an object")
    given = value.get("id")
    request_id = given if is_id(given) else None
    if value.get("jsonrpc") != "2.0":
        return Fault(ErrorCode.INVALID_REQUEST, 'jsonrpc must be "2.0"', request_id)
    if "method" not in value and ("result" in value or "error" in value):
        return ClientResponse()
    method, params = value.get("method"), value.get("params", {})
    if not isinstance(method, str) or not method:
        return Fault(ErrorCode.INVALID_REQUEST, "method must be a string", request_id)
    if "id" in value and request_id is None:
        text = f"id must be a whole number, or a string of at most {LONGEST_ID} characters"
        return Fault(ErrorCode.INVALID_REQUEST, text)
    if not isinstance(params, dict):
        return Fault(ErrorCode.INVALID_PARAMS, "params must be an object", request_id)
    if request_id is None:
        return Notification(method=method, params=params)
    return Request(id=request_id, method=method, params=params)


def render_result(request_id: Id, result: object) -> bytes:
    """Render a successful response."""
    return orjson.dumps({"jsonrpc": "2.0", "id": request_id, "result": result})


def render_fault(fault: Fault) -> bytes:
    """Render an error response."""
    error = {"code": int(fault.code), "message": fault.message}
    return orjson.dumps({"jsonrpc": "2.0", "id": fault.id, "error": error})


def render_notification(method: str, params: object) -> bytes:
    """Render a notification to the client."""
    return orjson.dumps({"jsonrpc": "2.0", "method": method, "params": params})
