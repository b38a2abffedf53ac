"""The state of an HTTP/2 connection: h2's, where what takes long for each request takes less.

Header blocks are encoded without a table, and one that repeats the block before it is not decoded again. Frames of
answers are written as bytes, without h2's objects for frames. Streams go through h2's own states, so that it refuses
what it would refuse.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import h2.config
import h2.connection
import h2.exceptions
import h2.settings
import h2.stream
import hpack
from hypercorn.config import Config

from sansio.transport import header_blocks, heads

_DATA, _HEADERS, _CONTINUATION = 0x0, 0x1, 0x9
_END_STREAM, _END_HEADERS = 0x1, 0x4


class Http2State(h2.connection.H2Connection):
    """The state of one connection. What the server sends is as it has to be, and is not looked through again."""

    def __init__(self, config: Config) -> None:
        super().__init__(
            h2.config.H2Configuration(
                client_side=False,
                header_encoding=None,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        settings = {
            h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: config.h2_max_concurrent_streams,
            h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE: config.h2_max_header_list_size,
            h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL: 0,  # there is no WebSocket
        }
        self.local_settings = h2.settings.Settings(client=False, initial_values=settings)
        self.decoder = _Decoder(self.config)
        self.encoder = _Encoder()

    def room(self, number: int) -> int:
        """Return how many bytes of a stream may be sent in a frame now; 0 where it is over."""
        stream = self.streams.get(number)
        if stream is None or stream.closed:
            return 0
        windows = min(self.outbound_flow_control_window, stream.outbound_flow_control_window)
        return max(0, min(windows, self.max_outbound_frame_size))

    def is_over(self, number: int) -> bool:
        """Return whether a stream is over for either side, though the application may still answer."""
        stream = self.streams.get(number)
        return stream is None or bool(stream.closed)

    def put_fields(self, number: int, fields: Iterable[tuple[bytes, bytes]], *, ends: bool) -> None:
        """Send a head, or trailers. Raises h2's `ProtocolError` where the stream does not allow it."""
        self.state_machine.process_input(h2.connection.ConnectionInputs.SEND_HEADERS)
        self._advance(number, h2.stream.StreamInputs.SEND_HEADERS, ends=ends)
        most = self.max_outbound_frame_size
        block = self.encoder.encode(fields)
        piece, block = block[:most], block[most:]
        kind, flags = _HEADERS, _END_STREAM if ends else 0
        while block:
            self._put(kind, flags, number, piece)
            kind, flags = _CONTINUATION, 0
            piece, block = block[:most], block[most:]
        self._put(kind, flags | _END_HEADERS, number, piece)

    def put_data(self, number: int, data: bytes, *, ends: bool) -> None:
        """Send a piece of a body, for which there is room.

        Raises h2's `ProtocolError` where the stream does not allow it.
        """
        self.state_machine.process_input(h2.connection.ConnectionInputs.SEND_DATA)
        stream = self._advance(number, h2.stream.StreamInputs.SEND_DATA, ends=ends)
        stream.outbound_flow_control_window -= len(data)
        self.outbound_flow_control_window -= len(data)
        self._put(_DATA, _END_STREAM if ends else 0, number, data)

    def _advance(self, number: int, what: h2.stream.StreamInputs, *, ends: bool) -> h2.stream.H2Stream:
        stream = self.streams.get(number)
        if stream is None:
            raise h2.exceptions.StreamClosedError(number)
        stream.state_machine.process_input(what)
        if ends:
            stream.state_machine.process_input(h2.stream.StreamInputs.SEND_END_STREAM)
        return stream

    def _put(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        self._data_to_send += (len(payload) << 48 | kind << 40 | flags << 32 | number).to_bytes(9, "big")
        self._data_to_send += payload


class _Decoder(hpack.Decoder):
    """Decodes header blocks, unless that is a lot of work. Then h2 ends the connection.

    Clients repeat themselves. A block that leaves the table as it is, and equals the one before it, has the same
    fields, which h2 has validated already.
    """

    def __init__(self, config: h2.config.H2Configuration) -> None:
        super().__init__(heads.LARGEST_LIST)  # before the client acknowledges it, too
        self._config = config
        self._block: bytes | None = None  # the last one, where it left the table as it was
        self._fields: list[hpack.HeaderTuple] = []

    def decode(self, data: bytes, raw: bool = False) -> Iterable[hpack.HeaderTuple]:
        repeats = data == self._block
        self._config.validate_inbound_headers = not repeats
        if repeats:
            return self._fields
        self._block = None
        if header_blocks.is_costly(data):
            raise hpack.OversizedHeaderListError("too many fields")
        fields = list(super().decode(data, raw))
        if is_request(fields) and not header_blocks.changes_table(data):
            self._block, self._fields = data, fields
        return fields


class _Encoder(hpack.Encoder):
    """Encodes header blocks without the table that hpack searches for each field."""

    def encode(self, headers: Any, huffman: bool = True) -> bytes:
        return super().encode(()) + header_blocks.encoded(headers)  # the first part: changes of the table's size


def is_request(fields: Iterable[tuple[bytes, bytes]]) -> bool:
    """Return whether fields are those of a request, and not trailers."""
    return any(name == b":method" for name, _ in fields)
