"""The event loops that a command can run on: each is a module under an entry point, found by its name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from opencode_a2a.distribution import RUNTIMES_GROUP

if TYPE_CHECKING:
    from ssl import SSLContext

    from sansio.transport.connections import ConnectionLimits
    from sansio.transport.sharing import AcceptShare

T = TypeVar("T")


class RuntimeUnknownError(Exception):
    """No runtime of that name is installed."""


class Runtime(Protocol):
    """An event loop: a module under the entry points `opencode_a2a.runtimes`."""

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
        tls: Callable[[], SSLContext] | None = None,
        share: AcceptShare | None = None,
    ) -> None: ...


def find_runtime(name: str) -> Runtime:
    """The runtime of that name. Raises `RuntimeUnknownError` naming those installed."""
    found = entry_points(group=RUNTIMES_GROUP)
    if name not in found.names:
        known = ", ".join(sorted(found.names)) or "none"
        raise RuntimeUnknownError(f"no runtime named {name!r} is installed; there are: {known}")
    runtime: Runtime = found[name].load()
    return runtime
