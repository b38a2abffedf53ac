"""Listens on loopback for servers that tests write themselves.

anyio's own listener loses a connection on asyncio where it is cancelled in the step that accepts it: the socket stays
open until it is collected as garbage, in the midst of another test.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext
from typing import Any

import anyio
from anyio.abc import Listener, SocketAttribute, SocketStream, TaskGroup
from anyio.streams.tls import TLSListener

HOST = "127.0.0.1"


class LoopbackListener(Listener[SocketStream]):
    """A listening socket on loopback, on any free port or a given one. Raises `OSError` where that is taken."""

    def __init__(self, port: int = 0) -> None:
        self._socket = socket.create_server((HOST, port))
        self._socket.setblocking(False)
        self.port: int = self._socket.getsockname()[1]

    async def serve(self, handler: Callable[[SocketStream], Any], task_group: TaskGroup | None = None) -> None:
        """Start a handler for each connection, until cancelled."""
        async with nullcontext(task_group) if task_group else anyio.create_task_group() as tasks:
            while True:
                await anyio.wait_readable(self._socket)
                try:
                    connection, _ = self._socket.accept()
                except BlockingIOError:  # its client has left
                    continue
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with anyio.CancelScope(shield=True):
                    stream = await SocketStream.from_socket(connection)
                tasks.start_soon(handler, stream)

    async def aclose(self) -> None:
        """Stop listening."""
        if self._socket.fileno() >= 0:
            anyio.notify_closing(self._socket)
            self._socket.close()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """What TLS asks of its listener."""
        return {SocketAttribute.raw_socket: lambda: self._socket}


@asynccontextmanager
async def listening(
    handler: Callable[[Any], Awaitable[None]], tls: ssl.SSLContext | None = None
) -> AsyncGenerator[int]:
    """Serve connections, over TLS where it is given, and give the port; end their handlers at the end."""
    listener = LoopbackListener()
    served: Listener[Any] = listener
    if tls is not None:
        served = TLSListener(listener, tls, standard_compatible=False)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(served.serve, handler)
        try:
            yield listener.port
        finally:
            tasks.cancel_scope.cancel()
