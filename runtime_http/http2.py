"""HTTP/2 as Hypercorn has it, but with an end to everything, and fewer writes.

Differs from Hypercorn in this: control frames are counted against useful work; header blocks that are costly to
decode are refused; priorities are ignored; a body that goes on after its answer harms no other stream; a client has
the time of a write to make room for each piece of an answer; an answer that the application leaves without an end is
reset; trailers are sent to who does not ask for them; requests that come at once begin one by one, so that other
connections have their turns. The head of an answer is sent together with what follows at
once, and so is its end with the rest of the body.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import suppress
from copy import copy
from typing import Any

import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import hpack
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import Body, EndBody, Response, StreamClosed, Trailers
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h2 import BUFFER_LOW_WATER, H2Protocol, StreamBuffer
from priority.priority import DeadlockError

from sansio.transport import header_blocks, heads
from sansio.transport.connections import Connection
from sansio.transport.frames import FrameBudget

_log = logging.getLogger(__name__)

_STREAM_PIECE = 65536  # bytes of one stream that have the time of a write


class Http2(H2Protocol):
    """HTTP/2 whose client spends its control frames on requests."""

    def __init__(self, *parts: Any, connection: Connection) -> None:
        super().__init__(*parts)
        self.config = copy(self.config)
        self.config.max_app_queue_size = 64  # frames; the window of a stream bounds no bytes that were acknowledged
        self.connection.local_settings[h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL] = 0  # nor is there WebSocket
        self.connection.local_settings.acknowledge()
        self.connection.decoder = _Decoder(heads.LARGEST_LIST)  # before the client acknowledges it, too
        connection.multiplexed = True
        self._clock = connection
        self._budget = FrameBudget(self.context.time())

    async def handle(self, event: Event) -> None:
        if isinstance(event, RawData) and not self._budget.take(event.data, self.context.time()):
            await self._calm()
            return
        await super().handle(event)
        if isinstance(event, Closed):
            for buffer in list(self.stream_buffers.values()):  # or who waits for room in one waits for ever
                await buffer.close()
        elif self.idle:
            await self.send(Updated(idle=True))

    async def _handle_events(self, events: list[h2.events.Event]) -> None:
        """Handle what the client sent. A body that goes on after its answer is thrown away.

        Hypercorn fails on one, and the connection with all its requests ends. A stream that the server has to reset
        for the client's fault costs as much as one that the client resets: its request has begun, too. Of requests
        that came together, one begins, and others have their turn before the next: a connection gets no larger share
        of the server by asking for more at once.
        """
        begun = False
        for event in events:
            if isinstance(event, h2.events.RequestReceived):
                if begun:
                    await self.context.sleep(0)
                if self.closed:
                    return
                begun = True
            reset = isinstance(event, h2.events.StreamReset) and not event.remote_reset
            if reset and not self._budget.provoked():
                await self._calm()
                return
            if isinstance(event, h2.events.DataReceived) and event.stream_id not in self.streams:
                with suppress(h2.exceptions.ProtocolError):
                    self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                await self._flush()
            else:
                await super()._handle_events([event])

    async def _priority_updated(self, event: h2.events.PriorityUpdated) -> None:
        """Ignore a priority, as RFC 9113 lets a server do.

        Hypercorn keeps each stream that one names, and fails at the thousandth.
        """

    async def _send_data(self, stream_id: int) -> None:
        try:
            await super()._send_data(stream_id)
        except KeyError:  # Hypercorn looks for the buffer of a stream that ended meanwhile, and its buffer with it
            with suppress(KeyError):
                self.priority.remove_stream(stream_id)

    async def _create_stream(self, request: h2.events.RequestReceived) -> None:
        fields = [(name, value) for name, value in request.headers if name != b":path"]
        path = next((value for name, value in request.headers if name == b":path"), b"")
        refusal = heads.refused_fields(path, fields)
        if refusal is not None:
            _log.info("refused a request with %d: %s", refusal.status, refusal.reason)
            head = [(b":status", str(refusal.status).encode()), (b"content-length", b"0")]
            self.connection.send_headers(request.stream_id, head, end_stream=True)
            return
        if all(name != b"te" for name, _ in request.headers):
            request.headers.append((b"te", b"trailers"))  # or Hypercorn keeps trailers back, and a call has no status
        await super()._create_stream(request)
        self.stream_buffers[request.stream_id] = Buffer(self.context.event_class)  # the application has yet to run

    def _is_reset(self, number: int) -> bool:
        """Whether a stream is over for either side, though the application may still answer."""
        stream = self.connection.streams.get(number)
        return stream is None or bool(stream.closed)

    async def _calm(self) -> None:
        """End the connection: the client makes work and asks for nothing."""
        try:
            self.connection.close_connection(error_code=h2.errors.ErrorCodes.ENHANCE_YOUR_CALM)
        except h2.exceptions.ProtocolError:
            pass
        else:
            await self._flush()
        await self.send(Closed())

    async def stream_send(self, event: StreamEvent) -> None:
        """Send a piece of an answer; the client has the time of a write to make room for it.

        So it has for trailers: they wait until all of the body is sent.
        """
        if isinstance(event, Response):
            await self._begin(event)
            return
        number = event.stream_id
        if isinstance(event, StreamClosed):
            await self._reset(number)
        if not isinstance(event, Body | EndBody | Trailers):
            await super().stream_send(event)
            return
        if number not in self.stream_buffers:  # all is sent, or nobody wants it any more
            return
        if not self._is_reset(number):  # nothing is sent, and the client has nothing to acknowledge
            self._budget.sent()
        try:
            for piece in _pieces(event):
                self._clock.writing(number, self.context.time())
                if isinstance(piece, Body) or not await self._end(piece):
                    await super().stream_send(piece)
        finally:
            self._clock.written(number)

    async def _begin(self, event: Response) -> None:
        """Send the head of an answer together with what follows at once, or by `send_task` where nothing does."""
        head = [(b":status", b"%d" % event.status_code), *event.headers, *self.config.response_headers("h2")]
        with suppress(h2.exceptions.ProtocolError):
            self.connection.send_headers(event.stream_id, head)
        await self.has_data.set()

    async def _reset(self, number: int) -> None:
        """Reset a stream whose answer has no end: the application has left it. Or its client waits for the rest."""
        buffer = self.stream_buffers.get(number)
        if buffer is None or buffer.complete or self._is_reset(number):
            return
        with suppress(h2.exceptions.ProtocolError):
            self.connection.reset_stream(number, h2.errors.ErrorCodes.INTERNAL_ERROR)
        await self._flush()
        await self._window_updated(number)  # what waits for room is thrown away

    async def _end(self, event: EndBody | Trailers) -> bool:
        """Send the rest of an answer and its end at once where there is room. Returns whether that was so."""
        number = event.stream_id
        rest = bytes(self.stream_buffers[number].buffer)
        try:
            if len(rest) > min(
                self.connection.local_flow_control_window(number), self.connection.max_outbound_frame_size
            ):
                return False
            del self.stream_buffers[number]
            self.priority.remove_stream(number)
            is_last = isinstance(event, EndBody)
            if rest or is_last:
                self.connection.send_data(number, rest, end_stream=is_last)
            if isinstance(event, Trailers):
                self.connection.send_headers(number, event.headers, end_stream=True)
        except h2.exceptions.ProtocolError:
            return number not in self.stream_buffers  # or Hypercorn sees to the stream that is over
        await self._flush()
        return True

    async def send_task(self) -> None:
        """Send what waits, a frame of one stream after the other, and heads that have nothing behind them."""
        while not self.closed:
            try:
                number = next(self.priority)
            except DeadlockError:
                await self._flush()
                await self.has_data.wait()
                await self.has_data.clear()
            else:
                await self._send_data(number)


class _Decoder(hpack.Decoder):
    """Decodes header blocks, unless that is a lot of work. Then h2 ends the connection."""

    def decode(self, data: bytes, raw: bool = False) -> Iterable[hpack.HeaderTuple]:
        if header_blocks.is_costly(data):
            raise hpack.OversizedHeaderListError("too many fields")
        return super().decode(data, raw)


class Buffer(StreamBuffer):
    """The bytes of an answer that wait for its client to make room.

    Hypercorn's own takes more whenever a little has left, or nothing: it grows as long as the client does not read.
    """

    async def pop(self, max_length: int) -> bytes:
        """Take at most so many bytes off the front."""
        data = bytes(self.buffer[:max_length])
        del self.buffer[:max_length]
        if len(self.buffer) < BUFFER_LOW_WATER:
            await self._paused.set()
        if not self.buffer:
            await self._is_empty.set()
        return data


def _pieces(event: Body | EndBody | Trailers) -> list[Body] | list[EndBody | Trailers]:
    if not isinstance(event, Body):
        return [event]
    if len(event.data) <= _STREAM_PIECE:
        return [event]
    data = event.data
    starts = range(0, len(data), _STREAM_PIECE)
    return [Body(stream_id=event.stream_id, data=data[start : start + _STREAM_PIECE]) for start in starts]
