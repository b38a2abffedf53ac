"""Starts an async main and serves an ASGI application on trio. Knows nothing of A2A or OpenCode.

One of the plug-ins of ``opencode_a2a.runtimes``: any module with these two functions is another.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

import trio
from hypercorn.config import Config, Sockets
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ASGIFramework, ConnectionState
from hypercorn.utils import wrap_app

T = TypeVar("T")

_log = logging.getLogger(__name__)


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run ``main`` to its end."""
    return trio.run(main)


async def serve(
    app: ASGIFramework,
    bind: str,
    *,
    stop: Callable[[], Awaitable[None]],
    ready: Callable[[list[str]], None],
    grace: float,
) -> None:
    """Serve ``app`` until ``stop`` returns, then let running requests end within ``grace`` seconds.

    ``bind`` is ``host:port``. ``ready`` is called once, with the addresses that are listened on. Raises
    ``OSError`` where the address cannot be had.
    """
    config = Config()
    config.bind = [bind]
    config.errorlog = None
    config.accesslog = None
    config.include_server_header = False
    config.graceful_timeout = grace
    config.max_app_queue_size = 64
    config.keep_alive_max_requests = 1_000_000
    config.keep_alive_timeout = 75
    sockets: Sockets = config.create_sockets()
    for sock in sockets.insecure_sockets:
        sock.listen(config.backlog)
    ready([_address(sock.getsockname()) for sock in sockets.insecure_sockets])
    wrapped = wrap_app(app, config.wsgi_max_body_size, "asgi")
    state: dict[str, Any] = {}
    lifespan = Lifespan(wrapped, config, state)
    async with trio.open_nursery() as around:
        await around.start(lifespan.handle_lifespan)
        await lifespan.wait_for_startup()
        await _accept(wrapped, config, state, sockets, stop)
        await lifespan.wait_for_shutdown()
        around.cancel_scope.cancel()


async def _accept(
    app: AppWrapper, config: Config, state: dict[str, Any], sockets: Sockets, stop: Callable[[], Awaitable[None]]
) -> None:
    """Take connections until ``stop`` returns; those that are open then have the configured time to end.

    Hypercorn's own worker would end with the first connection that fails, and what a client sends can make one
    fail. Here that is the end of this connection alone. The log gets the kinds of errors: their texts hold what
    was sent.
    """
    context = WorkerContext(None)

    async def serve_one(stream: trio.SocketStream) -> None:
        try:
            # it takes a plain stream as well as the TLS stream its annotation asks for
            await TCPServer(app, config, context, ConnectionState(state.copy()), stream)  # type: ignore[arg-type]
        except* Exception as group:
            _log.warning("a connection failed and was closed: %s", ", ".join(_kinds(group)))

    listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(sock)) for sock in sockets.insecure_sockets]
    async with trio.open_nursery() as connections:
        try:
            async with trio.open_nursery() as accepting:
                accepting.start_soon(partial(trio.serve_listeners, serve_one, listeners, handler_nursery=connections))
                await stop()
                accepting.cancel_scope.cancel()
        finally:
            await context.terminated.set()
            connections.cancel_scope.deadline = trio.current_time() + config.graceful_timeout


def _kinds(group: BaseExceptionGroup[BaseException]) -> list[str]:
    """The names of the types of the errors in a group."""
    kinds: set[str] = set()
    for error in group.exceptions:
        kinds.update(_kinds(error) if isinstance(error, BaseExceptionGroup) else [type(error).__name__])
    return sorted(kinds)


def _address(name: tuple[Any, ...]) -> str:
    host, port = name[0], name[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
