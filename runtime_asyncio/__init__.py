"""Starts an async main and serves an ASGI application on asyncio. Knows nothing of A2A or OpenCode.

One of the plug-ins of `opencode_a2a.runtimes`: any module with these two functions is another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import sniffio

if TYPE_CHECKING:
    from ssl import SSLContext

    from hypercorn.typing import ASGIFramework

    from sansio.transport.connections import ConnectionLimits
    from sansio.transport.sharing import AcceptShare

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
    tls: Callable[[], SSLContext] | None = None,
    share: AcceptShare | None = None,
) -> None:
    """Serve `app` until `stop` returns, then let running requests end within `grace` seconds.

    `bind` is `host:port`, or `fd://N` for a socket that is bound already. `ready` is called once, with the addresses
    that are listened on. `limits`: bounds of connections; the defaults where None. `tls`: returns the context for the
    next handshake; without TLS where None. `share`: that of this process where others accept from the same socket.
    Raises `OSError` where the address cannot be had.
    """
    # what only runs, such as a client, need not wait for the import of a server
    from runtime_asyncio.serving import serve_application

    await serve_application(app, bind, stop, ready, grace, limits, tls, share)
