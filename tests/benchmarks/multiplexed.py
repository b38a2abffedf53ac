"""Clients of the load generator that speak gRPC and WebSocket: as little of both protocols as an answer needs.

A client has a connection of its own and one request at a time, as over HTTP/1.1, so that the bindings compare. The
frames are read by hand: a library's parser would take more CPU than the server has for the same events.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import hpack

from tests.benchmarks.load import Client, Plan
from tests.benchmarks.wire import Binding, http2_frame

_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY = 0, 1, 3, 4, 6, 7
_ACK = _END_STREAM = 0x1
_END_HEADERS = 0x4
_HEAD = 9  # bytes of a frame's head
_TEXT, _CONTINUED, _CLOSE, _PING_FRAME = 1, 0, 8, 9


class GrpcClient(Client):
    """A client of gRPC: HTTP/2 with windows as large as they can be."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self._stream = -1
        self.clear()

    def clear(self) -> None:
        self._body = bytearray()
        self._status: str | None = None

    def opened(self) -> None:
        self._buffer = bytearray()
        self._stream = -1
        self._decoder = hpack.Decoder()
        super().opened()

    def ask(self, request: bytes) -> None:
        self._stream += 2
        block = self._plan.header_blocks[self._stream > 1]
        head = http2_frame(_HEADERS, _END_HEADERS, self._stream, block)
        self.write(head + http2_frame(_DATA, _END_STREAM, self._stream, request))

    def take(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        at = 0
        while len(buffer) >= at + _HEAD:
            end = at + _HEAD + int.from_bytes(buffer[at : at + 3], "big")
            if end > len(buffer):
                break
            kind, flags, stream = buffer[at + 3], buffer[at + 4], int.from_bytes(buffer[at + 5 : at + 9], "big")
            payload = bytes(buffer[at + _HEAD : end])
            at = end
            self._take(kind, flags, stream, payload)
            if self._buffer is not buffer:  # the connection is another one now
                return
        del buffer[:at]

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind in (_SETTINGS, _PING) and not flags & _ACK:
            self.write(http2_frame(kind, _ACK, 0, payload if kind == _PING else b""))
        elif kind == _HEADERS:  # all of them are decoded: they change the table
            for name, value in self._decoder.decode(payload, raw=True):
                if name == b"grpc-status":
                    self._status = bytes(value).decode()
        elif kind == _GOAWAY or (kind == _RST_STREAM and self._status is None):
            self.fail(f"the server ended the stream by a frame of type {kind}")
            return
        elif kind == _DATA:
            self._body += payload
            if payload[5:6] == b"\x22":  # the field `artifact_update`
                self.artifact_seen()
        if kind in (_HEADERS, _DATA) and flags & _END_STREAM and stream == self._stream and self._busy:
            self.finish(bytes(self._body), None if self._status == "0" else f"gRPC status {self._status}")


class WebSocketClient(Client):
    """A client of WebSocket, on a connection that it opens once."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self._is_open = False
        self.clear()

    def clear(self) -> None:
        self._messages: list[bytes] = []

    def opened(self) -> None:
        self._is_open = False
        self._buffer = bytearray()
        self._parts: list[bytes] = []
        self._waiting = b""
        super().opened()

    def ask(self, request: bytes) -> None:
        if self._is_open:
            self.write(request)
        else:
            self._waiting = request

    def take(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        if not self._is_open and not self._read_handshake():
            return
        at = 0
        while len(buffer) >= at + 2:
            length, begin = buffer[at + 1], at + 2
            if length > 125:
                begin = at + (4 if length == 126 else 10)
                length = int.from_bytes(buffer[at + 2 : begin], "big")
            if len(buffer) < begin + length:
                break
            first, payload = buffer[at], bytes(buffer[begin : begin + length])
            at = begin + length
            self._take(first & 0xF, payload, whole=bool(first & 0x80))
            if self._buffer is not buffer:
                return
        del buffer[:at]

    def _read_handshake(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        if not self._buffer.startswith(b"HTTP/1.1 101"):
            self.fail(f"the handshake was refused: {bytes(self._buffer[:16])!r}")
            return False
        del self._buffer[: end + 4]
        self._is_open = True
        self.write(self._waiting)
        return True

    def _take(self, kind: int, payload: bytes, *, whole: bool) -> None:
        if kind == _PING_FRAME:
            self.write(bytes((0x8A, 0x80 | len(payload))) + bytes(4) + payload)
        elif kind == _CLOSE:
            self.fail(f"the server closed with {int.from_bytes(payload[:2], 'big')}")
        elif kind in (_TEXT, _CONTINUED):
            self._parts.append(payload)
            if whole:
                message = b"".join(self._parts)
                self._parts.clear()
                self._judge_message(message)

    def _judge_message(self, message: bytes) -> None:
        self._messages.append(message)
        if b"artifactUpdate" in message:
            self.artifact_seen()
        is_stream = self._plan.wire.mode == "stream" and b'"error"' not in message[:100]
        if self._busy and (not is_stream or b'"streamEnd":true' in message):
            self.finish(b"\n".join(self._messages))


KINDS: Final[Mapping[Binding, Callable[[Plan], Client]]] = {"grpc": GrpcClient, "websocket": WebSocketClient}
