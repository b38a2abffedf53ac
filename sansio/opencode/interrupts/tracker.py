"""Pending permissions and questions of a turn's session and its subagents' sessions, from asked to resolved.

Duplicates and requests that were resolved before they were seen are dropped. Returns the new status; `turn` puts it
into the log.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define, field

from sansio.a2a.model import JsonObject, Message, TaskState, TaskStatus
from sansio.a2a.tasks.task_log import LogEvent, MessageAdded, MetadataChanged, StatusChanged
from sansio.opencode.interrupts.render import details_of, text_of
from sansio.opencode.turns.event_metadata import EventMetadata
from sansio.opencode.upstream.events import InterruptAsked, InterruptEnded


@define(eq=False)
class InterruptTracker:
    """`pending`: the requests that wait, by id, oldest first; `asked_at`: since when, as RFC 3339.

    `asked_count`, `ended_count`: the numbers of those that this run of the server has seen asked, and has seen end.
    """

    _event_metadata: EventMetadata
    pending: dict[str, InterruptAsked] = field(factory=dict)
    asked_at: dict[str, str] = field(factory=dict)
    asked_count: int = 0
    ended_count: int = 0
    _resolved: set[str] = field(factory=set)
    _answers: dict[str, tuple[str, Message | None]] = field(factory=dict)

    def recover(self, pending: Mapping[str, InterruptAsked], since: str) -> None:
        """Restore the requests that an earlier run of the server has reported."""
        self.pending = dict(pending)
        self.asked_at = dict.fromkeys(pending, since)

    def note(self, request_id: str, understood: str | None, message: Message | None = None) -> None:
        """Keep how an answer in progress was understood, for the status after it took effect. `None`: it had none.

        `message`: the client's message with the answer. It is recorded at the same time, as the bus may report first.
        """
        if understood is None:
            self._answers.pop(request_id, None)
        else:
            self._answers[request_id] = (understood, message)

    def left(self) -> list[InterruptEnded]:
        """Return the ends of what still waits when the turn ends: nobody will be asked for it any more."""
        return [asked.ended("rejected") for asked in self.pending.values()]

    def asked(self, asked: InterruptAsked, now: str) -> list[LogEvent]:
        """Record a new request; nothing follows from one that is known."""
        if asked.request_id in self.pending or asked.request_id in self._resolved:
            return []
        self.asked_count += 1
        self.pending[asked.request_id] = asked
        self.asked_at[asked.request_id] = now
        interrupt: JsonObject = {
            "request_id": asked.request_id,
            "type": asked.kind,
            "phase": "asked",
            "details": details_of(asked),
        }
        oldest = next(iter(self.pending.values()))  # the one that an answer without a name is for
        status = self._waiting(oldest, now)
        return [self._listed(), StatusChanged(status=status, metadata=self._event_metadata.interrupt(interrupt))]

    def ended(self, ended: InterruptEnded, now: str) -> list[LogEvent]:
        """Record that a request was answered, by anybody."""
        self._resolved.add(ended.request_id)
        if self.pending.pop(ended.request_id, None) is None:
            return []
        self.ended_count += 1
        understood, message = self._answers.pop(ended.request_id, (None, None))
        interrupt: JsonObject = {
            "request_id": ended.request_id,
            "type": ended.kind,
            "phase": "resolved",
            "resolution": ended.resolution,
        }
        following = next(iter(self.pending.values()), None)
        status = (
            self._working(ended.request_id, now, understood)
            if following is None
            else self._waiting(following, now, understood)
        )
        first: list[LogEvent] = [MessageAdded(message)] if message is not None else []
        changed = StatusChanged(status=status, metadata=self._event_metadata.interrupt(interrupt))
        return [*first, self._listed(), changed]

    def _listed(self) -> MetadataChanged:
        """List in the task what it waits for, so that whoever reads it needs no other request."""
        pending = [
            {"request_id": asked.request_id, "type": asked.kind, "details": details_of(asked)}
            for asked in self.pending.values()
        ]
        return MetadataChanged({"shared": {"interrupts": pending}})

    def _waiting(self, asked: InterruptAsked, now: str, understood: str | None = None) -> TaskStatus:
        text = text_of(asked) if understood is None else f"{understood}\n\n{text_of(asked)}"
        message = self._event_metadata.message(f"{self._event_metadata.task_id}:{asked.request_id}", text)
        return TaskStatus(state=TaskState.INPUT_REQUIRED, message=message, timestamp=now)

    def _working(self, request_id: str, now: str, understood: str | None) -> TaskStatus:
        identity = f"{self._event_metadata.task_id}:{request_id}:answer"
        message = self._event_metadata.message(identity, understood) if understood else None
        return TaskStatus(state=TaskState.WORKING, message=message, timestamp=now)
