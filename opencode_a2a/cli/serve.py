"""Serves the application on a chosen runtime: finds the runtime, listens, tells where, drains when told to stop."""

from __future__ import annotations

import errno
import gc
from collections.abc import Awaitable, Callable, Coroutine
from importlib.metadata import entry_points
from typing import Any, Protocol, TypeVar

from attrs import evolve

from opencode_a2a.agent.application import application
from opencode_a2a.cli.connection_limits import connection_limits
from opencode_a2a.config.settings import Settings
from sansio.transport.connections import ConnectionLimits

T = TypeVar("T")

GROUP = "opencode_a2a.runtimes"
_CLOSING = 5.0  # seconds that connections have to end after the last turn has


class ListenError(OSError):
    """The address cannot be listened on; the text names it, and says what to do."""


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
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Serve until ``stop`` returns, then drain. ``ready`` gets the URL listened on, ``say`` what the drain waits for.

    Raises ``ListenError`` where the address cannot be had, ``StoreError`` where the store cannot be opened.
    """
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    bind = f"{host}:{settings.port}"
    bound = False

    async with application(settings) as running:
        _calm_collector()

        async def stop_drained() -> None:
            await stop()
            say(_farewell(*running.service.at_work, settings.shutdown_grace_seconds))
            await running.service.drain(settings.shutdown_grace_seconds)

        def listening(addresses: list[str]) -> None:
            nonlocal bound
            bound = True
            address = addresses[0]
            port = int(address.rpartition(":")[2])
            running.listening(evolve(settings, port=port))
            ready(f"http://{address}")

        try:
            await runtime.serve(
                running.asgi,
                bind,
                stop=stop_drained,
                ready=listening,
                grace=_CLOSING,
                limits=connection_limits(settings),
            )
        except OSError as exc:
            if bound:
                raise
            raise ListenError(_why_not_bound(bind, exc)) from exc


def _farewell(tasks: int, streams: int, grace: float) -> str:
    """What the server waits for once it is to stop."""
    if not (tasks or streams):
        return "stopping"
    told = " and ".join(_counted(number, name) for number, name in ((tasks, "task"), (streams, "stream")) if number)
    return f"stopping: waiting up to {grace:g} s for {told}; SIGINT (Ctrl+C) or SIGTERM again ends it at once"


def _counted(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"


def _why_not_bound(bind: str, error: OSError) -> str:
    """Why an address cannot be listened on, and what to do."""
    remedies = {
        errno.EADDRINUSE: "is in use already: stop what listens there, or choose another port (--port 0: any)",
        errno.EADDRNOTAVAIL: "is no address of this machine: choose another with --host",
        errno.EACCES: "may not be listened on: choose a port above 1023 with --port",
    }
    return f"{bind} {remedies.get(error.errno or 0, f'cannot be listened on: {error.strerror or error}')}"
