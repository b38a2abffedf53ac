"""Starts an async main and serves an ASGI application on asyncio. Knows nothing of A2A or OpenCode.

One of the plug-ins of ``opencode_a2a.runtimes``: any module with these two functions is another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from hypercorn.asyncio.run import worker_serve
from hypercorn.config import Config, Sockets
from hypercorn.typing import ASGIFramework
from hypercorn.utils import wrap_app

T = TypeVar("T")


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
    # In a task of its own: on its way out the worker leaves a cancellation request on the task it runs in.
    await asyncio.create_task(worker_serve(wrapped, config, sockets=sockets, shutdown_trigger=stop))


def _address(name: tuple[Any, ...]) -> str:
    host, port = name[0], name[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
