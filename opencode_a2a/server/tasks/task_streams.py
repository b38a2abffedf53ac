"""Opens the streams of tasks, from now or from an event on, within a limit of how many are open."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, evolve

from opencode_a2a.server.store import Store
from opencode_a2a.server.store.store_errors import from_store
from opencode_a2a.server.tasks.active_task import ActiveTask
from opencode_a2a.server.tasks.loading import loaded
from opencode_a2a.server.tasks.open_stream import OpenStream
from sansio.a2a.counted import counted
from sansio.a2a.errors import ErrorKind, ProtocolError

_READS = 3  # of a task in the store, for a stream that begins before what is in memory


@define
class _Place:
    """A place among the open streams. To leave it twice is to leave it once."""

    _left: Callable[[], None] | None

    def leave(self) -> None:
        left, self._left = self._left, None
        if left is not None:
            left()


class TaskStreams:
    """The open streams over one store. `limit`: how many may be open at once; 0: no limit."""

    def __init__(self, store: Store, limit: int = 0) -> None:
        self._store = store
        self._limit = limit
        self._open = 0

    def __len__(self) -> int:
        return self._open

    def enter(self) -> Callable[[], None]:
        """Take a place among the open streams, and return what gives it up.

        Raises `ProtocolError` (OVERLOADED) where there is none.
        """
        if self._limit and self._open >= self._limit:
            raise ProtocolError(
                ErrorKind.OVERLOADED,
                f"The server runs {counted(self._open, 'stream')} already; try again later",
                data={"type": "UPSTREAM_BACKPRESSURE", "limit": self._limit},
                metadata={"limit": str(self._limit)},
            )
        self._open += 1
        return _Place(self._leave).leave

    def _leave(self) -> None:
        self._open -= 1

    async def resumed(self, active: ActiveTask, cursor: int, *, stays_open: bool) -> OpenStream:
        """The stream after event `cursor`: first the task as it was then.

        An event that the log does not reach, or does not know: the task as it is, and what replaces whatever the
        client has of it. An event beyond the newest is one that it does not know; the stream's ids begin with 0 then,
        since they never go backwards.
        """
        last = await from_store(active.shown())
        if cursor > last:
            cursor = 0
        if (
            not active.log.reaches(cursor)
            and (stream := await self._from_past(active, cursor, stays_open)) is not None
        ):
            return stream
        try:
            then = active.log.at(cursor)
        except LookupError:
            then = None
        if then is not None and then.history:  # no client sees a task before it has its message
            return OpenStream((then,), active, cursor, cursor, stays_open)
        stream = OpenStream((), active, last, cursor, stays_open).replaced(cursor)
        return evolve(stream, first=(active.task(), *stream.first))

    async def _from_past(self, active: ActiveTask, cursor: int, stays_open: bool) -> OpenStream | None:
        """The stream of a running task after an event that only the store has; None where that does not reach it.

        What comes while the store is read may leave the memory at once, and is read again.
        """
        for _ in range(_READS):
            stored = await from_store(self._store.task(active.facts.task_id))
            if stored is None:
                return None
            log = (await loaded(stored, await from_store(self._store.events(active.facts.task_id)))).log
            last = min(log.last, active.visible)
            try:
                then, past = log.at(cursor), log.since(cursor, last)
            except LookupError:
                return None
            if not then.history:
                return None
            if active.log.reaches(last):
                return OpenStream((then,), active, last, cursor, stays_open, past=tuple(past))
        return None
