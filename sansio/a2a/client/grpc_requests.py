"""Requests over gRPC: the path and the message of an operation.

Needs the extra `grpc`; imported where a request is made.
"""

from __future__ import annotations

import math
from typing import Final

from attrs import frozen

from sansio.a2a.bindings import grpc
from sansio.a2a.client.client_errors import UnsupportedByBindingError
from sansio.a2a.dialects import DIALECTS
from sansio.a2a.errors import ErrorKind, ProtocolError
from sansio.a2a.model import JsonObject
from sansio.a2a.operations import Operation
from sansio.a2a.protobuf.conversion import message_of
from sansio.a2a.protobuf.messages import RPCS, Rpc

HEADERS: Final = {"content-type": f"{grpc.MEDIA_TYPE}+proto", "te": "trailers", "grpc-accept-encoding": "identity"}
"""The headers of every request."""

_LONGEST: Final = 99_999_999
"""The largest number of a timeout: it has 8 digits."""

_CONFIGS: Final = "pushNotificationConfigs"
_BY_OPERATION: Final = {(rpc.version, rpc.operation): rpc for rpc in RPCS.values()}


@frozen
class GrpcRequest:
    """The path of a method, and the body of a request with one message."""

    path: str
    body: bytes


def rpc_of(version: str, operation: Operation) -> Rpc:
    """Return the method of an operation. Raises `UnsupportedByBindingError` where the version has none."""
    found = _BY_OPERATION.get((version, operation))
    if found is None:
        text = f"{operation.row.rpc_1_0} is no operation of version {version} over gRPC; nothing was sent"
        raise UnsupportedByBindingError(text, reason=ErrorKind.UNSUPPORTED_OPERATION.name)
    return found


def request_of(version: str, operation: Operation, params: JsonObject) -> GrpcRequest:
    """Return the request of an operation. `params`: its parameters as JSON.

    Raises `ProtocolError` for a value that no message can hold, and like `rpc_of`.
    """
    rpc = rpc_of(version, operation)
    if not DIALECTS[version].has_tenants:
        params = _with_resource(params, rpc)
    try:
        message = message_of(rpc.request, params).SerializeToString()
    except (TypeError, ValueError, OverflowError, RecursionError):  # ValueError: also a lone surrogate
        raise ProtocolError(ErrorKind.INVALID_REQUEST, "A value cannot be written as a message of gRPC") from None
    return GrpcRequest(rpc.path, grpc.framed(message))


def timeout_text(seconds: float) -> str:
    """Return the value of `grpc-timeout`."""
    millis = math.ceil(seconds * 1000)
    return f"{millis}m" if millis <= _LONGEST else f"{min(math.ceil(seconds), _LONGEST)}S"


def _with_resource(params: JsonObject, rpc: Rpc) -> JsonObject:
    """Return the parameters of version 0.3, which name a task, or what belongs to one, as a resource.

    The ids of the operation become `tasks/T` or `tasks/T/pushNotificationConfigs/C`.
    """
    found = dict(params)
    ids = [found.pop(name) for name in rpc.operation.row.ids[rpc.version] if name in found]
    steps = zip(("tasks", _CONFIGS), ids, strict=False)
    for field in ("name", "parent"):
        if ids and field in rpc.request.DESCRIPTOR.fields_by_name:
            found[field] = "/".join(f"{kind}/{id_}" for kind, id_ in steps)
    return found
