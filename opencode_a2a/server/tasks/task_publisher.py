"""Publishes a task's events so that a change of state is durable before any reader sees it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import anyio

from opencode_a2a.server.store import FencedError, Store, StoreError, StoreUnavailableError, Write
from opencode_a2a.server.tasks.active_task import ActiveTask
from opencode_a2a.server.tasks.task_span import commit_span
from opencode_a2a.tracing.spans import NO_TRACER, Tracer
from sansio.a2a.backoff import Backoff
from sansio.a2a.tasks.task_log import LogEvent

_log = logging.getLogger(__name__)

T = TypeVar("T")

_AGAIN = Backoff((0.1, 0.5, 1.0, 2.0, 5.0))  # seconds before a task is offered again to a store that failed


class TaskPublisher:
    """Publishes to one store."""

    def __init__(self, store: Store, tracer: Tracer = NO_TRACER) -> None:
        self._store = store
        self._tracer = tracer

    async def publish(self, active: ActiveTask, events: Sequence[LogEvent]) -> None:
        """Publish events, and where a state changed commit before readers see it. Raises `StoreError`."""
        if active.publish(events) or active.over:
            await self.settle(active)

    async def reveal(self, active: ActiveTask) -> None:
        """Make durable what was published, and let readers see it, with whatever was published meanwhile.

        Raises `StoreError`: then nothing more is seen, and whoever waits for it gets an error.
        """
        while True:
            last = active.log.last
            await self.commit(active)
            if active.reveal_settled(last):
                return

    async def settle(self, active: ActiveTask) -> None:
        """Reveal as soon as the store can. Raises `StoreError` where it does not have the task, or never will."""
        await self.patiently(active, lambda: self.reveal(active))

    async def commit(self, active: ActiveTask, more: Sequence[Write] = ()) -> None:
        """Commit, one commit of a task at a time: one that was given up is not stored by another that came later.

        `more`: what is committed with the task. Raises `StoreError`.
        """
        async with active.committing:
            if active.lost and active.trouble is not None:
                raise active.trouble
            rows = active.rows()
            try:
                with commit_span(self._tracer, active, len(rows) + len(more)):
                    await self._store.commit([*rows, *more], keep_events=active.in_store)
            except StoreError as exc:
                active.not_stored(rows, exc)
                self._doubt(active, exc)
                raise
            active.stored()

    async def sure(self) -> None:
        """Return once this server works on its tasks for sure, and no other by now. Raises `FencedError`."""
        await self._store.ownership.sure()

    def is_sure(self) -> bool:
        """Whether this server works on its tasks for sure, at this moment."""
        lease = self._store.ownership.lease
        return lease is None or lease.held

    async def patiently(self, active: ActiveTask, step: Callable[[], Awaitable[T]]) -> T:
        """Do what needs the store as soon as the store can; at once or never for a task that it does not have yet.

        The agent works on meanwhile. What it publishes is stored afterwards. Raises `StoreError`.
        """
        failures = 0
        while True:
            try:
                return await step()
            except FencedError:
                # What began since this server has another id is its own, though it met the loss of the earlier one.
                if active.lost:
                    raise
            except StoreUnavailableError as exc:
                if not active.in_store or active.lost:
                    raise
                active.in_trouble(exc)
                if failures == 0:
                    _log.error("task %s waits for the store: %s", active.facts.task_id, exc)
            await anyio.sleep(_AGAIN.pause(failures))
            failures += 1

    def give_up(self, active: ActiveTask, error: StoreError) -> None:
        """Leave a task whose commit failed for good: nobody sees what is not in the store.

        One that the store does not have is gone. Of any other, the store has what was seen, and the next start of
        the server recovers it.
        """
        _log.error("task %s: %s", active.facts.task_id, error)
        active.lose(error)
        self._doubt(active, error)

    def _doubt(self, active: ActiveTask, error: StoreError) -> None:
        """Have a new task looked for in the store: its commit may be under way, or its answer was lost."""
        if active.lost and isinstance(error, StoreUnavailableError):
            self._store.ownership.doubt(active.facts.task_id)
