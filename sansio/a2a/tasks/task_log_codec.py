"""Stored form of log events: JSON made of version 1.0's codec, for a store that knows nothing of events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import orjson
from attrs import evolve

from sansio.a2a.bindings.json_output import SLICE, Steps, is_heavier, runs
from sansio.a2a.codecs import v1_0
from sansio.a2a.codecs.fields import DEEPEST, Fields, read_document
from sansio.a2a.errors import LocalError, ProtocolError
from sansio.a2a.model import Artifact, JsonObject, Message, Role, Task, TaskState, TaskStatus, TextPart
from sansio.a2a.tasks.task_log import (
    ArtifactChunk,
    LogEvent,
    MessageAdded,
    MetadataChanged,
    Snapshot,
    StatusChanged,
)

_LISTS: Final = ("artifacts", "history")
_REQUIRED: Final = ("id", "contextId", "status")
_PARTS_AT_ONCE: Final = 256


def _encode(event: LogEvent) -> JsonObject:
    match event:
        case ArtifactChunk():
            body: JsonObject = {"chunk": _artifact(event.artifact)}
            if event.append:
                body["append"] = True
            if event.last_chunk:
                body["last_chunk"] = True
            if event.joins:
                body["joins"] = True
            if event.leads:
                body["leads"] = True
            return body
        case StatusChanged():
            body = {"status": v1_0.render_status(event.status)}
            if event.metadata is not None:
                body["metadata"] = event.metadata
            return body
        case MessageAdded():
            return {"message": v1_0.render_message(event.message)}
        case MetadataChanged():
            return {"merge": event.metadata}
        case _:
            return {"task": v1_0.render_task(event.task)}


def _artifact(artifact: Artifact) -> JsonObject:
    """Render an artifact as version 1.0 does; one that is a text in half the time."""
    text = artifact.only_text
    if text is None:
        return v1_0.render_artifact(artifact)
    body: JsonObject = {"artifactId": artifact.artifact_id, "parts": [{"text": text}]}
    if artifact.name is not None:
        body["name"] = artifact.name
    if artifact.metadata is not None:
        body["metadata"] = artifact.metadata
    return body


def _kept(data: bytes) -> bytes:
    """Return a copy to keep: what orjson gives holds on to the larger buffer that it was written into."""
    return bytes(memoryview(data))


def encode_events(events: Iterable[LogEvent]) -> bytes:
    """Render a JSON array of the events."""
    return _kept(orjson.dumps([_encode(event) for event in events]))


def _chunk(fields: Fields) -> ArtifactChunk:
    empty = Artifact(artifact_id="", parts=())
    return ArtifactChunk(
        artifact=fields.child("chunk", v1_0.read_artifact, required=True) or empty,
        append=fields.flag("append") or False,
        last_chunk=fields.flag("last_chunk") or False,
        joins=fields.flag("joins") or False,
        leads=fields.flag("leads") or False,
    )


def _status(fields: Fields) -> StatusChanged:
    empty = TaskStatus(state=TaskState.UNKNOWN)
    status = fields.child("status", v1_0.read_status, required=True) or empty
    return StatusChanged(status=status, metadata=fields.mapping("metadata"))


def _message(fields: Fields) -> MessageAdded:
    empty = Message(message_id="", role=Role.USER, parts=())
    return MessageAdded(fields.child("message", v1_0.read_message, required=True) or empty)


def _snapshot(fields: Fields) -> Snapshot:
    empty = Task(id="", context_id="", status=TaskStatus(state=TaskState.UNKNOWN))
    return Snapshot(fields.child("task", v1_0.read_task, required=True) or empty)


_READERS: dict[str, Callable[[Fields], LogEvent]] = {
    "chunk": _chunk,
    "status": _status,
    "message": _message,
    "merge": lambda fields: MetadataChanged(fields.mapping("merge") or {}),
}


def _decode(fields: Fields) -> LogEvent:
    """Decode an event, whose member names its kind; `fields` collects what is wrong."""
    for name, read in _READERS.items():
        if name in fields.value:
            return read(fields)
    return _snapshot(fields)


_DEEPEST = DEEPEST + 16
"""Levels of nesting. A value of the deepest accepted request is nested deeper in a task; the JSON writer takes about
250.
"""


def _text_chunk(value: JsonObject) -> ArtifactChunk | None:
    """Return a chunk that is one text of an artifact, as nearly all events are; None: another reader has to look.

    It takes a fifth of the other's time, which a server spends on each event of a task that another one works on.
    """
    chunk = value.get("chunk")
    if type(chunk) is not dict:
        return None
    artifact_id, name, metadata = chunk.get("artifactId"), chunk.get("name"), chunk.get("metadata")
    parts = chunk.get("parts")
    if type(parts) is not list or len(parts) != 1 or type(parts[0]) is not dict or len(parts[0]) != 1:
        return None
    text = parts[0].get("text")
    if type(text) is not str or not artifact_id or type(artifact_id) is not str:
        return None
    if not (name is None or (name and type(name) is str)) or not (metadata is None or type(metadata) is dict):
        return None
    append, joins = value.get("append") is True, value.get("joins") is True
    last_chunk, leads = value.get("last_chunk") is True, value.get("leads") is True
    if len(value) != 1 + append + joins + last_chunk + leads:
        return None
    if len(chunk) != 2 + (name is not None) + (metadata is not None):
        return None
    artifact = Artifact(artifact_id=artifact_id, parts=(TextPart(text=text),), name=name, metadata=metadata)
    return ArtifactChunk(artifact=artifact, append=append, last_chunk=last_chunk, joins=joins, leads=leads)


def _read_events(fields: Fields) -> list[LogEvent]:
    events = fields.value["events"]
    if type(events) is not list or not all(type(one) is dict for one in events):
        return list(fields.children("events", _decode, required=True))  # which notes what is wrong
    return [_text_chunk(one) or _decode(fields.below(one, "events", index)) for index, one in enumerate(events)]


def decode_events(body: bytes) -> list[LogEvent]:
    """Parse the events of `encode_events`. Raises `LocalError`: only we write these."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise LocalError(f"a stored event cannot be read: {exc}") from exc
    return read_events(value, shallow=body.count(b"[") + body.count(b"{") < _DEEPEST)


def read_events(value: object, *, shallow: bool = False) -> list[LogEvent]:
    """Parse the events of `encode_events`, or some of them, whose JSON is decoded. Raises `LocalError`.

    `shallow`: it is known that nothing in it is nested too deep.
    """
    try:
        return read_document({"events": value}, _read_events, levels=None if shallow else _DEEPEST)
    except ProtocolError as exc:
        raise LocalError(f"a stored event cannot be read: {exc}") from exc


def encode_task(task: Task) -> bytes:
    """Render a task as JSON."""
    return _kept(orjson.dumps(v1_0.render_task(task)))


def decode_task(body: bytes) -> Task:
    """Parse the task of `encode_task`. Raises `LocalError`."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise LocalError(f"a stored task cannot be read: {exc}") from exc
    return read_task(value)


def read_task_in_steps(value: Any, *, size: int = SLICE) -> Steps[Task]:
    """Parse the task of `encode_task`, whose JSON is decoded, in steps of about `size` bytes. Raises `LocalError`."""
    if not isinstance(value, dict) or not is_heavier(value, size):
        return read_task(value)
    lists = {name: value[name] for name in _LISTS if isinstance(value.get(name), list) and value[name]}
    task = read_task({name: member for name, member in value.items() if name not in lists})
    bare = {name: value[name] for name in _REQUIRED}
    artifacts: list[Artifact] = []
    history: list[Message] = []
    for name, items in lists.items():
        for run in runs(items, size):
            yield
            first, *more = _in_slices(run)
            some = read_task({**bare, name: first})
            for rest in more:
                yield
                some = _joined(some, read_task({**bare, name: rest}))
            artifacts += some.artifacts
            history += some.history
    return evolve(task, artifacts=tuple(artifacts), history=tuple(history))


def _in_slices(run: Sequence[Any]) -> list[list[Any]]:
    """Return a run of artifacts or messages in slices: one that has many parts alone is as many as its parts need."""
    parts = run[0].get("parts") if len(run) == 1 and isinstance(run[0], dict) else None
    if not isinstance(parts, list) or len(parts) <= _PARTS_AT_ONCE:
        return [list(run)]
    starts = range(0, len(parts), _PARTS_AT_ONCE)
    return [[{**run[0], "parts": parts[start : start + _PARTS_AT_ONCE]}] for start in starts]


def _joined(task: Task, slice_: Task) -> Task:
    """Return a task of one artifact or message with the parts of its next slice."""
    artifacts = tuple(
        evolve(a, parts=a.parts + b.parts) for a, b in zip(task.artifacts, slice_.artifacts, strict=True)
    )
    history = tuple(evolve(a, parts=a.parts + b.parts) for a, b in zip(task.history, slice_.history, strict=True))
    return evolve(task, artifacts=artifacts, history=history)


def read_task(value: object) -> Task:
    """Parse the task of `encode_task`, whose JSON is decoded. Raises `LocalError`."""
    try:
        return read_document(value, v1_0.read_task, levels=_DEEPEST)
    except ProtocolError as exc:
        raise LocalError(f"a stored task cannot be read: {exc}") from exc
