"""The JSON-RPC 2.0 envelope: one request in, one response out. A2A has no batches.

Knows nothing of methods; `operations` does. Decoding errors carry the request's id where one could be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import orjson
from attrs import frozen

from sansio.a2a.bindings.json_input import decoded
from sansio.a2a.bindings.json_output import kept_json
from sansio.a2a.codecs.fields import repeated
from sansio.a2a.codecs.protojson_names import Path, repeated_member
from sansio.a2a.dialects import DIALECTS
from sansio.a2a.errors import ErrorKind, ProtocolError, Violation, jsonrpc_error, shortened
from sansio.a2a.model import JsonObject
from sansio.a2a.operations import methods_of

RequestId: TypeAlias = str | int | float | None

LONGEST_ID = 256
"""Characters of a request's id, which every answer and every event of a stream repeats."""

_LARGEST_FRACTION = 2**53
"""From here on a number that is not whole, or not of 64 bits, is read as one nearby, and would not come back."""


class RpcRequestError(ProtocolError):
    """A request that is no valid JSON-RPC; `request_id` is None where none could be read, or it is too long.

    `is_answered`: False for a notification that is a request in all else, but cannot be carried out.
    """

    request_id: RequestId = None
    is_answered: bool = True


@frozen(kw_only=True)
class RpcRequest:
    """One request. A `notification` (it had no `id`) is carried out and never answered."""

    method: str
    params: Any = None
    id: RequestId = None
    notification: bool = False


def parse_request(body: bytes) -> RpcRequest:
    """Decode one request.

    Raises `RpcRequestError`: PARSE_ERROR, PAYLOAD_TOO_LARGE, INVALID_REQUEST, or INVALID_PARAMS for params that
    name a member twice.
    """
    value, request_id = object_in(body)
    return request_in(value, request_id, body)


def object_in(body: bytes) -> tuple[JsonObject, RequestId]:
    """Decode an object of JSON-RPC, and read its id; None where it has none.

    Raises `RpcRequestError`: PARSE_ERROR, PAYLOAD_TOO_LARGE, INVALID_REQUEST.
    """
    try:
        value = decoded(body)
    except ProtocolError as error:
        raise RpcRequestError(error.kind, error.message, data=error.data, metadata=error.metadata) from None
    if isinstance(value, list):
        raise invalid_request(None, (), "batches are not part of A2A: send one request object at a time")
    if not isinstance(value, dict):
        raise invalid_request(None, (), "must be a JSON-RPC request object")
    request_id = value.get("id")
    if isinstance(request_id, bool) or not isinstance(request_id, str | int | float | None):
        raise invalid_request(None, ("id",), "must be a string, a number or null")
    if isinstance(request_id, str) and len(request_id) > LONGEST_ID:
        raise invalid_request(None, ("id",), f"must be at most {LONGEST_ID} characters")
    if isinstance(request_id, float) and abs(request_id) >= _LARGEST_FRACTION:
        raise invalid_request(None, ("id",), "must be a whole number of 64 bits; a larger one can be a string")
    if value.get("jsonrpc") != "2.0":
        raise invalid_request(request_id, ("jsonrpc",), 'must be "2.0"')
    return value, request_id


def request_in(value: JsonObject, request_id: RequestId, body: bytes) -> RpcRequest:
    """Read the request that an object is. `body`: the text that it was decoded from.

    Raises `RpcRequestError`: INVALID_REQUEST, or INVALID_PARAMS for params that name a member twice.
    """
    method = value.get("method")
    if not isinstance(method, str) or not method:
        raise invalid_request(request_id, ("method",), "must be a string that names a method")
    twice = repeated_member(body, value)
    if twice is not None:
        raise _given_twice(request_id, twice, notification="id" not in value)
    return RpcRequest(method=method, params=value.get("params"), id=request_id, notification="id" not in value)


def _given_twice(request_id: RequestId, path: Path, *, notification: bool) -> RpcRequestError:
    """Make the error for a member that an object of the request has more than once."""
    if len(path) > 1 and path[0] == "params":
        violation = repeated(path[1:])
        fault = RpcRequestError(
            ErrorKind.INVALID_PARAMS, f"{violation.field}: {violation.message}", violations=(violation,)
        )
        fault.request_id, fault.is_answered = request_id, not notification
        return fault
    return invalid_request(request_id, path, repeated(path).message)


def invalid_request(request_id: RequestId, path: Path, message: str) -> RpcRequestError:
    """Make the error for a request whose envelope is wrong at `path`."""
    violation = Violation(path, "invalid_request", message)
    where = f"{violation.field}: " if path else ""
    fault = RpcRequestError(
        ErrorKind.INVALID_REQUEST,
        f"Invalid request: {where}{message}",
        data=[{"type": violation.type, "loc": list(path), "msg": message}],
    )
    fault.request_id = request_id
    return fault


def method_not_found(method: str, version: str, more: Sequence[str] = ()) -> ProtocolError:
    """Make the error for an unknown method. It names those on offer on `version`: the protocol's and `more`."""
    supported = [*methods_of(version), *more]
    method = shortened(method)
    return ProtocolError(
        ErrorKind.METHOD_NOT_FOUND,
        "Method not found" if DIALECTS[version].has_error_details else f"Unsupported method: {method}",
        data={
            "type": "METHOD_NOT_SUPPORTED",
            "method": method,
            "supported_methods": supported,
            "protocol_version": version,
        },
        data_v1={"method": method, "supportedMethods": supported, "protocolVersion": version},
        metadata={"method": method, "protocolVersion": version},
    )


def result_prefix(request_id: RequestId) -> bytes:
    """Return the bytes before the result of a response. With `RESULT_SUFFIX` they frame JSON that was rendered
    elsewhere.
    """
    return b'{"jsonrpc":"2.0","id":' + orjson.dumps(request_id) + b',"result":'


RESULT_SUFFIX = b"}"


def render_result(request_id: RequestId, result: Any) -> bytes:
    """Render a successful response."""
    return orjson.dumps({"jsonrpc": "2.0", "id": request_id, "result": result})


def render_error(request_id: RequestId, error: ProtocolError, version: str) -> bytes:
    """Render an error response in the shape of `version`."""
    # Many may wait for a client.
    return kept_json({"jsonrpc": "2.0", "id": request_id, "error": jsonrpc_error(error, version)})
