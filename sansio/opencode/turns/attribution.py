"""Attribution of a session's messages to a turn: those that answer its prompt, not those of a person who types there.

An assistant message names the user message it answers. OpenCode adds user messages of its own to continue a turn, for
example when it compacts; all they hold is synthetic. Any other later user message was typed by somebody else. Pure.
"""

from __future__ import annotations

from attrs import define, field

from sansio.a2a.codecs.json_values import text_at
from sansio.opencode.interrupts.render import is_left_over
from sansio.opencode.turns.blocks import PROGRESS_TYPES
from sansio.opencode.upstream.events import InterruptAsked, MessageInfo, PartSeen

_ADDED = PROGRESS_TYPES | {"compaction", "subtask", "snapshot", "patch"}


@define(eq=False)
class Attribution:
    """`prompt_id`: the id of the turn's user message. Ids sort by time."""

    prompt_id: str
    _typed: set[str] = field(factory=set)  # user messages of somebody else
    _theirs: set[str] = field(factory=set)  # assistant messages that answer those
    _ours: set[str] = field(factory=set)  # assistant messages of the turn
    _children: dict[str, str] = field(factory=dict)  # sessions of subagents, with the message they were made by

    @property
    def disturbed(self) -> bool:
        """Somebody else has typed in the session since the prompt."""
        return bool(self._typed)

    def is_ours(self, info: MessageInfo) -> bool:
        """Return whether an assistant message is output of the turn."""
        parent = info.parent_id
        if info.role != "assistant" or info.summary or parent is None or parent < self.prompt_id:
            return False
        return parent not in self._typed

    def note_message(self, info: MessageInfo) -> None:
        """Record an assistant message."""
        if info.role == "assistant" and info.parent_id in self._typed:
            self._theirs.add(info.id)
        elif self.is_ours(info):
            self._ours.add(info.id)

    def note_part(self, part: PartSeen, info: MessageInfo) -> None:
        """Record a part. The parts of a user message show who wrote it, and a tool call names the session it made."""
        if info.role == "user":
            if info.id > self.prompt_id and part.body.get("synthetic") is not True and part.type not in _ADDED:
                self._typed.add(info.id)
            return
        child = text_at(part.body, "state", "metadata", "sessionId")
        if part.type == "tool" and child is not None:
            self._children[child] = info.id

    def asks(self, asked: InterruptAsked, session_id: str) -> bool:
        """Return whether a permission or a question may be the turn's.

        The message that it belongs to decides. The order of ids counts only where that message is not known: the
        prompt's id has our clock's time, and OpenCode's clock may be behind, or in the same millisecond.
        """
        message_id = text_at(asked.body, "tool", "messageID")
        known = message_id if asked.session_id == session_id else self._children.get(asked.session_id)
        if known in self._theirs:
            return False
        return known in self._ours or not is_left_over(asked, self.prompt_id)
