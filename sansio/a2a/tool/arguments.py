"""Arguments of a call: their JSON Schema, and their reading."""

from __future__ import annotations

from typing import Any, Final

from attrs import field, frozen

from sansio.a2a.errors import shortened
from sansio.a2a.message_checks import ID_LIMIT
from sansio.a2a.tool.tool_errors import ToolError, ToolErrorCode

LONGEST_MESSAGE: Final = 200_000
"""Characters of a message to an agent."""

_LIMITS: Final = {
    "url": 4096,
    "peer": ID_LIMIT,
    "message": LONGEST_MESSAGE,
    "context_id": ID_LIMIT,
    "task_id": ID_LIMIT,
}
_MEANINGS: Final = {
    "url": "The URL of the agent, or @ and the name of a known one",
    "peer": "The name of a known agent, in the place of a URL",
    "message": "The text for the agent. It sees nothing of this conversation: write all that it needs",
    "context_id": "Goes on with a conversation: the context_id of an earlier result from the same agent",
    "task_id": "Answers what a task waits for: the task_id of an earlier result from the same agent",
}

INPUT_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {name: {"type": "string", "description": meaning} for name, meaning in _MEANINGS.items()},
    "required": ["message"],
    "additionalProperties": False,
}
"""JSON Schema of the arguments. One of `url` and `peer` is needed: many models take no schema that says so."""


@frozen(kw_only=True)
class CallArguments:
    """A call as it is asked for. Either `url` or `peer` is given. The texts stay out of its `repr`."""

    message: str = field(repr=False)
    url: str | None = field(default=None, repr=False)
    peer: str | None = None
    context_id: str | None = None
    task_id: str | None = None


def parse_arguments(given: dict[str, Any]) -> CallArguments | ToolError:
    """Read the arguments. An empty text counts as not given: models fill in what they do not need."""
    unknown = [name for name in given if name not in _LIMITS]
    if unknown:
        named = ", ".join(shortened(name, 40) for name in unknown[:5])
        return ToolError(ToolErrorCode.a2a_invalid_input, f"unknown {named}; known are {', '.join(_LIMITS)}")
    texts: dict[str, str] = {}
    for name, value in given.items():
        if value is None:
            continue
        if not isinstance(value, str):
            return ToolError(ToolErrorCode.a2a_invalid_input, f"{name} must be a string")
        if len(value) > _LIMITS[name]:
            text = f"{name} must be at most {_LIMITS[name]} characters"
            return ToolError(ToolErrorCode.a2a_invalid_input, text)
        kept = value if name == "message" else value.strip()
        if kept.strip():
            texts[name] = kept
    if texts.get("url", "").startswith("@"):
        name = texts.pop("url")[1:]
        if texts.setdefault("peer", name) != name:
            return ToolError(ToolErrorCode.a2a_invalid_input, "url and peer name two agents")
    if "message" not in texts:
        return ToolError(ToolErrorCode.a2a_missing_required_input, "message")
    if "url" not in texts and "peer" not in texts:
        return ToolError(ToolErrorCode.a2a_missing_required_input, "url, or peer")
    if "url" in texts and "peer" in texts:
        return ToolError(ToolErrorCode.a2a_invalid_input, "give either url or peer, not both")
    return CallArguments(**texts)
