"""Listens, and drains the tasks before it ends."""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from ssl import SSLContext
from typing import Any

import anyio
from anyio.abc import TaskStatus

from opencode_a2a.server.runtimes import Runtime
from opencode_a2a.server.task_server import TaskServer
from sansio.transport.addresses import host_and_port
from sansio.transport.connections import ConnectionLimits
from sansio.transport.sharing import AcceptShare

_CLOSING = 5.0  # seconds that connections have to end after the last task has
_ANOTHER_PORT = "another port (--port 0: any)"


class ListenError(OSError):
    """The address cannot be listened on; the text names it, and says what to do."""


async def serve_tasks(
    asgi: Any,
    tasks: TaskServer,
    runtime: Runtime,
    bind: str,
    *,
    stop: Callable[[], Awaitable[None]],
    listening: Callable[[str], None],
    stopping: Callable[[], None] = lambda: None,
    grace: float,
    limits: ConnectionLimits | None = None,
    tls: Callable[[], SSLContext] | None = None,
    share: AcceptShare | None = None,
) -> None:
    """Serve `asgi` on `bind` until `stop` returns, then drain `tasks` within `grace` seconds.

    `bind`: `host:port`, or `fd://N` for a socket that is bound. `listening` is called with the address that is
    listened on, `stopping` as the drain begins. `tls`: returns the context for the next handshake; without TLS where
    None. `share`: that of this process where others accept from the same socket. Raises `ListenError`.
    """
    bound = False

    async def stop_drained() -> None:
        await stop()
        stopping()
        await tasks.drain(grace)

    def ready(addresses: list[str]) -> None:
        nonlocal bound
        bound = True
        listening(addresses[0])

    try:
        await runtime.serve(
            asgi,
            bind,
            stop=stop_drained,
            ready=ready,
            grace=_CLOSING,
            limits=limits,
            tls=tls,
            **({} if share is None else {"share": share}),  # a runtime need not know of it
        )
    except OSError as exc:
        if bound:
            raise
        raise ListenError(_why_not_bound(bind, exc)) from exc


@asynccontextmanager
async def also_serving(
    asgi: Any, runtime: Runtime, bind: str, listening: Callable[[str], None], setting: str
) -> AsyncGenerator[None]:
    """Serve another application on `bind` while entered. Raises `ListenError`, in a group.

    `setting`: what an operator changes to have another port.
    """
    stop = anyio.Event()

    async def run(*, task_status: TaskStatus[None]) -> None:
        def ready(addresses: list[str]) -> None:
            listening(addresses[0])
            task_status.started()

        try:
            await runtime.serve(asgi, bind, stop=stop.wait, ready=ready, grace=1.0)
        except OSError as exc:
            raise ListenError(_why_not_bound(bind, exc, setting)) from exc

    async with anyio.create_task_group() as tasks:
        await tasks.start(run)
        try:
            yield
        finally:
            stop.set()


def bind_socket(host: str, port: int, setting: str | None = None) -> socket.socket:
    """Bind a socket that servers in other processes will listen on. `port` 0: any free one. Raises `ListenError`.

    `setting`: what an operator changes to have another port; None for the main port's options.
    """
    bare = host.strip("[]")
    bound = socket.socket(socket.AF_INET6 if ":" in bare else socket.AF_INET)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((bare, port))
    except OSError as exc:
        bound.close()
        raise ListenError(_why_not_bound(host_and_port(bare, port), exc, setting)) from exc
    return bound


def _why_not_bound(bind: str, error: OSError, setting: str | None = None) -> str:
    """Why an address cannot be listened on, and what to do."""
    other = setting and f"another address with {setting}"
    remedies = {
        errno.EADDRINUSE: f"is in use already: stop what listens there, or choose {other or _ANOTHER_PORT}",
        errno.EADDRNOTAVAIL: f"is no address of this machine: choose {other or 'another with --host'}",
        errno.EACCES: f"may not be listened on: choose {other or 'a port above 1023 with --port'}",
    }
    return f"{bind} {remedies.get(error.errno or 0, f'cannot be listened on: {error.strerror or error}')}"
