"""The WebSocket binding, as it is served: calls of JSON-RPC whose streams are messages of their own.

A frame ends with a line feed, which is not part of its message: so frames that come together can be split.
"""

from __future__ import annotations

from typing import ClassVar

from attrs import frozen

from sansio.a2a.bindings import jsonrpc
from sansio.a2a.bindings.http_messages import Request, Response
from sansio.a2a.bindings.json_output import Steps, encoded_pieces
from sansio.a2a.errors import ProtocolError
from sansio.a2a.model import JsonObject
from sansio.a2a.serving.rpc_call import RpcCall, call_of
from sansio.a2a.serving.served import ServedProtocol


@frozen(kw_only=True)
class WebSocketCall(RpcCall):
    """A call over WebSocket. The body of a response is a message; a notification has none."""

    keep_alive: ClassVar[bytes] = b""

    def refuse(self, error: ProtocolError) -> Response:
        """Render a refusal."""
        if self.notification:
            return self.respond(None)
        return Response(200, jsonrpc.render_error(self.request_id, error, self.version))

    def frame(self, number: int, encoded: bytes) -> bytes:
        """Render one event of a stream. `encoded`: a stream item, by `encode`."""
        return b'%b%b,"eventId":"%d"}\n' % (self.prefix, encoded, number)

    def frame_in_steps(self, number: int, item: JsonObject) -> Steps[list[bytes]]:
        """Render one event of a stream, which may be large, in steps and pieces, one at least."""
        *most, last = yield from encoded_pieces(item)
        return [self.prefix, *most, b'%b,"eventId":"%d"}\n' % (last, number)]

    def failure_frame(self, error: ProtocolError) -> bytes:
        """Render an error inside a stream: without an `eventId`, as nothing was sent that a reader could miss."""
        return jsonrpc.render_error(self.request_id, error, self.version) + b"\n"

    def comment(self, text: str) -> bytes:
        """Return nothing: why a stream ends is in its last message."""
        return b""


def understand(envelope: jsonrpc.RpcRequest, request: Request, served: ServedProtocol) -> WebSocketCall:
    """Return the call of a message. `request`: has the service parameters as headers. Raises `CallRefusedError`."""
    return call_of(WebSocketCall, envelope, request, served)
