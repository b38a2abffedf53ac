"""Serves the application on a chosen runtime: finds the runtime, listens, tells where, drains when told to stop."""

from __future__ import annotations

import gc
import signal
from collections.abc import Awaitable, Callable, Coroutine
from importlib.metadata import entry_points
from typing import Any, Protocol, TypeVar

import anyio
from attrs import evolve

from sansio.transport.connections import ConnectionLimits

from .app import application
from .connection_limits import connection_limits
from .settings import Settings

T = TypeVar("T")

GROUP = "opencode_a2a.runtimes"
_CLOSING = 5.0  # seconds that connections have to end after the last turn has


class RuntimeUnknown(Exception):
    """No runtime of that name is installed."""


class Runtime(Protocol):
    """What a module under the entry points ``opencode_a2a.runtimes`` offers."""

    def run(self, main: Callable[[], Coroutine[Any, Any, T]]) -> T: ...

    async def serve(
        self,
        app: Any,
        bind: str,
        *,
        stop: Callable[[], Awaitable[None]],
        ready: Callable[[list[str]], None],
        grace: float,
        limits: ConnectionLimits | None = None,
    ) -> None: ...


def find_runtime(name: str) -> Runtime:
    """The runtime of that name. Raises ``RuntimeUnknown`` naming those installed."""
    found = entry_points(group=GROUP)
    if name not in found.names:
        known = ", ".join(sorted(found.names)) or "none"
        raise RuntimeUnknown(f"no runtime named {name!r} is installed; there are: {known}")
    runtime: Runtime = found[name].load()
    return runtime


async def until_signalled() -> None:
    """Return at the first SIGINT or SIGTERM."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            return


def _calm_collector() -> None:
    """What lives as long as the server is not looked at again by the collector, and young objects in larger lots.

    A stream makes many small values that die at once; the default thresholds spend a tenth of the time on them.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


async def serve(
    settings: Settings,
    runtime: Runtime,
    *,
    stop: Callable[[], Awaitable[None]],
    ready: Callable[[str], None],
) -> None:
    """Serve until ``stop`` returns, then drain. ``ready`` gets the URL listened on.

    Raises ``OSError`` where the address cannot be had, ``StoreError`` where the store cannot be opened.
    """
    host = f"[{settings.host}]" if ":" in settings.host else settings.host

    async with application(settings) as running:
        _calm_collector()

        async def stop_drained() -> None:
            await stop()
            await running.service.drain(settings.shutdown_grace_seconds)

        def listening(addresses: list[str]) -> None:
            address = addresses[0]
            port = int(address.rpartition(":")[2])
            running.listening(evolve(settings, port=port))
            ready(f"http://{address}")

        await runtime.serve(
            running.asgi,
            f"{host}:{settings.port}",
            stop=stop_drained,
            ready=listening,
            grace=_CLOSING,
            limits=connection_limits(settings),
        )
