"""Metadata of a turn's events, with a sequence number, and messages in the agent's name.

The names are those clients of earlier versions know. Does not decide which events are sent, or when.
"""

from __future__ import annotations

from attrs import define, field

from sansio.a2a.model import JsonObject, Message, Role, TextPart
from sansio.opencode.turns.blocks import BlockType


@define(kw_only=True)
class EventMetadata:
    """One task's metadata. `session_id` is empty where there is no session yet; `sequence` counts events."""

    task_id: str
    context_id: str
    session_id: str
    sequence: int = 0
    _prefix: str = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._prefix = f"{self.task_id}:stream:"

    def _shared(self) -> JsonObject:
        return {"session": {"id": self.session_id}} if self.session_id else {}

    def chunk(self, block_type: BlockType, source: str, message_id: str, part_id: str | None = None) -> JsonObject:
        """Build the metadata of a chunk of an artifact."""
        self.sequence += 1
        stream: JsonObject = {
            "block_type": block_type.published,
            "source": source,
            "message_id": message_id,
            "role": "agent",
            "event_id": f"{self._prefix}{self.sequence}",
            "sequence": self.sequence,
        }
        if part_id is not None:
            stream["part_id"] = part_id
        return {"shared": {"stream": stream}}

    def progress(self, progress: JsonObject, message_id: str) -> JsonObject:
        """Build the metadata of a progress status event."""
        self.sequence += 1
        event_id = f"{self._prefix}{self.sequence}"
        stream = {"source": "progress", "message_id": message_id, "event_id": event_id, "sequence": self.sequence}
        return {"shared": {**self._shared(), "stream": stream, "progress": progress}}

    def interrupt(self, interrupt: JsonObject) -> JsonObject:
        """Build the metadata of a status event that reports a new request, or an answer."""
        return {"shared": {**self._shared(), "interrupt": interrupt}}

    def kept(self, usage: JsonObject | None, extra: JsonObject) -> JsonObject:
        """Build the metadata that stays with the ended task."""
        shared = self._shared()
        if usage is not None:
            shared["usage"] = usage
        return {**({"shared": shared} if shared else {}), **extra}

    def end(self, kept: JsonObject, message_id: str) -> JsonObject:
        """Build the metadata of the last status event: that of the task, and the id of the message."""
        stream: JsonObject = {"event_id": f"{self._prefix}status", "source": "status"}
        if message_id:
            stream["message_id"] = message_id
        return {**kept, "shared": {**kept.get("shared", {}), "stream": stream}}

    def message(self, message_id: str, text: str) -> Message:
        """Return a message of the agent's."""
        return Message(
            message_id=message_id,
            role=Role.AGENT,
            parts=(TextPart(text=text),),
            context_id=self.context_id,
            task_id=self.task_id,
        )
