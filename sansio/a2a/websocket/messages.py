"""The messages of the WebSocket binding: JSON-RPC 2.0 objects, one a text message.

Names follow the proposal of the custom binding (A2A issue 1864 and pull request 63 of a2a-rs) where that has one:
the subprotocol, `serviceParams`, `streamEnd` and `cancelStream`. `docs/bindings/websocket.md` is the specification.
"""

from __future__ import annotations

from codecs import getincrementaldecoder
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias

import orjson
from attrs import field, frozen

from sansio.a2a.bindings import last_event_id as last_event
from sansio.a2a.bindings import trace_context
from sansio.a2a.bindings.extension_headers import HEADERS as EXTENSION_HEADERS
from sansio.a2a.bindings.jsonrpc import RequestId, RpcRequest, RpcRequestError, invalid_request, object_in, request_in
from sansio.a2a.model import JsonObject
from sansio.a2a.versions import HEADER as VERSION_HEADER

SUBPROTOCOL: Final = "a2a.v1"
TICKET_PREFIX: Final = "a2a.ticket."
"""Beginning of the subprotocol by which a page hands over its ticket; the rest is the ticket."""

PATH: Final = "/websocket"
TICKET_PATH: Final = "/websocket/ticket"

OF_CONNECTION: Final = frozenset(
    {VERSION_HEADER, *EXTENSION_HEADERS, trace_context.HEADER, trace_context.STATE_HEADER}
)
"""Service parameters that the headers of the handshake set for all requests of a connection."""

OF_REQUEST: Final = OF_CONNECTION | {last_event.HEADER}
"""Service parameters that a message may have."""

FRAGMENT: Final = 64 * 1024
"""Bytes of a message that are sent at once; a larger one has several fragments."""

_PARAMS: Final = "serviceParams"


@frozen(kw_only=True)
class ClientRequest:
    """A request. `service_params`: by lower-case names; they go before those of the handshake."""

    request: RpcRequest
    service_params: Mapping[str, str] = field(factory=dict, repr=False)


@frozen
class CancelStream:
    """The client leaves the stream of the request with this id."""

    id: RequestId


ClientMessage: TypeAlias = ClientRequest | CancelStream


def parse_message(body: bytes) -> ClientMessage:
    """Parse a message of a client.

    Raises `RpcRequestError`: PARSE_ERROR, PAYLOAD_TOO_LARGE, INVALID_REQUEST, INVALID_PARAMS.
    """
    value, request_id = object_in(body)
    if "id" in value and request_id is None:
        raise invalid_request(None, ("id",), "must be a string or a number; only notifications have none")
    if value.get("cancelStream", False) is not False:
        if value["cancelStream"] is not True or request_id is None or "method" in value:
            raise invalid_request(request_id, ("cancelStream",), "must be true, beside the id of a stream alone")
        return CancelStream(request_id)
    request = request_in(value, request_id, body)
    return ClientRequest(request=request, service_params=_service_params(value, request_id))


def _service_params(value: JsonObject, request_id: RequestId) -> dict[str, str]:
    given = value.get(_PARAMS)
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise invalid_request(request_id, (_PARAMS,), "must be an object")
    found: dict[str, str] = {}
    for name, text in given.items():
        if (known := name.lower()) not in OF_REQUEST:
            continue
        if not isinstance(text, str):
            raise invalid_request(request_id, (_PARAMS, name), "must be a string")
        if known in found:
            raise invalid_request(request_id, (_PARAMS, name), "is given twice")
        found[known] = text
    return found


@frozen(eq=False)
class LargeMessage:
    """A message that is sent in fragments: to join, copy or decode it at once would hold up everybody else."""

    pieces: tuple[bytes | memoryview, ...]

    def __len__(self) -> int:
        """Return its size in bytes."""
        return sum(map(len, self.pieces))

    def fragments(self) -> Iterator[tuple[str, bool]]:
        """Make its text, a fragment after the other, with whether it is the last one."""
        decoder = getincrementaldecoder("utf-8")()
        left = len(self)
        for piece in self.pieces:
            for start in range(0, len(piece), FRAGMENT):
                fragment = piece[start : start + FRAGMENT]
                left -= len(fragment)
                yield decoder.decode(fragment), left == 0


def stream_end(request_id: RequestId, reason: str | None = None) -> bytes:
    """Render the end of a stream. `reason`: why it ends before its task does; the client may resume it then."""
    more = {} if reason is None else {"resumable": True, "reason": reason}
    return orjson.dumps({"jsonrpc": "2.0", "id": request_id, "streamEnd": True, **more})


def service_params_in(headers: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield those of an answer's headers, with lower-case names, that are service parameters."""
    return (pair for pair in headers if pair[0] in OF_CONNECTION)


def with_service_params(message: bytes, params: Iterable[tuple[str, str]]) -> bytes:
    """Return a message to which service parameters are added. `message`: a JSON object that has none.

    Of parameters with the same name, the last one counts.
    """
    return message[:-1] + _end_with(params)


def _end_with(params: Iterable[tuple[str, str]]) -> bytes:
    return b',"serviceParams":' + orjson.dumps(dict(params)) + b"}"


def message_of(pieces: Sequence[bytes], params: Iterable[tuple[str, str]] = ()) -> bytes | LargeMessage:
    """Return the message whose UTF-8 text comes in pieces, with service parameters, if any, at its end.

    A large one is not joined. `pieces`: of a JSON object, which has no service parameters.
    """
    params = tuple(params)
    if sum(map(len, pieces)) <= FRAGMENT:
        message = b"".join(pieces)
        return with_service_params(message, params) if params else message
    parts: list[bytes | memoryview] = [piece for piece in pieces if piece]
    if params:
        parts[-1:] = (memoryview(parts[-1])[:-1], _end_with(params))
    return LargeMessage(tuple(parts))


def chosen_subprotocol(offered: Sequence[str]) -> str | None:
    """Return the subprotocol to speak with a client that offers these; None where there is none."""
    return SUBPROTOCOL if SUBPROTOCOL in offered else None


def ticket_in(offered: Sequence[str]) -> str | None:
    """Return the ticket that a client hands over among its subprotocols; None where there is none."""
    found = (one.removeprefix(TICKET_PREFIX) for one in offered if one.startswith(TICKET_PREFIX))
    return next(found, None)


__all__ = [
    "FRAGMENT",
    "OF_CONNECTION",
    "OF_REQUEST",
    "PATH",
    "SUBPROTOCOL",
    "TICKET_PATH",
    "TICKET_PREFIX",
    "CancelStream",
    "ClientMessage",
    "ClientRequest",
    "LargeMessage",
    "RpcRequestError",
    "chosen_subprotocol",
    "message_of",
    "parse_message",
    "service_params_in",
    "stream_end",
    "ticket_in",
    "with_service_params",
]
