"""The recorded turns of OpenCode under `tests/fixtures/turns`, and what to do with a turn in a test.

`NAME.jsonl` is the global event stream during the turn, `NAME.messages.json` the session's messages after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import orjson
from attrs import field, frozen

from sansio.a2a.model import DataPart, FilePart, JsonObject, Part, Task, TaskStatus, TextPart
from sansio.a2a.model import TaskState as State
from sansio.a2a.tasks.task_log import ArtifactChunk, Folding, LogEvent, StatusChanged
from sansio.opencode.turns.turn import Turn
from sansio.opencode.upstream.events import (
    BusEvent,
    MessageRecord,
    MessageSeen,
    SessionStatus,
    decode,
    decode_messages,
)
from tests.paths import FIXTURES

FOLDER = FIXTURES / "turns"
NAMES = tuple(sorted(path.stem for path in FOLDER.glob("*.jsonl")))
UNFINISHED = frozenset({"provider-error", "rate-limit-retry"})
"""Recordings that stop while OpenCode waits for its next attempt."""
FINISHED = tuple(name for name in NAMES if name not in UNFINISHED)

TASK = "task-1"
CONTEXT = "context-1"
NOW = "2026-01-02T03:04:05Z"


@frozen(kw_only=True)
class Recording:
    """One turn: what the bus said, what the session holds afterwards, and whose turn it is."""

    name: str
    session_id: str
    prompt_id: str
    events: tuple[BusEvent, ...] = field(repr=False)
    records: tuple[MessageRecord, ...] = field(repr=False)


def lines_of(name: str) -> list[bytes]:
    """The lines of a recorded event stream."""
    return (FOLDER / f"{name}.jsonl").read_bytes().splitlines()


def messages_of(name: str) -> bytes:
    """The messages read after a recorded turn."""
    return (FOLDER / f"{name}.messages.json").read_bytes()


def recording_of(name: str, lines: Iterable[bytes], messages: bytes) -> Recording:
    """A turn from its bytes; the first user message is the prompt."""
    events = tuple(event for event in map(decode, lines) if event is not None)
    prompt = next(e.info for e in events if isinstance(e, MessageSeen) and e.info.role == "user")
    return Recording(
        name=name,
        session_id=prompt.session_id,
        prompt_id=prompt.id,
        events=events,
        records=tuple(decode_messages(messages)),
    )


def recorded(name: str) -> Recording:
    """The recorded turn of that name."""
    return recording_of(name, lines_of(name), messages_of(name))


def turn_of(recording: Recording) -> Turn:
    """A fresh turn for a recording."""
    return Turn(
        task_id=TASK,
        context_id=CONTEXT,
        session_id=recording.session_id,
        prompt_id=recording.prompt_id,
    )


def idle(session_id: str) -> SessionStatus:
    """The session has nothing to do."""
    return SessionStatus(session_id=session_id, type="idle")


def play(recording: Recording, events: Sequence[BusEvent] | None = None) -> list[LogEvent]:
    """What a turn says of the events (default: all of the recording's), from its beginning."""
    turn = turn_of(recording)
    out = turn.begin(NOW)
    for event in recording.events if events is None else events:
        out += turn.feed(event, NOW)
    return out


def task_of(events: Iterable[LogEvent]) -> Task:
    """The task that a turn's events fold to; fails where the log's rules would drop one of them."""
    folding = Folding(TASK, CONTEXT)
    folding.add(StatusChanged(status=TaskStatus(state=State.SUBMITTED)))
    for event in events:
        assert folding.add(event), f"dropped: {event}"
    return folding.task()


def said(part: Part) -> Any:
    """What a part holds, without what is said about it."""
    match part:
        case TextPart():
            return part.text
        case DataPart():
            return part.data
        case FilePart():
            return part.raw or part.url


def output_of(task: Task) -> dict[str, list[Any]]:
    """The task's output: what each artifact holds. Ids are shortened to what follows the task's id."""
    return {a.artifact_id.removeprefix(f"{TASK}:"): [said(part) for part in a.parts] for a in task.artifacts}


def picture(task: Task) -> tuple[State, str, dict[str, list[Any]]]:
    """What must not depend on how the events came: state, what the agent says of it, and output."""
    message = task.status.message
    return task.status.state, "".join(said(p) for p in message.parts) if message else "", output_of(task)


def terminals(events: Iterable[LogEvent]) -> list[StatusChanged]:
    """The events that end the turn."""
    return [e for e in events if isinstance(e, StatusChanged) and e.status.state.closing]


def naive_fold(events: Iterable[LogEvent]) -> dict[str, Any]:
    """What a simple client makes of a stream: texts per artifact put together, data replaced."""
    found: dict[str, Any] = {}
    for event in events:
        if not isinstance(event, ArtifactChunk):
            continue
        artifact_id = event.artifact.artifact_id.removeprefix(f"{TASK}:")
        texts = [part.text for part in event.artifact.parts if isinstance(part, TextPart)]
        data = [part.data for part in event.artifact.parts if isinstance(part, DataPart)]
        if data:
            found[artifact_id] = data[-1]
        elif event.append:
            found[artifact_id] = found.get(artifact_id, "") + "".join(texts)
        else:
            found[artifact_id] = "".join(texts)
    return found


def flattened(output: dict[str, list[Any]]) -> dict[str, Any]:
    """A task's output in the form of `naive_fold`."""
    return {name: held[0] if held and isinstance(held[0], dict) else "".join(held) for name, held in output.items()}


def shared_of(events: Iterable[LogEvent], member: str) -> list[JsonObject]:
    """The `metadata.shared` members of that name in the status events, in order."""
    found = []
    for event in events:
        if isinstance(event, StatusChanged):
            shared = (event.metadata or {}).get("shared", {})
            if member in shared:
                found.append(shared[member])
    return found


def json_lines(values: Iterable[Any]) -> list[bytes]:
    """Values as lines of JSON."""
    return [orjson.dumps(value) for value in values]
