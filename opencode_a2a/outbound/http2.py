"""One HTTP/2 connection of an outbound request: h2 decides, anyio moves bytes.

It carries one stream at a time, so that whoever reads an answer reads the connection, and no task has to beside it.
What is not read is not acknowledged: the peer sends no more than a window. Knows no policy and no limit of time.
Failures are those of httpx; their texts hold nothing that was sent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Iterator
from typing import Final

import anyio
import httpx
from anyio.abc import ByteStream
from anyio.streams.tls import TLSAttribute
from attrs import define, field
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    PingAckReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import FrameTooLargeError, H2Error, ProtocolError
from h2.settings import SettingCodes, Settings

from opencode_a2a.outbound.exchange import BROKEN, PING_AFTER, AnswerHead, Headers, Key, is_readable, sent_headers
from sansio.outbound import Target

ALPN: Final = "h2"

_READ_SIZE: Final = 64 * 1024
_WINDOW: Final = 1024 * 1024  # bytes that may be on their way to us
_CLOSING: Final = 0.2  # seconds to let the peer know that the rest is not wanted
_STALE_FRAMES: Final = 8  # pieces that an idle connection may have got before it is used again

_HEAD: Final = 9  # bytes of a frame's head
_GOAWAY: Final = 7
_GOAWAY_BODY: Final = 8
_LARGEST_FRAME: Final = 16384  # as the settings say

_SETTINGS: Final = {
    SettingCodes.ENABLE_PUSH: 0,
    SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW,
    SettingCodes.MAX_CONCURRENT_STREAMS: 1,
    SettingCodes.MAX_HEADER_LIST_SIZE: 64 * 1024,
}
_NOT_SENT: Final = frozenset({b"content-length", b"connection", b"transfer-encoding"})


def speaks_http2(stream: ByteStream) -> bool:
    """Return whether a TLS handshake has chosen HTTP/2."""
    return stream.extra(TLSAttribute.alpn_protocol, None) == ALPN


@define(eq=False)
class _Exchange:
    """One request and its answer. `unread`: pieces of the body, each with the bytes that it takes of the window."""

    stream_id: int
    sent: bool = False
    head: AnswerHead | None = None
    unread: deque[tuple[bytes, int]] = field(factory=deque)
    trailers: Headers = field(factory=list)
    ended: bool = False
    failure: str = ""

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self.ended or bool(self.failure)


@define(eq=False)
class Http2Connection:
    """A connection for one request after another. `key` says for which, `idle_until` how long it may be kept."""

    key: Key
    _stream: ByteStream
    _protocol: H2Connection
    idle_until: float = 0.0
    _received: bytearray = field(factory=bytearray, init=False)
    _exchange: _Exchange = field(factory=lambda: _Exchange(0, sent=True, ended=True), init=False)
    _leaving: bool = field(default=False, init=False)  # the peer takes no more requests
    _pinged: bool = field(default=False, init=False)

    @classmethod
    def over(cls, stream: ByteStream, key: Key) -> Http2Connection:
        """Return a connection over a stream that is open, and whose peer is known to speak HTTP/2."""
        protocol = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        protocol.local_settings = Settings(client=True, initial_values=_SETTINGS)
        protocol.initiate_connection()
        protocol.increment_flow_control_window(_WINDOW - 65535)
        return cls(key, stream, protocol)

    # --- the request --------------------------------------------------------------------------------------

    async def send(self, request: httpx.Request, target: Target, seconds: float) -> None:
        """Send a request; each piece of a window may take some seconds.

        Raises `httpx.WriteTimeout`. Failing otherwise is left to `head`: the other side may have answered early.
        """
        assert isinstance(request.stream, AsyncIterable)
        parts = aiter(request.stream)
        headers = [
            (b":method", request.method.encode()),
            (b":scheme", target.scheme.encode()),
            (b":authority", target.authority.encode()),
            (b":path", target.path.encode()),
        ]
        headers += [(name.lower(), value) for name, value in sent_headers(request)]
        try:
            self._exchange = _Exchange(self._protocol.get_next_available_stream_id())
            sent = [(name, value) for name, value in headers if name not in _NOT_SENT]
            self._protocol.send_headers(self._exchange.stream_id, sent)
            async for part in parts:
                await self._send_part(part, seconds)
            if not self._exchange.over:
                self._protocol.end_stream(self._exchange.stream_id)
                self._exchange.sent = True
            await self._within(seconds)
        except H2Error:
            raise httpx.LocalProtocolError("the request cannot be written as HTTP/2") from None
        except (httpx.NetworkError, httpx.RemoteProtocolError):
            return
        finally:
            if isinstance(parts, AsyncGenerator):
                with anyio.CancelScope(shield=True):
                    await parts.aclose()

    async def _send_part(self, part: bytes, seconds: float) -> None:
        left = memoryview(part)
        while left and not self._exchange.over:
            stream_id = self._exchange.stream_id
            size = min(self._protocol.local_flow_control_window(stream_id), self._protocol.max_outbound_frame_size)
            if size > 0:
                self._protocol.send_data(stream_id, bytes(left[:size]))
                left = left[size:]
                await self._within(seconds)
            else:
                await self._within(seconds, receiving=True)

    async def _within(self, seconds: float, *, receiving: bool = False) -> None:
        try:
            with anyio.fail_after(seconds):
                await self._flush()
                if receiving:
                    await self._receive()
        except TimeoutError:
            raise httpx.WriteTimeout("the request was not taken in time") from None

    # --- the answer ---------------------------------------------------------------------------------------

    async def head(self) -> AnswerHead:
        """Return the head of the answer. Raises `httpx.RemoteProtocolError`, `httpx.ReadError`."""
        exchange = self._exchange
        while exchange.head is None:
            if exchange.over:
                raise httpx.RemoteProtocolError(exchange.failure or "the answer does not begin")
            await self._receive()
        return exchange.head

    async def part(self) -> bytes | None:
        """Return what has come of the body, as soon as there is any; None at its end. Raises like `head`.

        An empty part shows that the peer lives, after it was silent for `PING_AFTER`.
        """
        exchange = self._exchange
        while not exchange.unread:
            if exchange.failure:
                raise httpx.RemoteProtocolError(exchange.failure)
            if exchange.ended:
                return None
            if await self._probed():
                return b""
        parts = []
        while exchange.unread:
            part, size = exchange.unread.popleft()
            parts.append(part)
            self._acknowledge(size)
        await self._flush()
        return b"".join(parts)

    def _acknowledge(self, size: int) -> None:
        try:
            self._protocol.acknowledge_received_data(size, self._exchange.stream_id)
        except H2Error:
            self._leaving = True  # the connection is closed already; what has come is good

    async def _probed(self) -> bool:
        """Receive something; return whether the peer has answered a ping. One is sent after a long silence."""
        waited_for, self._pinged = self._pinged, False
        with anyio.move_on_after(PING_AFTER) as scope:
            await self._receive()
        if scope.cancelled_caught:
            self._pinged = False
            self._protocol.ping(b"is alive")
            await self._flush()
            return False
        return self._pinged and not waited_for

    # --- the connection -----------------------------------------------------------------------------------

    async def _receive(self) -> None:
        """Take what the peer sends next. Raises `httpx.RemoteProtocolError`, `httpx.ReadError`."""
        await self._flush()
        try:
            data = await self._stream.receive(_READ_SIZE)
        except anyio.EndOfStream:
            raise httpx.RemoteProtocolError("the answer breaks off") from None
        except BROKEN:
            raise httpx.ReadError("the connection broke") from None
        self._received += data
        try:
            for frame in self._frames():
                if not self._is_farewell(frame):
                    for event in self._protocol.receive_data(frame):
                        self._take(event)
        except H2Error:
            self._leaving = True
            raise httpx.RemoteProtocolError("the answer is not HTTP/2") from None
        await self._flush()

    def _frames(self) -> Iterator[bytes]:
        """Yield the frames that are whole. Raises `FrameTooLargeError` for one that is too long."""
        while len(self._received) >= _HEAD:
            length = int.from_bytes(self._received[:3], "big")
            end = _HEAD + length
            if length > _LARGEST_FRAME:
                raise FrameTooLargeError
            if end > len(self._received):
                return
            frame = bytes(self._received[:end])
            del self._received[:end]
            yield frame

    def _is_farewell(self, frame: bytes) -> bool:
        """Return whether a frame says that the peer takes no more requests, and note what that means for this one.

        h2 takes it for the end of the connection, and would refuse what follows: the rest of the answer.
        """
        if frame[3] != _GOAWAY or len(frame) < _HEAD + _GOAWAY_BODY or any(frame[5:_HEAD]):
            return False
        last = int.from_bytes(frame[_HEAD : _HEAD + 4], "big") & 0x7FFFFFFF
        self._leaving = True
        code = int.from_bytes(frame[_HEAD + 4 : _HEAD + 8], "big")
        if (last < self._exchange.stream_id or code != ErrorCodes.NO_ERROR) and not self._exchange.ended:
            self._exchange.failure = "the server leaves without an answer"
        return True

    def _take(self, event: Event) -> None:
        exchange = self._exchange
        match event:
            case PingAckReceived():
                self._pinged = True
            case ResponseReceived(stream_id=exchange.stream_id, headers=headers):
                exchange.head = _head_of(headers or [], exchange.trailers)
            case DataReceived(stream_id=exchange.stream_id, data=data, flow_controlled_length=size) if size:
                exchange.unread.append((data or b"", size))
            case TrailersReceived(stream_id=exchange.stream_id, headers=headers):
                exchange.trailers += headers or []
            case StreamEnded(stream_id=exchange.stream_id):
                exchange.ended = True
            case StreamReset(stream_id=exchange.stream_id) if not exchange.ended:
                exchange.failure = "the answer was broken off"
            case _:
                pass

    async def _flush(self) -> None:
        data = self._protocol.data_to_send()
        if data:
            try:
                await self._stream.send(data)
            except BROKEN:
                raise httpx.ReadError("the connection broke") from None

    def is_reusable(self) -> bool:
        """Return whether the exchange is over and another may follow."""
        exchange = self._exchange
        return exchange.sent and exchange.ended and not exchange.unread and not self._leaving

    async def is_dead(self) -> bool:
        """Return whether the peer has left, after what it has sent meanwhile was read."""
        try:
            with anyio.fail_after(_CLOSING):
                for _ in range(_STALE_FRAMES):
                    if not is_readable(self._stream):
                        return self._leaving
                    await self._receive()
        except (TimeoutError, httpx.TransportError):
            return True
        return True

    async def aclose(self) -> None:
        """Close it at once, and ask the peer not to send the rest."""
        exchange = self._exchange
        with anyio.move_on_after(_CLOSING):
            try:
                if not (exchange.over and exchange.sent):
                    self._protocol.reset_stream(exchange.stream_id, ErrorCodes.CANCEL)
                self._protocol.close_connection()
                await self._flush()
            except (H2Error, httpx.TransportError):
                pass
        await anyio.aclose_forcefully(self._stream)


def _head_of(headers: Headers, trailers: Headers) -> AnswerHead:
    """Return the head of an answer. `trailers`: the list that holds them once they have come.

    Raises `ProtocolError` of h2 for a status that is none, which h2 lets through.
    """
    status = next(value for name, value in headers if name == b":status")
    if len(status) != 3 or not status.isdigit():
        raise ProtocolError("a status has three digits")
    fields = [(name, value) for name, value in headers if not name.startswith(b":")]
    extensions = {"http_version": b"HTTP/2", "trailers": trailers}
    return AnswerHead(int(status), fields, extensions)
