"""Output of a turn in an earlier run of the server, read back from the task's log, so that a new run can continue.

Reads the metadata that `event_metadata` writes. Pure; what OpenCode did meanwhile is for `turn` to find out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from attrs import field, frozen

from sansio.a2a.codecs.json_values import member, object_at, objects_at
from sansio.a2a.model import Artifact, DataPart, FilePart, JsonObject, Task, TaskStatus, TextPart
from sansio.a2a.tasks.task_log import SKIPPED, ArtifactChunk, LogEvent, StatusChanged
from sansio.opencode.interrupts.render import asked_in
from sansio.opencode.turns.blocks import TOOL_RANK, BlockType, Tool
from sansio.opencode.upstream.events import InterruptAsked


@frozen(kw_only=True)
class RecoveredOutput:
    """Output that was sent: the texts of each artifact by its id, tool calls and files by part id, progress, status.

    `pending`: requests that wait for an answer; `asked_at`: since when, as RFC 3339; `resolved`: those that have
    ended, as the task lists them. `sequence`: the number to count from, beyond that of any event that was seen but
    not stored.
    """

    texts: Mapping[str, tuple[str, ...]]
    tools: Mapping[str, Tool]
    files: frozenset[str]
    progress: frozenset[object]
    pending: Mapping[str, InterruptAsked]
    asked_at: Mapping[str, str]
    resolved: Sequence[JsonObject]
    sequence: int
    status: TaskStatus


@frozen
class _Seen:
    progress: set[object] = field(factory=set)
    pending: dict[str, InterruptAsked] = field(factory=dict)
    asked_at: dict[str, str] = field(factory=dict)
    sequence: list[int] = field(factory=lambda: [0])

    def look_at(self, metadata: JsonObject | None, session_id: str, time: str | None = None) -> None:
        shared = object_at(metadata, "shared")
        number = object_at(shared, "stream").get("sequence")
        if isinstance(number, int):
            self.sequence.append(number)
        progress = object_at(shared, "progress")
        if progress.get("type") == "retry":
            self.progress.add((progress.get("attempt"), progress.get("next")))
        elif isinstance(part_id := progress.get("part_id"), str):
            self.progress.add(part_id)
        interrupt = object_at(shared, "interrupt")
        asked = asked_in(interrupt, session_id)
        if asked is None:
            return
        self.pending.pop(asked.request_id, None)
        self.asked_at.pop(asked.request_id, None)
        if interrupt.get("phase") == "asked":
            self.pending[asked.request_id] = asked
            self.asked_at[asked.request_id] = time or ""


def recovered_output(task: Task, events: Iterable[LogEvent], session_id: str, *, last: int = 0) -> RecoveredOutput:
    """Recover the output from the task, and from those of its events that were stored. `last`: the newest of them."""
    seen = _Seen()
    for event in events:
        if isinstance(event, StatusChanged):
            seen.look_at(event.metadata, session_id, event.status.timestamp)
        elif isinstance(event, ArtifactChunk):
            seen.look_at(event.artifact.metadata, session_id)
    texts: dict[str, tuple[str, ...]] = {}
    tools: dict[str, Tool] = {}
    files: set[str] = set()
    of_file = f"{task.id}:{BlockType.FILE.value}:"
    for artifact in task.artifacts:
        if artifact.artifact_id.startswith(of_file):
            files.add(artifact.artifact_id.removeprefix(of_file))
        elif (tool := _tool_of(task.id, artifact)) is not None:
            tools[tool.part_id] = tool
        else:
            texts[artifact.artifact_id] = tuple(part.text for part in artifact.parts if isinstance(part, TextPart))
    return RecoveredOutput(
        texts=texts,
        tools=tools,
        files=frozenset(files),
        progress=frozenset(seen.progress),
        pending=seen.pending,
        asked_at=seen.asked_at,
        resolved=objects_at(task.metadata, "shared", "resolved_interrupts"),
        sequence=max(
            max(seen.sequence) + SKIPPED, last
        ),  # `last` grows with the time, for what a backup does not have
        status=task.status,
    )


def _tool_of(task_id: str, artifact: Artifact) -> Tool | None:
    prefix = f"{task_id}:{BlockType.TOOL_CALL.value}:"
    part = artifact.parts[0] if artifact.parts else None
    if not artifact.artifact_id.startswith(prefix) or not isinstance(part, DataPart):
        return None
    message_id = member(artifact.metadata, "shared", "stream", "message_id")
    rank = TOOL_RANK.get(str(part.data.get("status")), 0)
    files = tuple(file for file in artifact.parts[1:] if isinstance(file, FilePart))
    return Tool(artifact.artifact_id.removeprefix(prefix), str(message_id), part.data, rank, files)
