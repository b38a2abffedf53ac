"""Records of streams: their events' ids as they came over the wire, what they add up to, and how each ended.

Knows nothing of sockets.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum
from itertools import pairwise
from typing import Final

from attrs import define, field, frozen

from sansio.a2a.model import StatusUpdate, StreamItem, Task, TaskState
from tests.faults.clients import Said

_ID: Final = re.compile(rb"^id: (\d+)$", re.MULTILINE)


class End(Enum):
    """End of a stream, as its client sees it."""

    WHOLE = "whole"
    REVOKED = "revoked"  # its credential was taken away, and the client has no other
    LOST = "lost"


@define(eq=False)
class Connection:
    """One answer with events. `after`: the `Last-Event-ID` of the request; None: it had none."""

    after: int | None
    ids: list[int] = field(factory=list)
    _rest: bytes = b""

    def feed(self, data: bytes) -> None:
        """Take a piece of the body. Comments, and an error at the end, have no id."""
        *events, self._rest = (self._rest + data).split(b"\n\n")
        self.ids += [int(found[1]) for event in events if (found := _ID.search(event)) is not None]

    @property
    def fresh(self) -> list[int]:
        """The ids of events that the client does not have yet: a resumed stream begins with the task as it was."""
        return self.ids[1:] if self.after is not None and self.ids[:1] == [self.after] else self.ids


@define(eq=False, kw_only=True)
class Record:
    """One message and the stream of its task. `tag` is in the message and in each word of the answer.

    `replayed`: ids after the first one, as the server repeats them afterwards. `restored`: its task was put back by a
    backup, so that its later events are others than those its client has. `ended`: on the event loop's clock.
    """

    tag: str
    message_id: str
    wire: str
    principal: str
    task_id: str = ""
    last_event_id: str = ""
    state: TaskState | None = None
    answer: Said = field(factory=Said)
    connections: list[Connection] = field(factory=list)
    replayed: list[int] | None = None
    restored: bool = False
    end: End | None = None
    ended: float = 0.0
    reason: str = ""

    def take(self, item: StreamItem) -> None:
        """Take what the client library hands on."""
        self.answer.add(item, snapshots=True)
        if isinstance(item, Task):
            self.task_id, self.state = item.id, item.status.state
        elif isinstance(item, StatusUpdate):
            self.state = item.status.state

    @property
    def first_id(self) -> int:
        """The id of the first event that came. A connection that was cut before its first event has none."""
        return next(one.ids[0] for one in self.connections if one.ids)

    @property
    def text(self) -> str:
        """The text of the answer, as far as it has come."""
        return "".join(str(part) for part in self.answer.artifacts.get(f"{self.task_id}:text", []))

    @property
    def was_cut(self) -> bool:
        """Whether more than one connection was needed."""
        return len(self.connections) > 1

    @property
    def is_open(self) -> bool:
        """Whether the stream has begun, and is not known to be whole or lost."""
        return bool(self.task_id) and self.end is None

    @property
    def is_wrong(self) -> bool:
        """Whether it is lost, or its events did not come once each and in order."""
        return self.end not in (End.WHOLE, End.REVOKED) or bool(self.duplicates or self.gaps)

    @property
    def described(self) -> str:
        """The stream in one line, with the first and last ids of each connection."""
        connections = "; ".join(f"after {one.after}: {one.ids[:3]} to {one.ids[-3:]}" for one in self.connections)
        counts = f"{self.duplicates} duplicates, {self.gaps} gaps"
        return f"{self.tag} ({self.wire}, {self.principal}): {self.end}, {self.reason}, {counts}; {connections}"

    @property
    def duplicates(self) -> int:
        """Number of events that came again, or after a later one."""
        if self.restored:
            return 0
        ids = [number for connection in self.connections for number in connection.fresh]
        return sum(later <= earlier for earlier, later in pairwise(ids))

    @property
    def gaps(self) -> int:
        """Number of events of the task that did not come."""
        if self.restored or self.replayed is None:
            return 0
        return len(set(self.replayed) - {number for connection in self.connections for number in connection.ids})


@frozen(kw_only=True)
class Row:
    """A row of the table. In seconds: `stopped`, from SIGTERM to the end; `ready`, from the start to `/readyz`.

    `streams`: that were open as the step began. A step that starts no server has no seconds (None).
    """

    step: str
    streams: tuple[Record, ...]
    stopped: float | None = None
    ready: float | None = None
    note: str = ""

    def count(self, end: End) -> int:
        """Number of its streams with such an end."""
        return sum(record.end is end for record in self.streams)

    @property
    def resumed(self) -> int:
        """Number of its streams that were cut at least once, and went on to their end."""
        return sum(record.end is End.WHOLE and record.was_cut for record in self.streams)

    @property
    def cells(self) -> tuple[str, ...]:
        """The row as texts, in the order of `COLUMNS`."""
        numbers = (
            len(self.streams),
            self.count(End.LOST),
            self.resumed,
            self.count(End.REVOKED),
            sum(record.duplicates for record in self.streams),
            sum(record.gaps for record in self.streams),
        )
        seconds = ("" if value is None else f"{value:.1f}" for value in (self.stopped, self.ready))
        return (self.step, *map(str, numbers), *seconds, self.note)


COLUMNS = ("step", "open", "lost", "resumed", "revoked", "duplicates", "gaps", "s to stop", "s to ready", "notes")


def table(rows: Iterable[Row]) -> str:
    """The rows as a table in Markdown, aligned for a terminal."""
    lines = [COLUMNS, *(row.cells for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]
    lines.insert(1, tuple("-" * width for width in widths))
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in lines
    )
