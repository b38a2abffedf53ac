"""One connection on trio: its bytes, its tasks, its end. Knows nothing of A2A or OpenCode."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import trio
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.trio.task_group import TaskGroup

import runtime_http
from sansio.transport.connections import Connection


async def serve_one(server: runtime_http.Server, stream: trio.SocketStream) -> None:
    """Serve a connection that was accepted, unless it is one too many."""
    try:
        peer, name = stream.socket.getpeername(), stream.socket.getsockname()
    except OSError:  # it is gone already
        stream.socket.close()
        return
    clock = server.pool.admit(peer[0], stream.socket.close)
    if clock is None:
        with trio.move_on_after(server.pool.limits.closing):
            with suppress(OSError):
                await stream.socket.send(runtime_http.TOO_MANY)
        stream.socket.close()
        return
    try:
        await _Served(server, stream.socket, clock).run(peer, name)
    finally:
        server.pool.remove(clock)
        stream.socket.close()


class _Served:
    """One connection that is served.

    Hypercorn's own class keeps a connection for as long as its idle timer runs, also when the client has closed it,
    and cannot be ended while it writes.
    """

    def __init__(self, server: runtime_http.Server, socket: trio.socket.SocketType, clock: Connection) -> None:
        self._server = server
        self._socket = socket
        self._clock = clock
        self._lock = trio.Lock()
        self._reading = trio.CancelScope()
        self._gone = False  # the client has ended its side, or the connection is lost
        self._protocol: runtime_http.Protocol

    async def run(self, peer: tuple[Any, ...], name: tuple[Any, ...]) -> None:
        """Serve the connection. What a client sends can make this fail; the log gets the kinds of errors alone."""
        try:
            async with TaskGroup() as tasks:
                self._protocol = self._server.protocol(tasks, peer, name, self._send, self._clock)
                with self._reading:
                    await self._read()
                await self._protocol.handle(Closed())
            await self._show_end()
        except* Exception as group:
            runtime_http.log_failure(group)

    async def _read(self) -> None:
        while True:
            try:
                data = await self._socket.recv(runtime_http.PIECE)
            except (OSError, trio.ClosedResourceError):
                data = b""
            if data:
                self._clock.received(trio.current_time())
            else:
                self._gone = True
                self._clock.ended(trio.current_time())
            await self._protocol.handle(RawData(data))
            if not data:
                return

    async def _send(self, event: Event) -> None:
        """Do what the protocol asks for: write, note that requests run or do not, end the connection."""
        if isinstance(event, RawData):
            await self._write(event.data)
        elif isinstance(event, Updated):
            if event.idle:
                self._clock.idle(trio.current_time())
            else:
                self._clock.busy()
        else:
            self._reading.cancel()

    async def _write(self, data: bytes) -> None:
        lost = False
        async with self._lock:
            try:
                for start in range(0, len(data), runtime_http.PIECE):
                    self._clock.writing(0, trio.current_time())
                    piece = memoryview(data)[start : start + runtime_http.PIECE]
                    while piece:
                        piece = piece[await self._socket.send(piece) :]
            except (OSError, trio.ClosedResourceError):
                lost = True
            except BaseException:
                self._socket.close()  # half a piece is of no use to the client
                raise
            finally:
                self._clock.written(0)
        if lost:
            await self._protocol.handle(Closed())

    async def _show_end(self) -> None:
        """Let a client that is still sending see the end: a plain close would reset it, and it loses the answer."""
        if self._gone or not self._protocol.unread:
            return
        self._clock.closing(trio.current_time())
        with suppress(OSError, trio.ClosedResourceError):
            self._socket.shutdown(trio.socket.SHUT_WR)
            while await self._socket.recv(runtime_http.PIECE):
                pass
