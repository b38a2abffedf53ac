"""The clock, events and tasks of asyncio, for connections and for Hypercorn's protocols. Knows nothing of either.

A connection has some events for what it hardly ever waits for. asyncio's own keep a deque for those who wait, of 760
bytes; these keep nothing until somebody does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.typing import AppWrapper, ASGIReceiveEvent, ASGISendEvent, Event, Scope

from runtime_http.app_queue import AppQueue


class _Waited:
    """Something that is set or not, and those who wait until it is."""

    __slots__ = ("_is_set", "_waiting")

    def __init__(self) -> None:
        self._is_set = False
        self._waiting: list[asyncio.Future[None]] | None = None

    def is_set(self) -> bool:
        """Return whether it is set."""
        return self._is_set

    async def wait(self) -> None:
        """Return once it is set, though it may have been cleared since."""
        if self._is_set:
            return
        future = asyncio.get_running_loop().create_future()
        if self._waiting is None:
            self._waiting = []
        self._waiting.append(future)
        try:
            await future
        except BaseException:
            if self._waiting is not None:
                with suppress(ValueError):
                    self._waiting.remove(future)
            raise

    def _set(self) -> None:
        self._is_set = True
        waiting, self._waiting = self._waiting, None
        for future in waiting or ():
            if not future.done():
                future.set_result(None)


class Flag(_Waited):
    """A flag that is set and cleared."""

    __slots__ = ()

    def set(self) -> None:
        """Set it, and wake all that wait."""
        self._set()

    def clear(self) -> None:
        """Have those who come from now on wait."""
        self._is_set = False


class ContextEvent(_Waited):
    """An event as Hypercorn's protocols have it."""

    __slots__ = ()

    async def set(self) -> None:
        """Set it, and wake all that wait."""
        self._set()

    async def clear(self) -> None:
        """Have those who come from now on wait."""
        self._is_set = False


class Context(WorkerContext):
    """The clock, the sleep and the events of asyncio, for Hypercorn's protocols."""

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
    finally:
        await send(None)
