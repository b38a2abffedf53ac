"""OpenCode's sessions and messages as A2A tasks and messages, and as the summaries that the methods answer with.

Takes decoded JSON. Raises `ValueError` where an answer is not what OpenCode's interface promises; what is beside
the point may be of any form, and is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sansio.a2a.codecs.fields import nested_deeper
from sansio.a2a.codecs.json_values import text_at
from sansio.a2a.model import (
    DataPart,
    FilePart,
    JsonObject,
    Message,
    Part,
    Role,
    Task,
    TaskState,
    TaskStatus,
    TextPart,
)
from sansio.opencode.projections import summaries
from sansio.opencode.turns.blocks import tool_data
from sansio.opencode.upstream.events import PartSeen
from sansio.opencode.upstream.plain_reasons import retry_reason
from sansio.opencode.upstream.requests import FILE_SCHEMES

CONTEXT_PREFIX = "ctx:opencode-session:"
"""Prefix of the context id of a session that has none from a conversation over A2A."""


def context_of(session_id: str) -> str:
    """Return the context id of a session."""
    return CONTEXT_PREFIX + session_id


def listed(value: Any, what: str) -> list[JsonObject]:
    """Return the objects of a list. Raises `ValueError`."""
    if not isinstance(value, list):
        raise ValueError(f"{what}: must be a list")
    return [item for item in value if isinstance(item, dict)]


def record(value: Any, what: str) -> JsonObject:
    """Check that a value is an object, and return it. Raises `ValueError`."""
    if not isinstance(value, dict):
        raise ValueError(f"{what}: must be an object")
    return value


def session_id_of(session: JsonObject) -> str:
    """Return a session's id. Raises `ValueError`."""
    found = session.get("id")
    if not isinstance(found, str) or not found:
        raise ValueError("a session: has no id")
    return found


def task_of(session: JsonObject) -> Task:
    """Return a session as a task: finished, as it waits for nothing; its history is asked for by itself."""
    session_id = session_id_of(session)
    shared = {"session": {"id": session_id, "title": text_at(session, "title") or ""}}
    return Task(
        id=session_id,
        context_id=context_of(session_id),
        status=TaskStatus(state=TaskState.COMPLETED),
        metadata={"shared": shared},
    )


def message_of(session_id: str, value: Any) -> Message:
    """Return a message with its parts. Raises `ValueError`."""
    item = record(value, "a message")
    info = record(item.get("info"), "a message's info")
    message_id = info.get("id")
    if not isinstance(message_id, str) or not message_id:
        raise ValueError("a message: has no id")
    return Message(
        message_id=message_id,
        role=Role.USER if info.get("role") == "user" else Role.AGENT,
        parts=tuple(_parts(listed(item.get("parts", []), "a message's parts"))),
        context_id=context_of(session_id),
        metadata={"shared": {"session": {"id": session_id}}},
    )


def shell_message_of(session_id: str, value: Any) -> Message:
    """Convert the message of a shell command. It has no text of its own, so its text is the command's output."""
    message = message_of(session_id, value)
    tools = [part.data for part in message.parts if isinstance(part, DataPart)]
    written = [tool.get("output") or tool.get("error") for tool in tools]
    text = "".join(output for output in written if isinstance(output, str))
    rest = tuple(part for part in message.parts if not isinstance(part, TextPart))
    existing = "".join(part.text for part in message.parts if isinstance(part, TextPart))
    return Message(
        message_id=message.message_id,
        role=message.role,
        parts=(TextPart(text=existing + text), *rest),
        context_id=message.context_id,
        metadata=message.metadata,
    )


def _parts(parts: list[JsonObject]) -> Iterator[Part]:
    """Return all text as one part, which is always there, then files and tool calls in their order."""
    yield TextPart(text="".join(_texts(parts)))
    for part in parts:
        url = part.get("url")
        if part.get("type") == "file" and isinstance(url, str) and url.startswith(FILE_SCHEMES):
            yield FilePart(url=url, media_type=_filled(part, "mime"), filename=_filled(part, "filename"))
        if part.get("type") == "tool":
            yield DataPart(data=tool_data(PartSeen(session_id="", message_id="", part_id="", type="tool", body=part)))


def _texts(parts: list[JsonObject]) -> Iterator[str]:
    for part in parts:
        text = text_at(part, "text")
        if part.get("type") == "text" and text is not None and part.get("ignored") is not True:
            yield text


def _filled(value: JsonObject, name: str) -> str | None:
    found = text_at(value, name) or ""
    return found if found.strip() else None


def summary_of(value: Any) -> JsonObject:
    """Return a session as a summary. Raises `ValueError`."""
    session = record(value, "a session")
    return summaries.SESSION.of(session, id=session_id_of(session), title="")


def statuses_of(value: Any) -> list[JsonObject]:
    """Return the sessions at work, by id: what each is doing, and if it waits for another try, which and when."""
    found = record(value, "the statuses")
    return [_status(session_id, found[session_id]) for session_id in sorted(found)]


def _status(session_id: str, value: Any) -> JsonObject:
    status = record(value, "a status")
    kind = _filled(status, "type")
    if kind is None:
        raise ValueError("a status: has no type")
    item = summaries.STATUS.of(status, session_id=session_id, type=kind)
    if (message := _filled(status, "message")) is not None:
        item["message"] = retry_reason(message)
    return item


def todos_of(value: Any) -> list[JsonObject]:
    """Convert the to-do list of a session. Newer releases of OpenCode give no ids: then the index is the id."""
    items = enumerate(listed(value, "the todo list"), 1)
    return [summaries.TODO.of(item, id=str(number)) for number, item in items]


def diffs_of(value: Any) -> list[JsonObject]:
    """Return the files that were changed, each with its patch, or with what it was before and after."""
    return [summaries.FILE_DIFF.of(item, file="") for item in listed(value, "the diff")]


def as_it_is(value: Any) -> Any:
    """Return a value that is passed on, if it can be. Raises `ValueError`."""
    if nested_deeper(value):
        raise ValueError("the answer is nested too deep")
    return value
