"""Starts an async main and serves an ASGI application on trio. Knows nothing of A2A or OpenCode.

One of the plug-ins of `opencode_a2a.runtimes`: any module with these two functions is another.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

import trio

if TYPE_CHECKING:
    from ssl import SSLContext

    from hypercorn.typing import ASGIFramework

    from sansio.transport.connections import ConnectionLimits
    from sansio.transport.sharing import AcceptShare

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
    from runtime_trio.serving import serve_application

    await serve_application(app, bind, stop, ready, grace, limits, tls, share)
