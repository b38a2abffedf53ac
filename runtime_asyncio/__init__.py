"""Starts an async main and serves an ASGI application on asyncio. Knows nothing of A2A or OpenCode.

One of the plug-ins of `opencode_a2a.runtimes`: any module with these two functions is another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from socket import socket
from typing import Any, TypeVar

import sniffio
from hypercorn.asyncio.lifespan import Lifespan
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework

import runtime_http
from runtime_asyncio.connection import Served
from runtime_http.pool import Pool
from sansio.transport.connections import ConnectionLimits

T = TypeVar("T")


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run `main` to its end, on uvloop where that is installed."""
    with _known_to_sniffio(), asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(main())


@contextmanager
def _known_to_sniffio() -> Iterator[None]:
    """Name this thread's event loop, as trio does for its own.

    anyio asks for that name whenever one of its primitives is made. Without it, sniffio looks for the current task
    each time, which took 9 % of a request's CPU time.
    """
    before, sniffio.thread_local.name = sniffio.thread_local.name, "asyncio"
    try:
        yield
    finally:
        sniffio.thread_local.name = before


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Makes the loops of `run`: uvloop's where it is installed; None stands for the standard library's."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def serve(
    app: ASGIFramework,
    bind: str,
    *,
    stop: Callable[[], Awaitable[None]],
    ready: Callable[[list[str]], None],
    grace: float,
    limits: ConnectionLimits | None = None,
) -> None:
    """Serve `app` until `stop` returns, then let running requests end within `grace` seconds.

    `bind` is `host:port`. `ready` is called once, with the addresses that are listened on. `limits`: bounds
    of connections; the defaults where None. Raises `OSError` where the address cannot be had.
    """
    server = runtime_http.Server(app, WorkerContext(None), bind=bind, grace=grace, limits=limits)
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
    listening = [
        await loop.create_server(lambda: Served(server, tasks, loop), sock=sock, backlog=server.config.backlog)
        for sock in sockets
    ]
    looking = loop.create_task(server.end_overdue())
    try:
        await stop()
    finally:
        for one in listening:
            one.close()
        await server.stop()
        try:
            await _end(tasks, server.pool, server.config.graceful_timeout)
        finally:
            looking.cancel()


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
