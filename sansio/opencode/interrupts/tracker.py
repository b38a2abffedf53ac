"""What a turn waits for: the permissions and questions of its session and those below, from asked to resolved.

Duplicates and requests that were resolved before they were seen are dropped. Says what the status becomes; `turn`
puts it into the log.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define, field

from sansio.a2a.model import JsonObject, Message, TaskState, TaskStatus
from sansio.a2a.tasks.task_log import LogEvent, MessageAdded, StatusChanged
from sansio.opencode.interrupts.render import details_of, text_of
from sansio.opencode.turns.event_metadata import EventMetadata
from sansio.opencode.upstream.events import InterruptAsked, InterruptEnded


@define(eq=False)
class InterruptTracker:
    """`pending`: the requests that wait, by id, oldest first; `asked_at`: since when, as RFC 3339."""

    _event_metadata: EventMetadata
    pending: dict[str, InterruptAsked] = field(factory=dict)
    asked_at: dict[str, str] = field(factory=dict)
    _resolved: set[str] = field(factory=set)
    _answers: dict[str, tuple[str, Message | None]] = field(factory=dict)

    def recover(self, pending: Mapping[str, InterruptAsked], since: str) -> None:
        """What an earlier run of the server has told of already."""
        self.pending = dict(pending)
        self.asked_at = dict.fromkeys(pending, since)

    def note(self, request_id: str, understood: str | None, message: Message | None = None) -> None:
        """How an answer that is under way was understood, to be said once it has taken effect; None: it has not.

        `message`: the client's that gave it. It is said by then too, since the bus may be the first to tell.
        """
        if understood is None:
            self._answers.pop(request_id, None)
        else:
            self._answers[request_id] = (understood, message)

    def left(self) -> list[InterruptEnded]:
        """The ends of what still waits when the turn ends: nobody will be asked for it any more."""
        return [asked.ended("rejected") for asked in self.pending.values()]

    def asked(self, asked: InterruptAsked, now: str) -> list[LogEvent]:
        """A request came, or is seen again."""
        if asked.request_id in self.pending or asked.request_id in self._resolved:
            return []
        self.pending[asked.request_id] = asked
        self.asked_at[asked.request_id] = now
        interrupt: JsonObject = {
            "request_id": asked.request_id,
            "type": asked.kind,
            "phase": "asked",
            "details": details_of(asked),
        }
        oldest = next(iter(self.pending.values()))  # the one that an answer without a name is for
        return [StatusChanged(status=self._waiting(oldest, now), metadata=self._event_metadata.interrupt(interrupt))]

    def ended(self, ended: InterruptEnded, now: str) -> list[LogEvent]:
        """A request was answered, by whomever."""
        self._resolved.add(ended.request_id)
        if self.pending.pop(ended.request_id, None) is None:
            return []
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
        return [*first, StatusChanged(status=status, metadata=self._event_metadata.interrupt(interrupt))]

    def _waiting(self, asked: InterruptAsked, now: str, understood: str | None = None) -> TaskStatus:
        text = text_of(asked) if understood is None else f"{understood}\n\n{text_of(asked)}"
        message = self._event_metadata.message(f"{self._event_metadata.task_id}:{asked.request_id}", text)
        return TaskStatus(state=TaskState.INPUT_REQUIRED, message=message, timestamp=now)

    def _working(self, request_id: str, now: str, understood: str | None) -> TaskStatus:
        identity = f"{self._event_metadata.task_id}:{request_id}:answer"
        message = self._event_metadata.message(identity, understood) if understood else None
        return TaskStatus(state=TaskState.WORKING, message=message, timestamp=now)
