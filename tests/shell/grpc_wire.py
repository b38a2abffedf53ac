"""A transport for `httpx` that speaks gRPC: it takes parameters as JSON, and gives answers as HTTP+JSON does.

So the tests of every operation run over gRPC as over the other bindings. It is a client of its own, on `h2` and the
protobuf library's own JSON; nothing of the server's conversion is in it.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import unquote

import anyio
import h2.config
import h2.connection
import h2.events
import httpx
import orjson
from attrs import define, field
from google.protobuf import json_format

from sansio.a2a.bindings.grpc import CODES
from sansio.a2a.errors import ErrorKind
from sansio.a2a.operations import Operation
from sansio.a2a.protobuf.messages import POOL, RPCS, STATUS, Rpc
from tests.shell.grpc_wire_0_3 import answer_of, request_of

PREFIX = "/grpc/"
"""The path of a request begins with it, and goes on with the version, a slash and the name of the operation.

Its body is the parameters: of version 1.0 as its messages have them, of version 0.3 as its JSON schema does.
"""

RESUME = "urn:opencode-a2a:extension:stream-resume:v1"
_EARLY = "the stream ends here"
"""The status of a stream that ends before its task, for no fault of it, which the other bindings have as a remark."""
_HTTP = {"FAILED_PRECONDITION": 400, "INVALID_ARGUMENT": 400, "NOT_FOUND": 404, "PERMISSION_DENIED": 403}
_REASONS = {kind.name: kind for kind in ErrorKind}
_RPCS = {f"{rpc.version}/{rpc.operation.name.lower()}": rpc for rpc in RPCS.values()}


@define(eq=False)
class Exchange:
    """One call on a connection of its own: the messages that came, and the trailers at the end."""

    stream: anyio.abc.SocketStream
    connection: h2.connection.H2Connection = field(
        factory=lambda: h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    )
    head: dict[str, str] = field(factory=dict)
    trailers: dict[str, str] | None = None
    ended: bool = False
    _buffer: bytes = b""

    async def begin(self, headers: list[tuple[str, str]], body: bytes) -> None:
        self.connection.initiate_connection()
        self.connection.send_headers(1, headers)
        self.connection.send_data(1, len(body).to_bytes(5, "big") + body, end_stream=True)
        await self.flush()

    async def flush(self) -> None:
        await self.stream.send(self.connection.data_to_send())

    async def message(self) -> bytes | None:
        """The next message; None once the stream has ended."""
        while len(self._buffer) < 5 or len(self._buffer) < 5 + int.from_bytes(self._buffer[:5], "big"):
            if self.ended:
                assert not self._buffer
                return None
            try:
                data = await self.stream.receive()
            except anyio.EndOfStream:
                raise httpx.RemoteProtocolError("the connection ended") from None
            for event in self.connection.receive_data(data):
                self.take(event)
            await self.flush()
        end = 5 + int.from_bytes(self._buffer[:5], "big")
        message, self._buffer = self._buffer[5:end], self._buffer[end:]
        return message

    def take(self, event: object) -> None:
        match event:
            case h2.events.ResponseReceived(headers=headers):
                self.head = {str(name): str(value) for name, value in headers}
            case h2.events.TrailersReceived(headers=headers):
                self.trailers = {str(name): str(value) for name, value in headers}
            case h2.events.DataReceived(data=data, flow_controlled_length=length):
                self._buffer += data
                self.connection.acknowledge_received_data(length, 1)
            case h2.events.StreamEnded():
                self.ended = True
            case h2.events.StreamReset() | h2.events.ConnectionTerminated():
                raise httpx.RemoteProtocolError(str(event))


class Frames(httpx.AsyncByteStream):
    """The events of a stream as Server-Sent Events."""

    def __init__(self, exchange: Exchange, rpc: Rpc, first: bytes, *, resumes: bool) -> None:
        self._resumes = resumes  # the test asked for the numbers itself
        self._exchange = exchange
        self._rpc = rpc
        self._first: bytes | None = first
        self._over = False  # the failure that it ends with is given

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        message, self._first = self._first, None
        if message is None and not self._over:
            message = await self._exchange.message()
        if message is not None:
            return self._event(message)
        if self._over or (error := error_of(self._exchange)) is None:
            raise StopAsyncIteration
        self._over = True
        _, is_early, reason = str(error[1]["error"]["message"]).partition(_EARLY)  # version 0.3 names the error first
        if is_early:
            return b": %b%b\n" % (_EARLY.encode(), reason.encode())
        return b"data: %b\n\n" % orjson.dumps(error[1])

    def _event(self, message: bytes) -> bytes:
        value = members_of(self._rpc, message)
        [item] = value.values()
        number = 0
        shared = item.get("metadata", {}).get("shared", {})
        if "resume" in shared:
            number = int((shared["resume"] if self._resumes else shared.pop("resume"))["event_id"])
            if not shared:
                del item["metadata"]["shared"]
            if not item["metadata"]:
                del item["metadata"]
        return b"id: %d\ndata: %b\n\n" % (number, orjson.dumps(json_of(self._rpc, value)))

    async def aclose(self) -> None:
        await self._exchange.stream.aclose()


def members_of(rpc: Rpc, message: bytes) -> dict[str, Any]:
    """The members of an answer's message."""
    found = whole(json_format.MessageToDict(rpc.answer.FromString(message)))
    return {**_DEFAULTS.get(rpc.operation, {}), **found}


def json_of(rpc: Rpc, members: dict[str, Any]) -> Any:
    """The answer in the shape that tests read: on version 0.3 that of its schema."""
    return answer_of(rpc.operation, members) if rpc.version == "0.3" else members


def params_of(rpc: Rpc, params: dict[str, Any]) -> dict[str, Any]:
    """The members of a request's message."""
    found = request_of(rpc.operation, params) if rpc.version == "0.3" else params
    return {name: _BOOLS.get(value, value) if isinstance(value, str) else value for name, value in found.items()}


_DEFAULTS: dict[Operation, dict[str, Any]] = {
    Operation.LIST_TASKS: {"nextPageToken": "", "totalSize": 0, "tasks": []},
    Operation.LIST_PUSH_CONFIGS: {"configs": []},
}
"""What JSON has, and a message of Protocol Buffers leaves out."""


def whole(value: Any) -> Any:
    """The value with whole numbers: those of a `Struct` have a fraction."""
    if isinstance(value, dict):
        return {name: whole(member) for name, member in value.items()}
    if isinstance(value, list):
        return [whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def error_of(exchange: Exchange) -> tuple[int, dict[str, Any]] | None:
    """The error of a call as HTTP+JSON has it: its status and its body."""
    assert exchange.head[":status"] == "200"
    assert exchange.head["content-type"].startswith("application/grpc")
    assert exchange.trailers is not None
    code = int(exchange.trailers["grpc-status"])
    if code == 0:
        return None
    text = exchange.trailers["grpc-status-details-bin"]
    found = STATUS.FromString(base64.b64decode(text + "=" * (-len(text) % 4)))
    assert (found.code, found.message) == (code, unquote(exchange.trailers["grpc-message"]))
    body = json_format.MessageToDict(found, descriptor_pool=POOL)
    [info] = [one for one in body["details"] if one["@type"].endswith("ErrorInfo")]
    info.setdefault("metadata", {})
    kind = _REASONS.get(info["reason"])  # None for an error of an extension
    status = next(name for name, number in CODES.items() if number == code)
    http = _HTTP[status] if kind is None else kind.row.http
    return http, {"error": {**body, "code": http, "status": status}}


class GrpcTransport(httpx.AsyncBaseTransport):
    """Speaks gRPC for requests whose path begins with `PREFIX`, and leaves the others to another transport."""

    def __init__(self, other: httpx.AsyncBaseTransport) -> None:
        self._other = other

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if not request.url.path.startswith(PREFIX):
            return await self._other.handle_async_request(request)
        rpc = _RPCS[request.url.path.removeprefix(PREFIX)]
        params = params_of(rpc, orjson.loads(request.content))
        body = json_format.ParseDict(params, rpc.request()).SerializeToString()
        own = {"te": "trailers", "content-type": "application/grpc"}
        passed = {name.lower(): value for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP}
        resumes = any(RESUME in passed.get(name, "") for name in ("a2a-extensions", "x-a2a-extensions"))
        if rpc.operation.row.streaming and not resumes:
            passed["a2a-extensions"] = ", ".join(filter(None, (passed.get("a2a-extensions"), RESUME)))
        pseudo = [(":method", "POST"), (":path", rpc.path), (":scheme", "http"), (":authority", "agent")]
        pseudo[-1] = (":authority", request.headers["host"])
        stream = await anyio.connect_tcp(request.url.host, request.url.port or 80)
        exchange = Exchange(stream)
        await exchange.begin([*pseudo, *(passed | own).items()], body)
        streams = rpc.operation.row.streaming
        try:
            first = await exchange.message()
            if first is not None and not streams:
                assert await exchange.message() is None
            error = error_of(exchange) if exchange.ended else None
        except BaseException:
            await anyio.aclose_forcefully(stream)
            raise
        if error is not None or not streams:
            await stream.aclose()
        headers = answer_headers(exchange, resumes=resumes)
        if error is not None and first is None:
            return httpx.Response(error[0], headers=headers, json=error[1])
        assert first is not None
        if not streams:
            answer = orjson.dumps(json_of(rpc, members_of(rpc, first)))
            return httpx.Response(200, headers=headers, content=answer)
        headers["content-type"] = "text/event-stream"
        return httpx.Response(200, headers=headers, stream=Frames(exchange, rpc, first, resumes=resumes))

    async def aclose(self) -> None:
        await self._other.aclose()


_BOOLS: dict[Any, Any] = {"true": True, "false": False}  # as a query has them
_HOP_BY_HOP = frozenset({"host", "connection", "content-length", "content-type", "accept", "accept-encoding"})


def answer_headers(exchange: Exchange, *, resumes: bool) -> dict[str, str]:
    """The headers of an answer, without the extension that the test has not asked for itself."""
    left_out = {":status", "content-type", "grpc-accept-encoding"}
    found = {name: value for name, value in exchange.head.items() if name not in left_out}
    uris = [uri for uri in found.pop("a2a-extensions", "").split(", ") if uri and (resumes or uri != RESUME)]
    return found | ({"a2a-extensions": ", ".join(uris)} if uris else {})
