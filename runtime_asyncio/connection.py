"""One connection on asyncio: its bytes, its tasks, its end. Knows nothing of A2A or OpenCode."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, cast

from hypercorn.events import Closed, Event, RawData, Updated

import runtime_http
from runtime_asyncio.context import Flag, Tasks
from sansio.transport.connections import Connection

_READ_AHEAD = 65536  # bytes that are received before their reader has taken any


class Served(asyncio.Protocol):
    """One connection that is served, from its acceptance to its last byte. `tasks`: those of all open connections.

    Hypercorn's own class keeps a connection for as long as its idle timer runs, also when the client has closed it.
    """

    def __init__(
        self, server: runtime_http.Server, tasks: set[asyncio.Task[None]], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._server = server
        self._tasks = tasks
        self._loop = loop
        self._buffer = bytearray()
        self._readable = Flag()
        self._writable = Flag()
        self._writable.set()
        self._gone = Flag()  # the client has ended its side, or the connection is lost
        self._lock = asyncio.Lock()
        self._queued = 0  # writes that wait for each other
        self._lost = self._over = self._reading_paused = False
        self._tls = server.tls_session()
        self._clock: Connection
        self._transport: asyncio.Transport
        self._protocol: runtime_http.Protocol | None = None  # none until the handshake of TLS is complete

    # --- called by the event loop -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        clock = self._server.pool.admit(peer[0] if peer else "", self._abort)
        if clock is None:
            self._over = True
            if self._tls is None:  # a handshake for one who is not served is too much
                self._transport.write(runtime_http.TOO_MANY)
            self._transport.close()
            return
        self._clock = clock
        task = self._loop.create_task(self._run(peer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def data_received(self, data: bytes) -> None:
        if self._over:
            return
        self._buffer += data
        self._readable.set()
        if len(self._buffer) > _READ_AHEAD:
            self._reading_paused = True
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        self._end_of_input()
        return True  # what the client waits for may still be written

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._end_of_input()
        self._writable.set()
        if hasattr(self, "_clock"):
            self._server.pool.remove(self._clock)

    def _abort(self) -> None:
        """End the connection at once."""
        if self._protocol is not None:
            self._protocol.end_now()
        self._transport.abort()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def _end_of_input(self) -> None:
        self._gone.set()
        self._readable.set()
        if hasattr(self, "_clock"):
            self._clock.ended(self._loop.time())

    # --- the connection's own task ------------------------------------------------------------------------

    async def _run(self, peer: Any) -> None:
        """Serve the connection. What a client sends can make this fail; the log gets the kinds of errors alone."""
        name = self._transport.get_extra_info("sockname")
        try:
            if not await self._handshake():
                return
            async with Tasks(self._loop) as tasks:
                calls = (self._send, self._write_now)
                self._protocol = protocol = self._server.protocol(tasks, peer, name, *calls, self._clock, self._tls)
                await protocol.begin()
                while not self._over:
                    data = await self._receive()
                    await protocol.handle(RawData(data))
                    if not data:
                        break
                await protocol.handle(Closed())
        except* Exception as group:
            runtime_http.log_failure(group)
        finally:
            await self._close()
            self._protocol = None  # which has this connection: both would be left to the garbage collector

    async def _handshake(self) -> bool:
        """Complete the handshake of TLS, within the time of a head. Returns whether HTTP may begin."""
        tls = self._tls
        return tls is None or await runtime_http.shake_hands(tls, self._received, self._send_pending)

    async def _receive(self) -> bytes:
        """Take the bytes of HTTP that came; empty at their end, and once the connection is over."""
        data = await self._received() if self._tls is None else await self._decrypted(self._tls)
        if data:
            self._clock.received(self._loop.time())
        return data

    async def _decrypted(self, tls: runtime_http.TlsSession) -> bytes:
        return await runtime_http.read_decrypted(tls, self._received, self._send_pending, self._end_of_input)

    async def _send_pending(self, tls: runtime_http.TlsSession) -> None:
        """Send what TLS itself has to say. It waits for the client to read, so that nobody makes this grow."""
        data = tls.pending()
        if data and not self._transport.is_closing():
            self._transport.write(data)
            await self._wait_writable()

    async def _received(self) -> bytes:
        """Take the bytes that came; empty at their end, and once the connection is over."""
        while not self._buffer:
            if self._over or self._gone.is_set():
                return b""
            self._readable.clear()
            await self._readable.wait()
        data = bytes(self._buffer)
        self._buffer.clear()
        if self._reading_paused:
            self._reading_paused = False
            self._transport.resume_reading()
        return data

    async def _send(self, event: Event) -> None:
        """Do what the protocol asks for: write, note that requests run or do not, end the connection."""
        if isinstance(event, RawData):
            await self._write(event.data)
        elif isinstance(event, Updated):
            if event.idle:
                self._clock.idle(self._loop.time())
            else:
                self._clock.busy()
        else:
            self._over = True
            self._readable.set()

    async def _write(self, data: bytes) -> None:
        if self._transport.is_closing() or (self._tls is not None and self._tls.broken):
            if self._protocol is not None:
                await self._protocol.handle(Closed())
        elif len(data) <= runtime_http.PIECE and self._writable.is_set() and not self._queued:
            self._transport.write(self._encrypted(data))  # nobody need wait
            if not self._writable.is_set():
                await self._wait_writable()
        else:
            self._queued += 1  # the lock is free for a moment before the next one has it
            try:
                async with self._lock:
                    for start in range(0, len(data), runtime_http.PIECE):
                        await self._wait_writable()
                        self._transport.write(self._encrypted(data[start : start + runtime_http.PIECE]))
                    await self._wait_writable()
            finally:
                self._queued -= 1

    def _write_now(self, data: bytes) -> bool:
        """Write a piece if nobody has to wait for that. Returns whether it is written."""
        if self._queued or not self._writable.is_set() or len(data) > runtime_http.PIECE:
            return False
        if self._transport.is_closing() or (self._tls is not None and self._tls.broken):
            return False
        self._transport.write(self._encrypted(data))
        return True

    def _encrypted(self, data: bytes) -> bytes:
        """Encrypt just before the bytes are written: records have an order."""
        return data if self._tls is None else self._tls.encrypt(data)

    async def _wait_writable(self) -> None:
        """Wait until the client has read enough. Cancelled meanwhile, the connection is of no use any more."""
        if self._writable.is_set():
            return
        self._clock.writing(0, self._loop.time())
        try:
            await self._writable.wait()
        except BaseException:
            self._transport.abort()
            raise
        finally:
            self._clock.written(0)

    async def _close(self) -> None:
        """Close once everything is written, or at once where the client has gone.

        A client that is still sending would be reset by that, and lose the answer: it is shown the end first.
        """
        transport = self._transport
        self._over = True
        try:
            if not self._lost:
                if self._tls is not None and not transport.is_closing():
                    self._tls.close()
                    transport.write(self._tls.pending())
                transport.set_write_buffer_limits(high=0)
                await self._wait_writable()
            if not self._gone.is_set() and (self._protocol is None or self._protocol.unread):
                if self._reading_paused:
                    transport.resume_reading()
                with suppress(OSError):  # the client may have reset the connection meanwhile
                    transport.write_eof()
                self._clock.closing(self._loop.time())
                await self._gone.wait()
            transport.close()
        except BaseException:
            transport.abort()
            raise
