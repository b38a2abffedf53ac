"""Starts an async main and serves an ASGI application on asyncio. Knows nothing of A2A or OpenCode.

One of the plug-ins of ``opencode_a2a.runtimes``: any module with these two functions is another.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from hypercorn.asyncio.lifespan import Lifespan
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config, Sockets
from hypercorn.typing import AppWrapper, ASGIFramework, ConnectionState
from hypercorn.utils import wrap_app

T = TypeVar("T")

_log = logging.getLogger(__name__)


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run ``main`` to its end, on uvloop where that is installed."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(main())


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
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
    lifespan = Lifespan(wrapped, config, asyncio.get_running_loop(), state)
    alive = asyncio.create_task(lifespan.handle_lifespan())
    try:
        await lifespan.wait_for_startup()
        if alive.done():
            alive.result()  # raises what the application's start failed with
        await _accept(wrapped, config, state, sockets, stop)
        await lifespan.wait_for_shutdown()
    finally:
        alive.cancel()
        await asyncio.gather(alive, return_exceptions=True)


async def _accept(
    app: AppWrapper, config: Config, state: dict[str, Any], sockets: Sockets, stop: Callable[[], Awaitable[None]]
) -> None:
    """Take connections until ``stop`` returns; those that are open then have the configured time to end.

    What a client sends can make a connection fail in Hypercorn, and then its own worker has asyncio log the error,
    whose text holds what was sent. Here the log gets the kinds of errors alone.
    """
    context = WorkerContext(None)
    loop = asyncio.get_running_loop()
    connections: set[asyncio.Task[None]] = set()

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await TCPServer(app, loop, config, context, ConnectionState(state.copy()), reader, writer)
        except* Exception as group:
            _log.warning("a connection failed and was closed: %s", ", ".join(_kinds(group)))

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = loop.create_task(serve_one(reader, writer))
        connections.add(task)
        task.add_done_callback(connections.discard)

    servers = [
        await asyncio.start_server(connected, sock=sock, backlog=config.backlog) for sock in sockets.insecure_sockets
    ]
    try:
        await stop()
    finally:
        for server in servers:
            server.close()
        await context.terminated.set()
        await _end(connections, config.graceful_timeout)


async def _end(connections: set[asyncio.Task[None]], grace: float) -> None:
    """Wait for connections to end by themselves, then end them."""
    try:
        if connections:
            await asyncio.wait(connections, timeout=grace)
    finally:
        left = list(connections)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


def _kinds(group: BaseExceptionGroup[BaseException]) -> list[str]:
    """The names of the types of the errors in a group."""
    kinds: set[str] = set()
    for error in group.exceptions:
        kinds.update(_kinds(error) if isinstance(error, BaseExceptionGroup) else [type(error).__name__])
    return sorted(kinds)


def _address(name: tuple[Any, ...]) -> str:
    host, port = name[0], name[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
