"""Permissions and questions: what a client is told of a pending one, for machines and for people."""

from __future__ import annotations

from typing import Any

from sansio.a2a.codecs.fields import nested_deeper
from sansio.a2a.model import JsonObject
from sansio.opencode.upstream.events import InterruptAsked, InterruptEnded


def details_of(asked: InterruptAsked) -> JsonObject:
    """The part of the request that a client needs to decide; nothing that only OpenCode can use."""
    names = ("permission", "patterns", "metadata", "always") if asked.kind == "permission" else ("questions",)
    found = {name: asked.body.get(name) for name in names}
    return {name: value for name, value in found.items() if value is not None and not nested_deeper(value)}


def _permission_text(body: JsonObject) -> str:
    metadata = body.get("metadata")
    command = metadata.get("command") if isinstance(metadata, dict) else None
    patterns = body.get("patterns")
    wanted = command if isinstance(command, str) else ", ".join(_strings(patterns))
    subject = (_string(body.get("permission")) or "an action") + (f": {wanted}" if wanted else "")
    return f"OpenCode asks for permission ({subject}).\nAnswer once, always or reject."


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _strings(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _question_text(body: JsonObject) -> str:
    lines = []
    questions = body.get("questions")
    for question in questions if isinstance(questions, list) else []:
        if not isinstance(question, dict):
            continue
        lines.append(_string(question.get("question")))
        options = question.get("options")
        for number, option in enumerate(options if isinstance(options, list) else [], 1):
            if isinstance(option, dict):
                description = _string(option.get("description"))
                tail = f" - {description}" if description else ""
                lines.append(f"  {number}. {_string(option.get('label'))}{tail}")
    return "\n".join(lines) or "OpenCode asks a question."


def text_of(asked: InterruptAsked) -> str:
    """What a person reads: what is asked, and how it can be answered."""
    return _permission_text(asked.body) if asked.kind == "permission" else _question_text(asked.body)


def is_left_over(asked: InterruptAsked, prompt_id: str) -> bool:
    """Whether an earlier turn than this prompt's asked: OpenCode goes on to list what a turn waited for that was
    aborted. Ids sort by time."""
    tool = asked.body.get("tool")
    message_id = tool.get("messageID") if isinstance(tool, dict) else None
    return isinstance(message_id, str) and message_id < prompt_id


def answered_unseen(asked: InterruptAsked) -> InterruptEnded:
    """The answer to a request that nobody waits for any more, though how it was answered was not seen."""
    return asked.ended("replied")
