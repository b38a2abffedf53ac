"""HTTP/2 on h2, with an end to everything, and few writes.

    bytes -> FrameBudget -> h2 -> streams          application -> h2 -> one write
                                                       \\-> waits for room -> a frame of each stream in turn

Of what a client may do, this is bounded: control frames are counted against useful work; header blocks that are
costly to decode are refused; priorities are ignored; a body that goes on after its answer harms no other stream; a
client has the time of a write to make room for each piece of an answer. An answer that the application leaves without
an end is reset. Trailers are sent to who does not ask for them. The head of an answer is sent together with what
follows at once, and so is its end with the rest of the body.

Requests that come at once begin one by one, so that other connections have their turns. Nothing of an answer is kept
here but the piece that waits for room: its application waits with it. An application that asks for room makes its
answer only while its client does not leave too many bytes of others unread.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any, Final

import h2.errors
import h2.events
import h2.exceptions
import h2.settings
from attrs import define, field, frozen
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.typing import AppWrapper, ConnectionState, TaskGroup, WorkerContext
from hypercorn.typing import Event as Wakeup

from runtime_http.http2_state import Http2State
from runtime_http.stream import ROOM, Application, Fields, HttpStream, scope_of
from sansio.transport import heads
from sansio.transport.connections import Connection
from sansio.transport.frames import FrameBudget

_log = logging.getLogger(__name__)

_STREAM_PIECE: Final = 65536  # bytes of one stream that have the time of a write
_MOST_UNREAD: Final = 16 * 1024 * 1024  # bytes of whole answers; a proxy may have all of its users on one connection
_MAKING: Final = 4  # answers of one connection that are made at the same time; methods of the agent's have others
_MOST_WAITING: Final = 64  # frames of a body; the window of a stream bounds no bytes that were acknowledged
_SLICE: Final = 16_384  # bytes that are handled before others have their turn; with small frames, some 10 ms
_OLD: Final = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"})


@define(eq=False)
class _Piece:
    """A piece of an answer that waits for its client to make room. `ends`: the stream ends with it."""

    data: memoryview
    ends: bool
    is_taken: Wakeup = field(repr=False)


@frozen
class _Head:
    """The head of a request. `fields`: with the host, and without what HTTP/2 has in their place."""

    method: str = ""
    target: bytes = b""
    fields: tuple[tuple[bytes, bytes], ...] = ()
    refusal: heads.Refusal | None = None


def _head_of(fields: Iterable[tuple[bytes, bytes]]) -> _Head:
    special = {name: value for name, value in fields if name.startswith(b":")}
    target, method = special.pop(b":path", b""), special[b":method"]
    plain = [(name, value) for name, value in fields if not name.startswith(b":")]
    refusal = heads.refused_fields(target, (*special.items(), *plain))
    if refusal is None and not (target.isascii() and method.isascii()):
        refusal = heads.Refusal(400, "the method or the target is not ASCII")
    if refusal is not None:
        return _Head(refusal=refusal)
    host = special.get(b":authority")
    if host is not None:
        plain = [(b"host", host), *((name, value) for name, value in plain if name != b"host")]
    return _Head(method.decode().upper(), target, tuple(plain))


class Http2:
    """HTTP/2 whose client spends its control frames on requests."""

    def __init__(
        self,
        app: AppWrapper,
        config: Config,
        context: WorkerContext,
        task_group: TaskGroup,
        state: ConnectionState,
        ssl: bool,
        client: tuple[str, int] | None,
        server: tuple[str, int] | None,
        send: Callable[[Event], Awaitable[None]],
        *,
        write_now: Callable[[bytes], bool],
        connection: Connection,
    ) -> None:
        self._app: Application = app
        self._config = config
        self._context = context
        self._tasks = task_group
        self._about = {"scheme": "https" if ssl else "http", "client": client, "server": server}
        self._state = state
        self._send = send
        self._write_now = write_now
        self._left = b""  # of what could not be written at once
        self._h2 = Http2State(config)
        self._streams: dict[int, HttpStream] = {}
        self._waiting: dict[int, _Piece] = {}
        self._taken: list[tuple[int, int]] = []  # bytes of bodies that are not acknowledged yet, and their streams
        self._making: dict[int, bool] = {}  # streams whose answers are made; whether by a method of the agent's
        self._unread: dict[int, int] = {}  # bytes of whole answers, until their streams are over
        self._room: deque[tuple[int, bool, Wakeup]] = deque()  # who waits to make an answer, the first to come first
        self._requests = 0
        self._last = 0  # the last stream that is served
        self._is_closed = False
        self._is_left = False  # the client has announced that it leaves
        self._ends = False  # that no other request is served has been announced
        self._fields: list[Any] = []
        self._head = _Head()  # of the last request
        connection.multiplexed = True
        self._clock = connection
        self._budget = FrameBudget(context.time())

    async def initiate(self) -> None:
        """Begin the connection."""
        self._h2.initiate_connection()
        await self._flush()

    # --- what the client sends ------------------------------------------------------------------------------

    async def handle(self, event: Event) -> None:
        """Take bytes that came, or the end of the connection."""
        if isinstance(event, RawData):
            for start in range(0, len(event.data), _SLICE):
                if start:
                    await self._context.sleep(0)
                if self._is_closed:
                    return
                await self._take(event.data[start : start + _SLICE])
            if self._taken:  # now, or a client that sends more than its window would not be noticed
                self._acknowledge()
                await self._flush()
        elif isinstance(event, Closed):
            self._is_closed = True
            for number in list(self._streams):
                await self._close(number)

    async def _take(self, data: bytes) -> None:
        if not self._budget.take(data, self._context.time()):
            await self._calm()
            return
        try:
            events = self._h2.receive_data(data)
        except h2.exceptions.ProtocolError:
            self._is_closed = True
            await self._flush()
            await self._send(Closed())
            return
        begun = False
        for event in events:
            if isinstance(event, h2.events.RequestReceived):
                if begun:  # others have their turn: nobody gets a larger share by asking for more at once
                    await self._context.sleep(0)
                begun = True
            if self._is_closed:
                return
            reset = isinstance(event, h2.events.StreamReset) and not event.remote_reset
            if reset and not self._budget.provoked():
                await self._calm()
                return
            await self._handle(event)
        for number in self._h2.take_malformed():
            if not self._budget.provoked():
                await self._calm()
                return
            await self._close(number)
        await self._flush()
        if not self._streams:
            await self._rest()

    async def _handle(self, event: h2.events.Event) -> None:
        """Handle what the client sent.

        A body that goes on after its answer is thrown away. A stream that the server has to reset for the client's
        fault costs as much as one that the client resets: its request has begun, too. Priorities are ignored, as
        RFC 9113 lets a server do.
        """
        if isinstance(event, h2.events.RequestReceived):
            await self._request(event)
        elif isinstance(event, h2.events.DataReceived):
            stream = self._streams.get(event.stream_id)
            if stream is not None:
                await stream.give(event.data, more=event.stream_ended is None)
            self._taken.append((event.flow_controlled_length, event.stream_id))
            if stream is not None and stream.is_full:
                self._acknowledge()
                await self._flush()
                await stream.room()
        elif isinstance(event, h2.events.StreamEnded):
            stream = self._streams.get(event.stream_id)
            if stream is not None and not stream.is_whole:
                await stream.give(b"", more=False)
        elif isinstance(event, h2.events.StreamReset):
            await self._close(event.stream_id)
        elif isinstance(event, h2.events.WindowUpdated):
            await self._send_waiting()
        elif isinstance(event, h2.events.RemoteSettingsChanged):
            if h2.settings.SettingCodes.INITIAL_WINDOW_SIZE in event.changed_settings:
                await self._send_waiting()
        elif isinstance(event, h2.events.ConnectionTerminated):
            self._is_left = True
            if event.error_code != h2.errors.ErrorCodes.NO_ERROR:
                await self._send(Closed())

    def _acknowledge(self) -> None:
        """Give back the room of what came in bodies, also where its stream is over."""
        taken, self._taken = self._taken, []
        for size, number in taken:
            with suppress(h2.exceptions.ProtocolError):
                self._h2.acknowledge_received_data(size, number)

    async def _request(self, event: h2.events.RequestReceived) -> None:
        number = event.stream_id
        if self._context.terminated.is_set() or self._requests >= self._config.keep_alive_max_requests:
            if not self._ends:
                self._ends = True
                self._h2.announce_end(self._last)
            with suppress(h2.exceptions.ProtocolError):  # the client may send it again, on another connection
                self._h2.reset_stream(number, h2.errors.ErrorCodes.REFUSED_STREAM)
            return
        if event.headers != self._fields:  # clients repeat themselves
            self._fields, self._head = event.headers, _head_of(event.headers)
        head = self._head
        if head.refusal is not None:
            _log.info("refused a request with %d: %s", head.refusal.status, head.refusal.reason)
            fields = [(b":status", b"%d" % head.refusal.status), (b"content-length", b"0")]
            with suppress(h2.exceptions.ProtocolError):
                self._h2.put_fields(number, fields, ends=True)
            if not self._budget.provoked():  # the application, which counts requests, never has this one
                await self._calm()
            return
        scope = scope_of(head.method, "2", head.target, list(head.fields), trailers=True)
        scope |= self._about
        scope["state"] = self._state.copy()
        scope["extensions"][ROOM] = {"take": partial(self._take_room, number), "hold": partial(self._hold, number)}
        stream = HttpStream(self._app, self._context, self, number, scope, _MOST_WAITING)
        self._streams[number] = stream
        stream.begin(self._tasks)
        await self._send(Updated(idle=False))
        self._requests += 1
        self._last = number

    async def _close(self, number: int) -> None:
        """End a stream, for its application and for whoever waits for room in it."""
        stream = self._streams.pop(number, None)
        self._making.pop(number, None)
        self._unread.pop(number, None)
        if stream is not None:
            await stream.close()
        piece = self._waiting.pop(number, None)
        if piece is not None:
            await piece.is_taken.set()
        await self._give_room()

    async def _rest(self) -> None:
        """Note that no request runs, and end the connection where either side leaves."""
        if self._is_left or self._ends or self._context.terminated.is_set():
            await self._end(h2.errors.ErrorCodes.NO_ERROR)
        else:
            await self._send(Updated(idle=True))

    def end_now(self) -> None:
        """Announce the end of the connection, which follows, if that waits for nothing.

        A client knows by that which of its requests it may send again: those that were on their way.
        """
        with suppress(h2.exceptions.ProtocolError):
            self._h2.close_connection(last_stream_id=self._last)
        if not self._left:
            self._write_now(self._h2.data_to_send())

    async def _calm(self) -> None:
        """End the connection: the client makes work and asks for nothing."""
        await self._end(h2.errors.ErrorCodes.ENHANCE_YOUR_CALM)

    async def _end(self, code: h2.errors.ErrorCodes) -> None:
        self._is_closed = True
        try:
            self._h2.close_connection(error_code=code, last_stream_id=self._last)
        except h2.exceptions.ProtocolError:
            pass
        else:
            await self._flush()
        await self._send(Closed())

    # --- what the application sends -------------------------------------------------------------------------

    def _has_room(self, *, for_method: bool) -> bool:
        making = sum(one is for_method for one in self._making.values())
        return making < _MAKING and sum(self._unread.values()) < _MOST_UNREAD

    async def _take_room(self, number: int, *, for_method: bool = False) -> bool:
        """Return once there is room to make an answer: True, or False where its client has left."""
        if self._has_room(for_method=for_method) and not any(one[1] is for_method for one in self._room):
            self._making[number] = for_method
        elif number in self._streams:
            has_room = self._context.event_class()
            self._room.append((number, for_method, has_room))
            await has_room.wait()
        return number in self._streams

    async def _hold(self, number: int, size: int) -> None:
        """Count an answer that is made, until its stream is over. `size`: bytes."""
        if self._making.pop(number, None) is not None:
            self._unread[number] = size
            await self._give_room()

    async def _give_room(self) -> None:
        """Wake who may make an answer by now, and who need not wait any longer, as the client has left."""
        free = {for_method: self._has_room(for_method=for_method) for for_method in (False, True)}
        for one in list(self._room):
            number, for_method, has_room = one
            if number in self._streams:
                if not free[for_method]:
                    continue
                self._making[number] = for_method
                free[for_method] = self._has_room(for_method=for_method)
            self._room.remove(one)
            await has_room.set()

    async def send_head(self, number: int, status: int, headers: Fields, *, more: bool) -> None:
        """Send the head of an answer; with `more`, together with what follows."""
        if number not in self._streams:
            return
        head = [(b":status", b"%d" % status), *_lower(headers), *self._config.response_headers("h2")]
        with suppress(h2.exceptions.ProtocolError):
            self._h2.put_fields(number, head, ends=False)
        if not more:
            await self._flush()

    async def send_body(self, number: int, data: bytes, *, ends: bool) -> None:
        """Send a piece of an answer; the client has the time of a write to make room for each 64 kB."""
        self._count(number)
        if len(data) <= self._h2.room(number):
            with suppress(h2.exceptions.ProtocolError):
                self._h2.put_data(number, data, ends=ends)
            await self._flush()
            return
        for start in range(0, len(data), _STREAM_PIECE):
            end = start + _STREAM_PIECE
            await self._send_piece(number, memoryview(data)[start:end], ends=ends and end >= len(data))

    def send_now(self, number: int, data: bytes) -> bool:
        """Send a piece of an answer if that waits for nothing. Returns whether it is sent."""
        has_room = number in self._streams and len(data) <= self._h2.room(number)
        if not has_room or self._left or not self._write_now(b""):
            return False
        self._count(number)
        with suppress(h2.exceptions.ProtocolError):  # the connection is over
            self._h2.put_data(number, data, ends=False)
        ready = self._h2.data_to_send()
        if not self._write_now(ready):  # with what was to be sent before it, it is too much
            self._left = ready
            self._tasks.spawn(self._flush)
        return True

    async def send_end(self, number: int, data: bytes, trailers: Fields) -> None:
        """Send the rest of an answer and its trailers, which wait until all of the body is sent."""
        self._count(number)
        if len(data) > self._h2.room(number):
            await self.send_body(number, data, ends=False)
            data = b""
        with suppress(h2.exceptions.ProtocolError):
            if data:
                self._h2.put_data(number, data, ends=False)
            self._h2.put_fields(number, _lower(trailers), ends=True)
        await self._flush()

    async def finish(self, number: int, *, whole: bool) -> None:
        """End a stream. One whose answer has no end is reset, or its client waits for the rest."""
        if not (whole or self._h2.is_over(number)):
            with suppress(h2.exceptions.ProtocolError):
                self._h2.reset_stream(number, h2.errors.ErrorCodes.INTERNAL_ERROR)
            await self._flush()
        await self._close(number)
        if not self._streams:
            await self._rest()

    async def _send_piece(self, number: int, data: memoryview, *, ends: bool) -> None:
        """Send a piece as far as there is room, and wait until there was room for the rest."""
        piece = _Piece(data, ends, self._context.event_class())
        while self._h2.room(number) and not self._send_frame(number, piece):
            pass
        await self._flush()
        if not piece.data or self._h2.is_over(number) or number not in self._streams:
            return
        self._waiting[number] = piece
        self._clock.writing(number, self._context.time())
        try:
            await piece.is_taken.wait()
        finally:
            self._waiting.pop(number, None)
            self._clock.written(number)

    def _send_frame(self, number: int, piece: _Piece) -> bool:
        """Send a frame of a piece, where there is room. Returns whether nothing is left of it."""
        room = self._h2.room(number)
        data, piece.data = piece.data[:room], piece.data[room:]
        if data:
            with suppress(h2.exceptions.ProtocolError):  # the connection is over
                self._h2.put_data(number, bytes(data), ends=piece.ends and not piece.data)
        return not piece.data

    async def _send_waiting(self) -> None:
        """Send what waits for room: a frame of one stream after the other."""
        goes_on = True
        while goes_on:
            goes_on = False
            for number, piece in list(self._waiting.items()):
                left = len(piece.data)
                if self._send_frame(number, piece):
                    await self._waiting.pop(number).is_taken.set()
                elif len(piece.data) < left:
                    goes_on = True
                    self._waiting[number] = self._waiting.pop(number)  # behind the others, if room ends here
            await self._flush()

    async def _flush(self) -> None:
        left, self._left = self._left, b""
        data = left + self._h2.data_to_send()
        if data:
            await self._send(RawData(data))

    def _count(self, number: int) -> None:
        """Count a piece of an answer, which the client may acknowledge. On a stream that is over, nothing is sent."""
        if not self._h2.is_over(number):
            self._budget.sent()


def _lower(headers: Fields) -> Fields:
    """Return the fields with names as HTTP/2 has them, without those that are HTTP/1.1's alone."""
    return [(name, value) for name, value in ((name.lower(), value) for name, value in headers) if name not in _OLD]
