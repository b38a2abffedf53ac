"""The state of an HTTP/2 connection: h2's, where what takes long for each request takes less.

Header blocks are encoded without a table, and one that repeats the block before it is not decoded again. Frames of
answers are written as bytes, without h2's objects for frames. Streams go through h2's own states, so that it refuses
what it would refuse.

h2 ends the connection where a request is malformed. Here the stream is reset, and the others go on (RFC 9113, section
8.1.1), where the header blocks of later requests can still be decoded. It keeps every setting that a client sends,
of which there may be 65,536. Here the unknown ones are ignored (section 6.5.2). It sends nothing once either side has
announced that it leaves. Here the streams that are open go on (section 6.8).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import h2.stream
import hpack
import hyperframe.frame
from hypercorn.config import Config

from sansio.transport import header_blocks, heads

_DATA, _HEADERS, _GOAWAY, _CONTINUATION = 0x0, 0x1, 0x7, 0x9
_END_STREAM, _END_HEADERS = 0x1, 0x4

_KNOWN = frozenset(h2.settings.SettingCodes)

_Received: TypeAlias = tuple[list[hyperframe.frame.Frame], list[Any]]
"""Frames to send, and h2's events."""


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
        self.decoder: _Decoder = _Decoder(self.config)
        self.encoder = _Encoder()
        self._most = config.h2_max_concurrent_streams
        self._malformed: list[int] = []

    def take_malformed(self) -> list[int]:
        """Take the streams, one for each time, on which something malformed or too late came since the last time."""
        taken, self._malformed = self._malformed, []
        return taken

    @property
    def open_inbound_streams(self) -> int:
        """Return 0, or h2 would end the connection for a stream too many, which is refused here."""
        return 0

    def _receive_headers_frame(self, frame: hyperframe.frame.HeadersFrame) -> _Received:
        number, decoded = frame.stream_id, self.decoder.blocks
        begins = number not in self.streams
        is_full = begins and super().open_inbound_streams >= self._most
        try:
            received: _Received = super()._receive_headers_frame(frame)
        except h2.exceptions.NoSuchStreamError:  # the stream is over: h2 knows whether its client may not know that
            self._malformed.append(number)
            raise
        except h2.exceptions.ProtocolError:
            if self.decoder.blocks == decoded or number not in self.streams:
                raise
            self._reset(number, h2.errors.ErrorCodes.PROTOCOL_ERROR)
            return [], []
        if begins:
            self.decoder.keep()
        if is_full:
            self._reset(number, h2.errors.ErrorCodes.REFUSED_STREAM)
            return [], []
        if not begins and is_request(received[1][0].headers):
            # trailers, which h2 has not looked at where they repeat the request's head
            self._reset(number, h2.errors.ErrorCodes.PROTOCOL_ERROR)
            return [], []
        return received

    def _receive_data_frame(self, frame: hyperframe.frame.DataFrame) -> _Received:
        try:
            return super()._receive_data_frame(frame)
        except h2.exceptions.InvalidBodyLengthError:
            self._reset(frame.stream_id, h2.errors.ErrorCodes.PROTOCOL_ERROR)
            self.acknowledge_received_data(frame.flow_controlled_length, frame.stream_id)
            return [], []

    def _receive_settings_frame(self, frame: hyperframe.frame.SettingsFrame) -> _Received:
        frame.settings = {name: value for name, value in frame.settings.items() if name in _KNOWN}
        received: _Received = super()._receive_settings_frame(frame)
        return received

    def _receive_goaway_frame(self, frame: hyperframe.frame.GoAwayFrame) -> _Received:
        if frame.error_code != h2.errors.ErrorCodes.NO_ERROR:
            received: _Received = super()._receive_goaway_frame(frame)
            return received
        event = h2.events.ConnectionTerminated()
        event.error_code = h2.errors.ErrorCodes.NO_ERROR
        return [], [event]

    def announce_end(self, last: int) -> None:
        """Announce that no stream behind `last` is served. The open ones go on."""
        self._put(_GOAWAY, 0, 0, last.to_bytes(4, "big") + bytes(4))

    def _reset(self, number: int, code: h2.errors.ErrorCodes) -> None:
        self.reset_stream(number, code)
        self._malformed.append(number)

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
    fields, which need not be validated again once h2 has validated them: not all that is decoded is. `blocks`: how
    many were decoded.
    """

    def __init__(self, config: h2.config.H2Configuration) -> None:
        super().__init__(heads.LARGEST_LIST)  # before the client acknowledges it, too
        self._config = config
        self._block: bytes | None = None  # the last one, where it left the table as it was, and was validated
        self._fields: list[hpack.HeaderTuple] = []
        self._decoded: bytes | None = None  # the last one, where it left the table as it was
        self.blocks = 0

    def keep(self) -> None:
        """Keep the last block, which is validated."""
        self._block = self._decoded

    def decode(self, data: bytes, raw: bool = False) -> Iterable[hpack.HeaderTuple]:
        repeats = data == self._block
        self._config.validate_inbound_headers = not repeats
        if repeats:
            self.blocks += 1
            return self._fields
        self._block = self._decoded = None
        if header_blocks.is_costly(data):
            raise hpack.OversizedHeaderListError("too many fields")
        fields = list(super().decode(data, raw))
        self.blocks += 1
        if is_request(fields) and not header_blocks.changes_table(data):
            self._decoded, self._fields = data, fields
        return fields


class _Encoder(hpack.Encoder):
    """Encodes header blocks without the table that hpack searches for each field."""

    def encode(self, headers: Any, huffman: bool = True) -> bytes:
        return super().encode(()) + header_blocks.encoded(headers)  # the first part: changes of the table's size


def is_request(fields: Iterable[tuple[bytes, bytes]]) -> bool:
    """Return whether fields are those of a request, and not trailers."""
    return any(name == b":method" for name, _ in fields)
