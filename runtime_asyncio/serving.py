"""Serves an ASGI application on asyncio, over HTTP/1.1 and HTTP/2. Knows nothing of A2A or OpenCode."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from socket import socket
from ssl import SSLContext

from hypercorn.asyncio.lifespan import Lifespan
from hypercorn.typing import ASGIFramework

import runtime_http
from runtime_asyncio.connection import Served
from runtime_asyncio.context import Context
from runtime_http.pool import Pool
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
    """Do what `runtime_asyncio.serve` promises."""
    server = runtime_http.Server(app, Context(None), bind=bind, grace=grace, limits=limits, tls=tls, share=share)
    sockets = server.listen()
    ready(runtime_http.addresses(sockets))
    lifespan = Lifespan(server.app, server.config, asyncio.get_running_loop(), server.state)
    alive = asyncio.create_task(lifespan.handle_lifespan())
    try:
        await lifespan.wait_for_startup()
        if alive.done():
            alive.result()  # raises what the application's start failed with
        await _accept(server, sockets, stop)
        await lifespan.wait_for_shutdown()
    finally:
        alive.cancel()
        await asyncio.gather(alive, return_exceptions=True)


async def _accept(server: runtime_http.Server, sockets: list[socket], stop: Callable[[], Awaitable[None]]) -> None:
    """Take connections until `stop` returns; those that are open then have the configured time to end."""
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()  # one per open connection

    def served() -> Served:
        return Served(server, tasks, loop)

    shared = server.shared(sockets)
    listening = [
        await loop.create_server(served, sock=sock, backlog=server.config.backlog)
        for sock in (sockets if not shared else ())
    ]
    taking = [loop.create_task(_take_turns(one, served, loop)) for one in shared]
    looking = loop.create_task(server.end_overdue())
    try:
        await stop()
    finally:
        server.accept_no_more()
        await _end_taking(taking, shared)
        for one in listening:
            one.close()
        await server.stop()
        try:
            await _end(tasks, server.pool, server.config.graceful_timeout)
        finally:
            looking.cancel()


async def _take_turns(
    listener: runtime_http.SharedListener, served: Callable[[], Served], loop: asyncio.AbstractEventLoop
) -> None:
    """Take connections that other processes may take, too. The loop's own way takes all that wait at one go."""
    while True:
        await _readable(listener.socket, loop)
        if pause := listener.pause():
            await asyncio.sleep(pause)
        if (connection := listener.take()) is not None:
            try:
                await loop.connect_accepted_socket(served, connection)
            except OSError:  # its client has left
                connection.close()


async def _readable(sock: socket, loop: asyncio.AbstractEventLoop) -> None:
    """Wait until there is a connection to take."""
    came = asyncio.Event()
    loop.add_reader(sock, came.set)
    try:
        await came.wait()
    finally:
        loop.remove_reader(sock)


async def _end_taking(taking: list[asyncio.Task[None]], shared: list[runtime_http.SharedListener]) -> None:
    for task in taking:
        task.cancel()
    await asyncio.gather(*taking, return_exceptions=True)
    for one in shared:
        one.socket.close()


async def _end(tasks: set[asyncio.Task[None]], pool: Pool, grace: float) -> None:
    """Wait for connections to end by themselves, then end them."""
    try:
        if tasks:
            await asyncio.wait(tasks, timeout=grace)
    finally:
        pool.end_all()  # first: a task that waits for its client to read does not end by being cancelled once
        left = list(tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
