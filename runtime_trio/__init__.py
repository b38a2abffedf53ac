"""Starts an async main and serves an ASGI application on trio. Knows nothing of A2A or OpenCode.

One of the plug-ins of `opencode_a2a.runtimes`: any module with these two functions is another.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

import trio
from hypercorn.config import Config, Sockets
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ASGIFramework
from hypercorn.utils import wrap_app

import runtime_http
from runtime_trio.connection import Server, serve_one
from sansio.transport.connections import ConnectionLimits

T = TypeVar("T")


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run `main` to its end."""
    return trio.run(main)


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
    config = runtime_http.configuration(bind, grace)
    sockets: Sockets = config.create_sockets()
    for sock in sockets.insecure_sockets:
        sock.listen(config.backlog)
    ready([runtime_http.address(sock.getsockname()) for sock in sockets.insecure_sockets])
    wrapped = wrap_app(app, config.wsgi_max_body_size, "asgi")
    state: dict[str, Any] = {}
    lifespan = Lifespan(wrapped, config, state)
    pool = runtime_http.Pool(limits or ConnectionLimits(), trio.current_time)
    async with trio.open_nursery() as around:
        await around.start(lifespan.handle_lifespan)
        await lifespan.wait_for_startup()
        await _accept(wrapped, config, state, sockets, stop, pool)
        await lifespan.wait_for_shutdown()
        around.cancel_scope.cancel()


async def _accept(
    app: AppWrapper,
    config: Config,
    state: dict[str, Any],
    sockets: Sockets,
    stop: Callable[[], Awaitable[None]],
    pool: runtime_http.Pool,
) -> None:
    """Take connections until `stop` returns; those that are open then have the configured time to end."""
    context = WorkerContext(None)
    handler = partial(serve_one, Server(app, config, context, state, pool))
    listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(sock)) for sock in sockets.insecure_sockets]
    async with trio.open_nursery() as looking:
        looking.start_soon(_look, pool)
        async with trio.open_nursery() as connections:
            try:
                async with trio.open_nursery() as accepting:
                    accepting.start_soon(
                        partial(trio.serve_listeners, handler, listeners, handler_nursery=connections)
                    )
                    await stop()
                    accepting.cancel_scope.cancel()
            finally:
                await context.terminated.set()
                pool.end_waiting()
                connections.cancel_scope.deadline = trio.current_time() + config.graceful_timeout
        looking.cancel_scope.cancel()


async def _look(pool: runtime_http.Pool) -> None:
    """End overdue connections, again and again."""
    while True:
        await trio.sleep(pool.limits.look_every)
        pool.end_overdue()
