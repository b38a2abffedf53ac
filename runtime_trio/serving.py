"""Serves an ASGI application on trio, over HTTP/1.1 and HTTP/2. Knows nothing of A2A or OpenCode."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from socket import socket
from ssl import SSLContext

import trio
from hypercorn.trio.lifespan import Lifespan
from hypercorn.typing import ASGIFramework

import runtime_http
from runtime_trio.connection import serve_one
from runtime_trio.context import Context
from sansio.transport.connections import ConnectionLimits
from sansio.transport.sharing import AcceptShare


async def serve_application(
    app: ASGIFramework,
    bind: str,
    stop: Callable[[], Awaitable[None]],
    ready: Callable[[list[str]], None],
    grace: float,
    limits: ConnectionLimits | None,
    tls: Callable[[], SSLContext] | None,
    share: AcceptShare | None = None,
) -> None:
    """Do what `runtime_trio.serve` promises."""
    server = runtime_http.Server(app, Context(None), bind=bind, grace=grace, limits=limits, tls=tls, share=share)
    sockets = server.listen()
    ready(runtime_http.addresses(sockets))
    lifespan = Lifespan(server.app, server.config, server.state)
    async with trio.open_nursery() as around:
        await around.start(lifespan.handle_lifespan)
        await lifespan.wait_for_startup()
        await _accept(server, sockets, stop)
        await lifespan.wait_for_shutdown()
        around.cancel_scope.cancel()


async def _accept(server: runtime_http.Server, sockets: list[socket], stop: Callable[[], Awaitable[None]]) -> None:
    """Take connections until `stop` returns; those that are open then have the configured time to end."""
    handler = partial(serve_one, server)
    shared = server.shared(sockets)
    listeners = shared if shared else [runtime_http.Listener(sock) for sock in sockets]
    async with trio.open_nursery() as looking:
        looking.start_soon(server.end_overdue)
        async with trio.open_nursery() as connections:
            try:
                async with trio.open_nursery() as accepting:
                    for one in listeners:
                        accepting.start_soon(_take_turns, one, handler, connections)
                    await stop()
                    accepting.cancel_scope.cancel()
            finally:
                server.accept_no_more()
                for one in listeners:
                    one.socket.close()
                await server.stop()
                connections.cancel_scope.deadline = trio.current_time() + server.config.graceful_timeout
        looking.cancel_scope.cancel()


async def _take_turns(
    listener: runtime_http.Listener,
    handler: Callable[[trio.SocketStream], Awaitable[None]],
    connections: trio.Nursery,
) -> None:
    """Take connections, as many at once as there are. trio's own way takes one for each turn of all tasks."""
    while True:
        await trio.lowlevel.wait_readable(listener.socket)
        if pause := listener.pause():
            await trio.sleep(pause)
        for _ in range(listener.at_once):
            if (connection := listener.take()) is None:
                break
            connections.start_soon(handler, trio.SocketStream(trio.socket.from_stdlib_socket(connection)))
