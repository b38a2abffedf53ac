"""Ends of turns, for machines and in words, and the tool calls that they leave open. Pure."""

from __future__ import annotations

from attrs import evolve

from sansio.a2a.model import TaskState
from sansio.opencode.turns.blocks import TOOL_ENDED, Tool
from sansio.opencode.upstream.events import MessageInfo

FINISHED, LENGTH, REFUSED, ABORTED, CANCELLED, FAILED = (
    "finished",
    "length",
    "refused",
    "aborted",
    "cancelled",
    "failed",
)
"""The kinds of end, as `metadata.opencode.end` names them."""

FINAL_FINISHES = frozenset({"stop", "length", "content-filter"})
"""The `finish` of an assistant message after which no other follows."""

_KIND_OF_FINISH = {"length": LENGTH, "content-filter": REFUSED}

_WORDS = {
    LENGTH: "The answer was cut off: it has reached the longest answer that the model gives.",
    REFUSED: "The model's provider ended the answer: its content filter refused it.",
}

_TOOL_WORDS = {
    TaskState.CANCELED: "The turn was cancelled before this tool call ended",
    TaskState.FAILED: "The turn failed before this tool call ended",
    TaskState.AUTH_REQUIRED: "The turn stopped before this tool call ended",
}


def kind_of(last: MessageInfo | None) -> str:
    """Return the kind of end of a turn that is complete; `last`: its last assistant message."""
    return _KIND_OF_FINISH.get(last.finish or "", FINISHED) if last is not None else FINISHED


def words_of(kind: str) -> str | None:
    """Return the text about an end for a person, where the answer alone does not do."""
    return _WORDS.get(kind)


def closed(tool: Tool, state: TaskState) -> Tool:
    """Close a tool call that was open at the end of its turn: no more events of it follow."""
    error = _TOOL_WORDS.get(state, "The turn ended before this tool call did")
    return evolve(tool, data={**tool.data, "status": "error", "error": error}, rank=TOOL_ENDED)
