"""Listens, and drains the tasks before it ends."""

from __future__ import annotations

import errno
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from ssl import SSLContext
from typing import Any

import anyio
from anyio.abc import TaskStatus

from opencode_a2a.server.runtimes import Runtime
from opencode_a2a.server.task_server import TaskServer
from sansio.transport.connections import ConnectionLimits

_CLOSING = 5.0  # seconds that connections have to end after the last task has


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
) -> None:
    """Serve `asgi` on `bind` (`host:port`) until `stop` returns, then drain `tasks` within `grace` seconds.

    `listening` is called with the address that is listened on, `stopping` as the drain begins. `tls`: returns the
    context for the next handshake; without TLS where None. Raises `ListenError`.
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
        await runtime.serve(asgi, bind, stop=stop_drained, ready=ready, grace=_CLOSING, limits=limits, tls=tls)
    except OSError as exc:
        if bound:
            raise
        raise ListenError(_why_not_bound(bind, exc)) from exc


@asynccontextmanager
async def also_serving(
    asgi: Any, runtime: Runtime, bind: str, listening: Callable[[str], None]
) -> AsyncGenerator[None]:
    """Serve another application on `bind` while entered. Raises `ListenError`, in a group."""
    stop = anyio.Event()

    async def run(*, task_status: TaskStatus[None]) -> None:
        def ready(addresses: list[str]) -> None:
            listening(addresses[0])
            task_status.started()

        try:
            await runtime.serve(asgi, bind, stop=stop.wait, ready=ready, grace=1.0)
        except OSError as exc:
            raise ListenError(_why_not_bound(bind, exc)) from exc

    async with anyio.create_task_group() as tasks:
        await tasks.start(run)
        try:
            yield
        finally:
            stop.set()


def _why_not_bound(bind: str, error: OSError) -> str:
    """Why an address cannot be listened on, and what to do."""
    remedies = {
        errno.EADDRINUSE: "is in use already: stop what listens there, or choose another port (--port 0: any)",
        errno.EADDRNOTAVAIL: "is no address of this machine: choose another with --host",
        errno.EACCES: "may not be listened on: choose a port above 1023 with --port",
    }
    return f"{bind} {remedies.get(error.errno or 0, f'cannot be listened on: {error.strerror or error}')}"
