"""Texts that OpenCode is writing, collected from its event bus: each part with its text so far, within a bound.

OpenCode (1.18) sends a text piece by piece and stores it once it is complete. Nobody can ask it for the text so far,
so whoever may need that later has to collect the pieces.
"""

from __future__ import annotations

from io import StringIO

from attrs import evolve, frozen

from sansio.opencode.turns.blocks import BLOCK_OF, BlockType, is_settled, output_text
from sansio.opencode.upstream.events import BusEvent, PartDelta, PartSeen, SessionDeleted, SessionStatus

LIMIT = 1 << 20
"""Number of characters that are kept at most; each text counts as `_ENTRY` more."""
_ENTRY = 256


@frozen(eq=False)
class _OpenText:
    part: PartSeen
    text: StringIO  # a list of pieces takes some 60 bytes more for each


class OpenTexts:
    """The unfinished texts of any number of sessions. Beyond `limit`, those that began first are given up."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._size = 0
        self._texts: dict[str, dict[str, _OpenText]] = {}  # by session, then by part

    @property
    def size(self) -> int:
        """Number of characters that count towards the limit."""
        return self._size

    def note(self, event: BusEvent) -> None:
        """Record an event. All events of a session have to come, in order; most kinds have no effect."""
        if isinstance(event, PartDelta):
            found = self._texts.get(event.session_id, {}).get(event.part_id)
            if found is not None and event.field == "text":
                found.text.write(event.delta)
                self._grow(len(event.delta))
        elif isinstance(event, PartSeen):
            self._note_part(event)
        elif isinstance(event, SessionDeleted) or (isinstance(event, SessionStatus) and event.type == "idle"):
            self.take(event.session_id)

    def _note_part(self, part: PartSeen) -> None:
        self._drop(part.session_id, part.part_id)
        text = output_text(part.body)
        if BLOCK_OF.get(part.type) in (None, BlockType.TOOL_CALL) or text is None or is_settled(part.body):
            return
        written = StringIO()
        written.write(text)
        self._texts.setdefault(part.session_id, {})[part.part_id] = _OpenText(part, written)
        self._grow(_ENTRY + len(text))

    def take(self, session_id: str) -> list[PartSeen]:
        """Return the unfinished texts of a session, oldest first, and record no more of them."""
        found = self._texts.get(session_id, {})
        parts = [evolve(one.part, body={**one.part.body, "text": one.text.getvalue()}) for one in found.values()]
        for part_id in tuple(found):
            self._drop(session_id, part_id)
        return parts

    def clear(self) -> None:
        """Forget all texts: events may have been missed."""
        self._texts.clear()
        self._size = 0

    def _grow(self, size: int) -> None:
        self._size += size
        while self._size > self._limit:
            session_id = next(iter(self._texts))
            self._drop(session_id, next(iter(self._texts[session_id])))

    def _drop(self, session_id: str, part_id: str) -> None:
        texts = self._texts.get(session_id, {})
        found = texts.pop(part_id, None)
        if found is None:
            return
        self._size -= _ENTRY + found.text.tell()
        if not texts:
            del self._texts[session_id]
