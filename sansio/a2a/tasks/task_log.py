"""A task is its event log: append-only events, numbered from 1, that fold to the task.

The rules: every change goes through `TaskLog.append`; a transition the table does not have is dropped, so the
first terminal state wins; every way to look is a cursor. Cost is linear: folding keeps chunks and joins them once.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Generator, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import TypeAlias

from attrs import define, evolve, field, frozen

from sansio.a2a.model import (
    Artifact,
    ArtifactUpdate,
    JsonObject,
    Message,
    Part,
    StatusUpdate,
    StreamItem,
    Task,
    TaskState,
    TaskStatus,
    TextPart,
    value_class,
)


@frozen(kw_only=True)
class StatusChanged:
    """The task's status; `metadata` belongs to the event, not to the task."""

    status: TaskStatus
    metadata: JsonObject | None = None


@value_class(kw_only=True)
class ArtifactChunk:
    """A chunk of an artifact.

    Without `append` it replaces the artifact. `joins`: its first part continues the text of the artifact's
    last part (a token), rather than being a part of its own. `leads`: the artifact stands before all others.
    A last chunk to append that holds no text closes the artifact: readers get the whole of it once more.
    """

    artifact: Artifact
    append: bool = False
    last_chunk: bool = False
    joins: bool = False
    leads: bool = False

    @property
    def closes(self) -> bool:
        """Whether the chunk adds nothing, and only marks the artifact as complete."""
        return self.append and self.last_chunk and _is_empty(self.artifact.parts)


def _is_empty(parts: Sequence[Part]) -> bool:
    return all(isinstance(part, TextPart) and not part.text for part in parts)


@frozen
class MessageAdded:
    """A message joined the history."""

    message: Message


@frozen
class MetadataChanged:
    """Members to merge into the task's metadata, objects member by member."""

    metadata: JsonObject


@frozen
class Snapshot:
    """The task before this event: its events were compacted to it."""

    task: Task


LogEvent: TypeAlias = StatusChanged | ArtifactChunk | MessageAdded | MetadataChanged | Snapshot

_OPEN = frozenset(
    {
        TaskState.WORKING,
        TaskState.INPUT_REQUIRED,
        TaskState.AUTH_REQUIRED,
        TaskState.COMPLETED,
        TaskState.FAILED,
        TaskState.CANCELED,
        TaskState.REJECTED,
    }
)

TRANSITIONS: dict[TaskState, frozenset[TaskState]] = {
    TaskState.UNKNOWN: _OPEN | {TaskState.SUBMITTED},
    TaskState.SUBMITTED: _OPEN | {TaskState.SUBMITTED},
    TaskState.WORKING: _OPEN,
    TaskState.INPUT_REQUIRED: _OPEN,
    TaskState.AUTH_REQUIRED: _OPEN,
    TaskState.COMPLETED: frozenset(),
    TaskState.FAILED: frozenset(),
    TaskState.CANCELED: frozenset(),
    TaskState.REJECTED: frozenset(),
}
"""From a state to those that may follow it. Whatever is not here is dropped."""


def merge(old: JsonObject | None, new: JsonObject) -> JsonObject:
    """Merge `new` over `old`, objects member by member; neither is changed."""
    merged = dict(old or {})
    for name, value in new.items():
        before = merged.get(name)
        if isinstance(before, dict) and isinstance(value, dict):
            merged[name] = merge(before, value)
        else:
            merged[name] = value
    return merged


@define
class _Building:
    """An artifact while its chunks come: text that joins is kept in pieces until someone looks."""

    artifact: Artifact
    parts: list[Part]
    pieces: list[str] = field(factory=list)  # continuation of the last part's text
    whole: Artifact | None = None  # as it was seen last; None: it has changed

    def add(self, chunk: ArtifactChunk) -> None:
        self.whole = None
        parts = chunk.artifact.parts
        if chunk.joins and parts and self.parts:
            first, last = parts[0], self.parts[-1]
            if isinstance(first, TextPart) and isinstance(last, TextPart):
                self.pieces.append(first.text)
                parts = parts[1:]
        if parts:
            self.settle()
            self.parts.extend(parts)

    def settle(self) -> None:
        if self.pieces:
            last = self.parts[-1]
            assert isinstance(last, TextPart)  # only text collects pieces
            self.parts[-1] = evolve(last, text=last.text + "".join(self.pieces))
            self.pieces.clear()

    def snapshot(self) -> Artifact:
        if self.whole is None:
            self.settle()
            self.whole = evolve(self.artifact, parts=tuple(self.parts))
        return self.whole


class Folding:
    """Events in, task out: the running fold of one task."""

    def __init__(self, task_id: str, context_id: str) -> None:
        self._start(Task(id=task_id, context_id=context_id, status=TaskStatus(state=TaskState.UNKNOWN)))

    def _start(self, task: Task) -> None:
        self._base = task
        self.status: TaskStatus = task.status
        self.metadata = task.metadata
        self._history = list(task.history)
        self._artifacts = {a.artifact_id: _Building(a, list(a.parts), whole=a) for a in task.artifacts}

    def accepts(self, event: LogEvent) -> bool:
        """Return whether the event is allowed now: none after a terminal state, no transition beyond the table."""
        if self.status.state.terminal:
            return False
        if isinstance(event, StatusChanged):
            return event.status.state in TRANSITIONS[self.status.state]
        return True

    def add(self, event: LogEvent) -> bool:
        """Apply the event; False if it was dropped."""
        if not self.accepts(event):
            return False
        match event:
            case ArtifactChunk():
                self._chunk(event)
            case StatusChanged():
                self.status = event.status
            case MessageAdded():
                self._history.append(event.message)
            case MetadataChanged():
                self.metadata = merge(self.metadata, event.metadata)
            case _:
                self._start(event.task)
        return True

    def _chunk(self, chunk: ArtifactChunk) -> None:
        artifact = chunk.artifact
        building = self._artifacts.get(artifact.artifact_id)
        if chunk.closes:
            return
        if building is not None and chunk.append:
            building.add(chunk)
        elif building is not None:
            building.artifact, building.whole = artifact, None
            building.parts = list(artifact.parts)
            building.pieces.clear()
        elif chunk.leads:
            self._artifacts = {
                artifact.artifact_id: _Building(artifact, list(artifact.parts)),
                **self._artifacts,
            }
        else:
            self._artifacts[artifact.artifact_id] = _Building(artifact, list(artifact.parts))

    def name_of(self, artifact_id: str) -> str | None:
        """Return the name of an artifact; None where it has none."""
        building = self._artifacts.get(artifact_id)
        return None if building is None else building.artifact.name

    def artifact(self, artifact_id: str) -> Artifact | None:
        """Return the artifact as it is now; None where there is none."""
        building = self._artifacts.get(artifact_id)
        return None if building is None else building.snapshot()

    def task(self) -> Task:
        """Return the task as it is now."""
        return Task(
            id=self._base.id,
            context_id=self._base.context_id,
            status=self.status,
            artifacts=tuple(building.snapshot() for building in self._artifacts.values()),
            history=tuple(self._history),
            metadata=self.metadata,
        )


def fold(task_id: str, context_id: str, events: Iterable[LogEvent]) -> Task:
    """Return the task that the events add up to; what the rules drop is dropped."""
    folding = Folding(task_id, context_id)
    for event in events:
        folding.add(event)
    return folding.task()


@value_class(eq=False)
class Entry:
    """One numbered event of a log, and what stream readers see of it (None: nothing)."""

    number: int
    event: LogEvent
    item: StreamItem | None


_number = attrgetter("number")
_REPLAYED_AT_ONCE = 64  # events; of a large answer, a kilobyte each and more
SKIPPED = 1 << 20
"""More events than could have been seen between two times at which a log is kept."""
_NUMBERS_A_MS = 1 << 8
"""More events than a task has in a millisecond. Numbers of a time stay below 2^53 until the year 3000."""


class TaskLog:
    """The log of one task: append, look from a cursor, fold.

    Numbers only grow. They skip where a log is recovered after a crash (`recover`): no later event gets the number of
    one that was seen but not stored.
    """

    def __init__(self, task_id: str, context_id: str) -> None:
        self.task_id = task_id
        self.context_id = context_id
        self._folding = Folding(task_id, context_id)
        self._base: Task | None = None
        self._waits_since: int | None = None  # the first event of those that leave the task waiting for its user
        self._entries: list[Entry] = []
        self._offset = 0  # the number of the last event that is only known as part of `_base`

    @classmethod
    def resume(cls, task: Task, last: int, events: Iterable[LogEvent] = ()) -> TaskLog:
        """Return a log whose events up to `last` are only known as `task`; `events` follow."""
        log = cls(task.id, task.context_id)
        log._folding.add(Snapshot(task))
        log._base = task
        log._offset = last
        log._waits_since = last if task.status.state.interrupted else None
        for event in events:
            log.append(event)
        return log

    @classmethod
    def replaying(
        cls, task: Task, last: int, runs: Iterable[tuple[int, Sequence[LogEvent]]]
    ) -> Generator[None, None, TaskLog]:
        """Rebuild a log from what was stored of it: the task as it was at event `last`, and runs of events.

        It yields where it may be interrupted: thousands of events take milliseconds.

        A run is its first event's number and its events. The log begins with event 1 or with a `Snapshot`; runs
        that do not lead from there to `last` are of no use for looking back. Where events after `last` are
        missing, so are all that follow.
        """
        kept: list[tuple[int, LogEvent]] = []
        later: list[LogEvent] = []
        end = last
        for number, event in (pair for first, events in runs for pair in enumerate(events, first)):
            fresh = isinstance(event, Snapshot)
            if number > last:
                if number != end + 1 and not fresh:
                    break
                later.append(event)
                end = number
            if kept and number != kept[-1][0] + 1 and not fresh:
                kept.clear()
            if kept or number == 1 or fresh:
                kept.append((number, event))
        if not kept or kept[-1][0] < last:
            return cls.resume(task, last, later)
        yield
        log = cls(task.id, task.context_id)
        for count, (number, event) in enumerate(kept, 1):
            log._add(number, event)
            if count % _REPLAYED_AT_ONCE == 0:
                yield
        return log

    def recover(self, at: int = 0) -> None:
        """Go on after a crash: numbers of events that may have been seen but were not kept stay unused.

        `at`: epoch milliseconds. Numbers grow with the time, since a backup may have taken the log's place: after it,
        other events were seen, and recovered, that this log does not know.
        """
        self._add(max(self.last + SKIPPED, at * _NUMBERS_A_MS), Snapshot(self.task()))

    @property
    def events(self) -> Iterator[LogEvent]:
        """The events that are kept."""
        return (entry.event for entry in self._entries)

    @property
    def last(self) -> int:
        """The number of the newest event; 0 for none."""
        return self._entries[-1].number if self._entries else self._offset

    @property
    def status(self) -> TaskStatus:
        """The task's status now."""
        return self._folding.status

    @property
    def state(self) -> TaskState:
        """The task's state now."""
        return self._folding.status.state

    def append(self, event: LogEvent) -> Entry | None:
        """Add an event; returns its entry, or None where the rules drop it."""
        return self._add(self.last + 1, event)

    def receive(self, number: int, event: LogEvent) -> Entry | None:
        """Add an event that has its number from the log it was appended to; None where it is here already."""
        return self._add(number, event) if number > self.last else None

    def _add(self, number: int, event: LogEvent) -> Entry | None:
        if not self._folding.add(event):
            return None
        entry = Entry(number, event, self._item(event))
        self._entries.append(entry)
        if isinstance(event, (StatusChanged, Snapshot)):
            if not self.state.interrupted:
                self._waits_since = None
            elif self._waits_since is None:
                self._waits_since = number
        return entry

    def pause_in(self, entries: Sequence[Entry]) -> int | None:
        """Return the index of the newest status in `entries` at which the task still waits for its user; `None`:
        none.

        A status that is followed by another state, in these entries or later, is no pause: the task has continued.
        """
        if self._waits_since is None:
            return None
        for index in range(len(entries) - 1, -1, -1):
            if entries[index].number < self._waits_since:
                return None
            if isinstance(entries[index].event, StatusChanged):
                return index
        return None

    def since(self, cursor: int, to: int | None = None) -> list[Entry]:
        """Return the entries after event `cursor`, up to event `to`.

        Raises `LookupError` for a cursor that is no event of this log, or has been compacted away.
        """
        start = self._after(cursor)
        if to is None or to >= self.last:
            return self._entries[start:]
        return self._entries[start : self._after(to)]

    def compact(self, number: int) -> None:
        """Keep the events up to `number` only as the task they add up to. Cursors before that are lost."""
        index = bisect_right(self._entries, number, key=_number)
        if index:
            last = self._entries[index - 1].number
            self._base, self._offset = self.at(last), last
            del self._entries[:index]

    def reaches(self, cursor: int) -> bool:
        """Return whether the events after `cursor` are kept."""
        return cursor >= self._offset

    def _after(self, cursor: int) -> int:
        """Return the index of the first entry after event `cursor`."""
        entries = self._entries
        near = cursor - self.last - 1  # its place from the end, unless numbers were skipped since
        if -len(entries) <= near < 0 and entries[near].number == cursor:
            return len(entries) + near + 1
        index = bisect_right(self._entries, cursor, key=_number)
        if cursor != (self._entries[index - 1].number if index else self._offset):
            raise LookupError(f"there is no event {cursor} to go on from")
        return index

    def task(self) -> Task:
        """Return the task as it is now."""
        return self._folding.task()

    def at(self, cursor: int) -> Task:
        """Return the task as it was at event `cursor`. Raises `LookupError` like `since`."""
        if cursor == self.last:
            return self.task()
        folding = Folding(self.task_id, self.context_id)
        if self._base is not None:
            folding.add(Snapshot(self._base))
        for entry in self._entries[: self._after(cursor)]:
            folding.add(entry.event)
        return folding.task()

    def answered_at(self, message_id: str) -> int | None:
        """Return the number of the first status after this message was added; `None` where the log begins later."""
        status = None
        for entry in reversed(self._entries):
            if isinstance(entry.event, StatusChanged):
                status = entry.number
            elif isinstance(entry.event, MessageAdded) and entry.event.message.message_id == message_id:
                return status
        return None

    def waits_at(self, number: int) -> bool:
        """Return whether the task waits for its user at event `number`, and still does."""
        return self._waits_since is not None and self._waits_since <= number

    def _item(self, event: LogEvent) -> StreamItem | None:
        if isinstance(event, ArtifactChunk):
            artifact: Artifact | None = event.artifact
            if event.closes:
                artifact = self._whole(event.artifact)
            elif event.append and event.artifact.name is None:  # as earlier versions have stored it
                artifact = evolve(event.artifact, name=self._folding.name_of(event.artifact.artifact_id))
            if artifact is None:
                return None
            return ArtifactUpdate(
                task_id=self.task_id,
                context_id=self.context_id,
                artifact=artifact,
                append=event.append and not event.closes,
                last_chunk=event.last_chunk,
                joins=event.joins and event.append and not event.closes,
            )
        if isinstance(event, StatusChanged):
            return StatusUpdate(
                task_id=self.task_id,
                context_id=self.context_id,
                status=event.status,
                final=event.status.state.ends_stream,
                metadata=event.metadata,
            )
        return None

    def _whole(self, closing: Artifact) -> Artifact | None:
        """Return the whole artifact that a chunk closes; None where it holds nothing.

        Some clients keep of an artifact only its last chunk, and none may be sent an empty part.
        """
        known = self._folding.artifact(closing.artifact_id)
        if known is None or _is_empty(known.parts):
            return None
        return evolve(known, metadata=closing.metadata)


def trim_history(task: Task, length: int | None) -> Task:
    """Return the task with at most the newest `length` messages of its history; None: all."""
    if length is None or length >= len(task.history):
        return task
    return evolve(task, history=task.history[-length:] if length else ())


def replacements(task: Task, *, final: bool) -> list[StreamItem]:
    """Return updates that replace a reader's artifacts and status of the task by the current ones.

    `final`: the stream ends with them.
    """
    over = task.status.state.terminal
    items: list[StreamItem] = [
        ArtifactUpdate(task_id=task.id, context_id=task.context_id, artifact=artifact, last_chunk=over)
        for artifact in task.artifacts
    ]
    return [
        *items,
        StatusUpdate(task_id=task.id, context_id=task.context_id, status=task.status, final=final),
    ]
