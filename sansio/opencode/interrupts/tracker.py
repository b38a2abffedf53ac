"""Permissions and questions of a turn's session and its subagents' sessions, from asked to resolved.

Duplicates and requests that were resolved before they were seen are dropped. Returns the new status; `turn` puts it
into the log. The task's metadata lists what waits, and what was asked and how that ended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import define, field, frozen

from sansio.a2a.model import JsonObject, Message, TaskState, TaskStatus
from sansio.a2a.tasks.task_log import LogEvent, MessageAdded, MetadataChanged, StatusChanged
from sansio.opencode.interrupts.render import pending_entry, subject_of, text_of
from sansio.opencode.interrupts.replies import Answer
from sansio.opencode.turns.event_metadata import EventMetadata
from sansio.opencode.upstream.events import BY_END, InterruptAsked, InterruptEnded

MOST_RESOLVED = 50
"""Number of resolved requests that a task lists, the newest. The whole list is stored with each of them."""
LONGEST_TEXT = 300
"""Characters of a subject or an answer in that list. A command may be a whole script."""


@frozen
class _Noted:
    """An answer in progress. `message`: the client's message that has it."""

    answer: Answer
    message: Message | None

    def is_taken(self, ended: InterruptEnded) -> bool:
        """Return whether a request ended by this answer, and not by another one that was faster."""
        mine = self.answer.ended
        known = ((ended.reply, mine.reply), (ended.answer, mine.answer))
        return ended.resolution == mine.resolution and all(None in (a, b) or a == b for a, b in known)


@define(eq=False)
class InterruptTracker:
    """`pending`: the requests that wait, by id, oldest first; `asked_at`: since when, as RFC 3339.

    `resolved`: the requests that have ended, oldest first, as the task lists them.
    `asked_count`, `ended_count`: the numbers of those that this run of the server has seen asked, and has seen end.
    """

    _event_metadata: EventMetadata
    pending: dict[str, InterruptAsked] = field(factory=dict)
    asked_at: dict[str, str] = field(factory=dict)
    resolved: list[JsonObject] = field(factory=list)
    asked_count: int = 0
    ended_count: int = 0
    _ended: set[str] = field(factory=set)
    _answers: dict[str, _Noted] = field(factory=dict)

    def recover(self, pending: Mapping[str, InterruptAsked], asked_at: Mapping[str, str]) -> None:
        """Restore the requests that an earlier run of the server has reported, and since when each waits."""
        self.pending = dict(pending)
        self.asked_at = dict(asked_at)

    def add_to(self, resolved: Sequence[JsonObject]) -> None:
        """Continue the list of resolved requests that the task has."""
        self.resolved = list(resolved)

    def note(self, request_id: str, answer: Answer | None, message: Message | None = None) -> None:
        """Keep an answer in progress, for the status after it took effect. `None`: it had no effect.

        `message`: the client's message with the answer. It is recorded at the same time, as the bus may report first.
        """
        if answer is None:
            self._answers.pop(request_id, None)
        else:
            self._answers[request_id] = _Noted(answer, message)

    def left(self) -> list[InterruptEnded]:
        """Return the ends of what still waits when the turn ends: nobody will be asked for it any more."""
        return [asked.ended("rejected", by=BY_END) for asked in self.pending.values()]

    def asked(self, asked: InterruptAsked, now: str) -> list[LogEvent]:
        """Record a new request; nothing follows from one that is known."""
        if asked.request_id in self.pending or asked.request_id in self._ended:
            return []
        self.asked_count += 1
        self.pending[asked.request_id] = asked
        self.asked_at[asked.request_id] = now
        interrupt = _event("asked", pending_entry(asked))
        oldest = next(iter(self.pending.values()))  # the one that an answer without a name is for
        status = self._waiting(oldest, now)
        changed = StatusChanged(status=status, metadata=self._event_metadata.interrupt(interrupt))
        return [MetadataChanged({"shared": {"interrupts": self._listed()}}), changed]

    def ended(self, ended: InterruptEnded, now: str) -> list[LogEvent]:
        """Record that a request was answered, by anybody."""
        self._ended.add(ended.request_id)
        asked = self.pending.pop(ended.request_id, None)
        if asked is None:
            return []
        self.ended_count += 1
        noted = self._answers.pop(ended.request_id, None)
        understood = message = None
        if noted is not None and noted.is_taken(ended):
            ended, understood, message = noted.answer.ended, noted.answer.understood, noted.message
        record = self._record(asked, ended, now)
        self.resolved = [*self.resolved, record][-MOST_RESOLVED:]
        interrupt = _event("resolved", record)
        following = next(iter(self.pending.values()), None)
        status = (
            self._working(ended.request_id, now, understood)
            if following is None
            else self._waiting(following, now, understood)
        )
        first: list[LogEvent] = [MessageAdded(message)] if message is not None else []
        listed = MetadataChanged({"shared": {"interrupts": self._listed(), "resolved_interrupts": self.resolved}})
        changed = StatusChanged(status=status, metadata=self._event_metadata.interrupt(interrupt))
        return [*first, listed, changed]

    def _listed(self) -> list[JsonObject]:
        """List what the task waits for, so that whoever reads the task needs no other request."""
        return [pending_entry(asked) for asked in self.pending.values()]

    def _record(self, asked: InterruptAsked, ended: InterruptEnded, now: str) -> JsonObject:
        """Build what stays of a request: the subject, the answer, who gave it, and when."""
        record: JsonObject = {
            "request_id": asked.request_id,
            "type": asked.kind,
            "subject": _cut(subject_of(asked)),
            "resolution": ended.resolution,
            "reply": ended.reply,
            "answer": None if ended.answer is None else _cut(ended.answer),
            "by": ended.by,
            "asked_at": self.asked_at.pop(asked.request_id, None),
            "resolved_at": now,
        }
        return {name: value for name, value in record.items() if value}

    def _waiting(self, asked: InterruptAsked, now: str, understood: str | None = None) -> TaskStatus:
        text = text_of(asked) if understood is None else f"{understood}\n\n{text_of(asked)}"
        message = self._event_metadata.message(f"{self._event_metadata.task_id}:{asked.request_id}", text)
        return TaskStatus(state=TaskState.INPUT_REQUIRED, message=message, timestamp=now)

    def _working(self, request_id: str, now: str, understood: str | None) -> TaskStatus:
        identity = f"{self._event_metadata.task_id}:{request_id}:answer"
        message = self._event_metadata.message(identity, understood) if understood else None
        return TaskStatus(state=TaskState.WORKING, message=message, timestamp=now)


def _event(phase: str, entry: JsonObject) -> JsonObject:
    """Build `metadata.shared.interrupt` of an event from a request's entry in the task."""
    return {"request_id": entry["request_id"], "type": entry["type"], "phase": phase, **entry}


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"
