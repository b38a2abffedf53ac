"""A stream of a task that is about to be written: what comes first, and where to read what follows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import evolve, frozen

from opencode_a2a.server.tasks.active_task import ActiveTask
from sansio.a2a.model import StreamItem, TaskState
from sansio.a2a.tasks.task_log import Entry, replacements


def _nothing() -> None:
    """A stream that holds no place."""


@frozen
class OpenStream:
    """A stream to be: what to say first, as of event `cursor`, and where to read what follows.

    `before`: where to go on from for a client that is cut off in the midst of the first items. `stays_open`:
    the stream does not end where the task waits for an answer. `whole`: nothing follows the first items.
    `past`: the events up to `cursor` that follow the first items, where they are not in memory any more. `close`:
    gives up the stream's place among the open streams.
    """

    first: tuple[StreamItem, ...]
    active: ActiveTask
    cursor: int
    before: int
    stays_open: bool = False
    whole: bool = False
    past: tuple[Entry, ...] = ()
    close: Callable[[], None] = _nothing

    @property
    def waits(self) -> bool:
        """The task waits for its user as the stream begins, and the stream waits with it."""
        return not self.stays_open and self.active.log.waits_at(self.cursor)

    def begun(self) -> OpenStream:
        """The stream once its first items are sent: it keeps nothing of them."""
        return evolve(self, first=(), past=()) if self.first or self.past else self

    def replaced(self, cursor: int) -> OpenStream:
        """The stream for a reader for whom the event after `cursor` is out of reach: what replaces all it has."""
        task = self.active.seen()
        state = task.status.state
        final = state.ends_stream and not (self.stays_open and state is TaskState.INPUT_REQUIRED)
        first = tuple(replacements(task, final=final))
        return evolve(self, first=first, cursor=self.active.visible, before=cursor, whole=final, past=())

    def pause_in(self, entries: Sequence[Entry]) -> int | None:
        """Index of the status in `entries` that ends the stream because the task waits for its user."""
        if self.stays_open and self.active.log.state is TaskState.INPUT_REQUIRED:
            return None
        return self.active.log.pause_in(entries)
