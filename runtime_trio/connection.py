"""One connection on trio: its bytes, its tasks, its end. Knows nothing of A2A or OpenCode."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

import trio
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.typing import TaskGroup

import runtime_http
from runtime_trio.context import Tasks
from sansio.transport.connections import Connection


async def serve_one(server: runtime_http.Server, stream: trio.SocketStream) -> None:
    """Serve a connection that was accepted, unless it is one too many."""
    try:
        peer, name = stream.socket.getpeername(), stream.socket.getsockname()
    except OSError:  # it is gone already
        stream.socket.close()
        return
    served = _Served(server, stream.socket)
    clock = server.pool.admit(peer[0], served.abort)
    if clock is None and server.speaks_tls:  # a handshake for one who is not served is too much
        stream.socket.close()
        return
    if clock is None:
        with trio.move_on_after(server.pool.limits.closing):
            with suppress(OSError):
                await stream.socket.send(runtime_http.TOO_MANY)
        stream.socket.close()
        return
    try:
        await served.run(clock, peer, name)
    finally:
        server.pool.remove(clock)
        stream.socket.close()


class _Served:
    """One connection that is served.

    Hypercorn's own class keeps a connection for as long as its idle timer runs, also when the client has closed it,
    and cannot be ended while it writes.
    """

    def __init__(self, server: runtime_http.Server, socket: trio.socket.SocketType) -> None:
        self._server = server
        self._socket = socket
        self._clock: Connection
        self._lock = trio.Lock()
        self._reading = trio.CancelScope()
        self._rest = b""  # of what was written without waiting
        self._running: TaskGroup
        self._gone = False  # the client has ended its side, or the connection is lost
        self._tls: runtime_http.TlsSession | None = None
        self._protocol: runtime_http.Protocol | None = None  # none until the handshake of TLS is complete

    def abort(self) -> None:
        """End the connection at once."""
        if self._protocol is not None:
            self._protocol.end_now()
        self._socket.close()

    async def run(self, clock: Connection, peer: tuple[Any, ...], name: tuple[Any, ...]) -> None:
        """Serve the connection. What a client sends can make this fail; the log gets the kinds of errors alone."""
        self._clock = clock
        self._tls = self._server.tls_session()
        try:
            if await self._handshake():
                async with Tasks() as tasks:
                    self._running = tasks
                    calls = (self._send, self._write_now)
                    protocol = self._server.protocol(tasks, peer, name, *calls, self._clock, self._tls)
                    self._protocol = protocol
                    await protocol.begin()
                    with self._reading:
                        await self._read(protocol)
                    await protocol.handle(Closed())
            await self._show_end()
        except* Exception as group:
            runtime_http.log_failure(group)
        finally:
            self._protocol = None  # which has this connection: both would be left to the garbage collector

    async def _handshake(self) -> bool:
        """Complete the handshake of TLS, within the time of a head. Returns whether HTTP may begin."""
        tls = self._tls
        return tls is None or await runtime_http.shake_hands(tls, self._received, self._send_pending)

    async def _read(self, protocol: runtime_http.Protocol) -> None:
        while True:
            data = await self._received() if self._tls is None else await self._decrypted(self._tls)
            if data:
                self._clock.received(trio.current_time())
            await protocol.handle(RawData(data))
            if not data:
                return

    async def _received(self) -> bytes:
        """Take the bytes that came; empty at their end."""
        data: bytes | None = None
        try:
            while data is None and self._socket.fileno() >= 0:
                await trio.lowlevel.wait_readable(
                    self._socket
                )  # trio's own `recv` tries first, nearly always in vain
                with suppress(BlockingIOError):
                    data = os.read(self._socket.fileno(), runtime_http.PIECE)
        except (OSError, trio.ClosedResourceError):
            pass
        if not data:
            self._end_of_input()
        return data or b""

    async def _decrypted(self, tls: runtime_http.TlsSession) -> bytes:
        """Take the bytes of HTTP that came; empty at their end."""
        return await runtime_http.read_decrypted(tls, self._received, self._send_pending, self._end_of_input)

    def _end_of_input(self) -> None:
        self._gone = True
        self._clock.ended(trio.current_time())

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
        if not await self._written(data) and self._protocol is not None:
            await self._protocol.handle(Closed())

    async def _written(self, data: bytes) -> bool:
        """Write bytes of HTTP; without any, what TLS itself has to say. Returns whether the client can have it.

        Others have their turn only where it has to wait.
        """
        if self._lock.locked():
            await self._lock.acquire()
        else:
            self._lock.acquire_nowait()
        try:
            if self._rest:
                rest, self._rest = self._rest, b""
                await self._write_piece(memoryview(rest))
            for start in range(0, len(data) or 1, runtime_http.PIECE):
                piece = memoryview(data)[start : start + runtime_http.PIECE]
                if self._tls is not None:
                    piece = memoryview(self._tls.encrypt(piece))
                await self._write_piece(piece)
        except (OSError, trio.ClosedResourceError):
            return False
        except BaseException:
            self._socket.close()  # half a piece is of no use to the client
            raise
        finally:
            self._lock.release()
        return self._tls is None or not self._tls.broken

    def _write_now(self, data: bytes) -> bool:
        """Write a piece if nobody has to wait for that; what the socket does not take at once is written by a task.

        Returns False where nothing is written.
        """
        if self._lock.locked() or self._rest or len(data) > runtime_http.PIECE or self._socket.fileno() < 0:
            return False
        if self._tls is not None:
            if self._tls.broken:
                return False
            data = self._tls.encrypt(data)
        sent = 0
        try:
            sent = os.write(self._socket.fileno(), data)
        except BlockingIOError:
            pass
        except OSError:
            return False
        if sent < len(data):
            self._rest = data[sent:]
            self._running.spawn(self._write, b"")
        return True

    async def _write_piece(self, piece: memoryview) -> None:
        """Write a piece; the client has the time of a write to make room for it. Raises `OSError`.

        trio's own `send` gives everybody else their turn each time, which costs more than the write.
        """
        is_waiting = False
        try:
            while piece:
                try:
                    piece = piece[os.write(self._socket.fileno(), piece) :]
                except BlockingIOError:
                    if not is_waiting:
                        is_waiting = True
                        self._clock.writing(0, trio.current_time())
                    await trio.lowlevel.wait_writable(self._socket)
        finally:
            if is_waiting:
                self._clock.written(0)

    async def _send_pending(self, tls: runtime_http.TlsSession) -> None:
        """Send what TLS itself has to say. It waits for the client to read, so that nobody makes this grow."""
        if tls.has_pending:
            await self._written(b"")

    async def _show_end(self) -> None:
        """Let a client that is still sending see the end: a plain close would reset it, and it loses the answer."""
        if self._tls is not None:
            self._tls.close()
            await self._send_pending(self._tls)
        if self._gone or (self._protocol is not None and not self._protocol.unread):
            return
        self._clock.closing(trio.current_time())
        with suppress(OSError, trio.ClosedResourceError):
            self._socket.shutdown(trio.socket.SHUT_WR)
            while await self._socket.recv(runtime_http.PIECE):
                pass
