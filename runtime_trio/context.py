"""The clock, events and tasks of trio, for Hypercorn's protocols. Knows nothing of connections.

A connection has some events for what it hardly ever waits for. These keep nothing until somebody does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ASGIReceiveEvent, ASGISendEvent, Event, Scope

from runtime_http.app_queue import AppQueue


class ContextEvent:
    """An event that is set and cleared."""

    __slots__ = ("_event", "_is_set")

    def __init__(self) -> None:
        self._is_set = False
        self._event: trio.Event | None = None  # the one that is set next

    def is_set(self) -> bool:
        """Return whether it is set."""
        return self._is_set

    async def wait(self) -> None:
        """Return once it is set, though it may have been cleared since."""
        if self._is_set:
            return
        if self._event is None:
            self._event = trio.Event()
        await self._event.wait()

    async def set(self) -> None:
        """Set it, and wake all that wait."""
        self._is_set = True
        event, self._event = self._event, None
        if event is not None:
            event.set()

    async def clear(self) -> None:
        """Have those who come from now on wait."""
        self._is_set = False


class Context(WorkerContext):
    """The clock, the sleep and the events of trio, for Hypercorn's protocols."""

    event_class: type[Event] = ContextEvent


class Tasks(TaskGroup):
    """The tasks of one connection, among them the application's, each with a small queue."""

    async def spawn_app(
        self,
        app: AppWrapper,
        config: Config,
        scope: Scope,
        send: Callable[[ASGISendEvent | None], Awaitable[None]],
    ) -> Callable[[ASGIReceiveEvent], Awaitable[None]]:
        """Begin an application; return what gives it a message."""
        queue = AppQueue(config.max_app_queue_size, ContextEvent)
        self.spawn(_run_application, app, config, scope, queue.get, send)
        return queue.put


async def _run_application(
    app: Any, config: Config, scope: Scope, receive: Any, send: Callable[[ASGISendEvent | None], Awaitable[None]]
) -> None:
    """Run an application to its end, as Hypercorn does. It is given no means to run what blocks."""
    try:
        await app(scope, receive, send, None, None)
    except Exception:
        await config.log.exception("Error in ASGI Framework")
    except BaseExceptionGroup as group:
        if group.split(trio.Cancelled)[1] is None:
            raise
        await config.log.exception("Error in ASGI Framework")
    finally:
        await send(None)
