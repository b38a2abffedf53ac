"""Permissions and questions: rendering of a pending one, for machines and for people."""

from __future__ import annotations

from sansio.a2a.codecs.fields import nested_deeper
from sansio.a2a.codecs.json_values import list_at, object_at, objects_at, text_at, texts_at
from sansio.a2a.model import JsonObject
from sansio.opencode.upstream.events import InterruptAsked, InterruptEnded


def details_of(asked: InterruptAsked) -> JsonObject:
    """Return the part of the request that a client needs to decide; nothing that only OpenCode can use."""
    names = ("permission", "patterns", "metadata", "always") if asked.kind == "permission" else ("questions",)
    found = {name: asked.body.get(name) for name in names}
    return {name: value for name, value in found.items() if value is not None and not nested_deeper(value)}


def pending_entry(asked: InterruptAsked) -> JsonObject:
    """Return a request that waits, as its task and its event have it."""
    call_id = text_at(asked.body, "tool", "callID")
    of_call = {} if call_id is None else {"call_id": call_id}
    return {"request_id": asked.request_id, "type": asked.kind, **of_call, "details": details_of(asked)}


def asked_in(entry: JsonObject, session_id: str) -> InterruptAsked | None:
    """Return the request in an entry that `pending_entry` made; `None` where it is none."""
    request_id, kind = text_at(entry, "request_id"), text_at(entry, "type")
    if request_id is None or kind is None:
        return None
    body, call_id = object_at(entry, "details"), text_at(entry, "call_id")
    if call_id is not None:
        body = {**body, "tool": {"callID": call_id}}
    return InterruptAsked(session_id=session_id, kind=kind, request_id=request_id, body=body)


def subject_of(asked: InterruptAsked) -> str:
    """Render in one line what a permission is for, or which questions were asked."""
    if asked.kind == "permission":
        return _permission_subject(asked.body)
    return "; ".join(text_at(question, "question") or "" for question in objects_at(asked.body, "questions"))


def _permission_subject(body: JsonObject) -> str:
    command = text_at(body, "metadata", "command")
    wanted = ", ".join(texts_at(body, "patterns")) if command is None else command
    return (text_at(body, "permission") or "an action") + (f": {wanted}" if wanted else "")


def _permission_text(body: JsonObject) -> str:
    return f"OpenCode asks for permission ({_permission_subject(body)}).\nAnswer once, always or reject."


def _question_text(body: JsonObject) -> str:
    lines = []
    for question in objects_at(body, "questions"):
        lines.append(text_at(question, "question") or "")
        for number, option in enumerate(list_at(question, "options"), 1):
            if isinstance(option, dict):
                description = text_at(option, "description")
                tail = f" - {description}" if description else ""
                lines.append(f"  {number}. {text_at(option, 'label') or ''}{tail}")
    return "\n".join(lines) or "OpenCode asks a question."


def text_of(asked: InterruptAsked) -> str:
    """Render the text for a person: the request, and the possible answers."""
    return _permission_text(asked.body) if asked.kind == "permission" else _question_text(asked.body)


def is_left_over(asked: InterruptAsked, prompt_id: str) -> bool:
    """Return whether the request is from a turn before this prompt.

    OpenCode still lists what an aborted turn waited for. Ids sort by time.
    """
    message_id = text_at(asked.body, "tool", "messageID")
    return message_id is not None and message_id < prompt_id


def answered_unseen(asked: InterruptAsked) -> InterruptEnded:
    """Make the answer to a request that nobody waits for any more, though how it was answered was not seen."""
    return asked.ended("replied")
