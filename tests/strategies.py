"""Hypothesis strategies for A2A values, their wire documents and OpenCode's turns; tests and fuzz targets share them.

Knows the model and the facts of OpenCode's bus, and nothing of how either is parsed.
"""

from __future__ import annotations

import base64
import itertools
from typing import Any

import orjson
from attrs import frozen
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from sansio.a2a.model import (
    Artifact,
    ArtifactUpdate,
    DataPart,
    FilePart,
    GetTaskRequest,
    ListTasksRequest,
    Message,
    Part,
    PushAuthentication,
    PushConfig,
    PushConfigPage,
    Role,
    SendConfiguration,
    SendRequest,
    StatusUpdate,
    StreamItem,
    Task,
    TaskPage,
    TaskState,
    TaskStatus,
    TextPart,
)
from sansio.a2a.tasks.task_log import (
    ArtifactChunk,
    LogEvent,
    MessageAdded,
    MetadataChanged,
    Snapshot,
    StatusChanged,
)

VERSIONS = ("0.3", "1.0")

# --- JSON -------------------------------------------------------------------------------------------------

texts = st.text(max_size=12)
names = st.text(min_size=1, max_size=8)
optional_names = st.none() | names
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
json_values: SearchStrategy[Any] = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=5
)
json_objects = st.dictionaries(texts, json_values, max_size=3)
metadata = st.none() | json_objects


def base64_of(data: bytes, url_safe: bool, padded: bool) -> str:
    """Base64 in one of the four ways clients write it."""
    encode = base64.urlsafe_b64encode if url_safe else base64.b64encode
    text = encode(data).decode()
    return text if padded else text.rstrip("=")


base64_texts = st.builds(base64_of, st.binary(max_size=9), st.booleans(), st.booleans())
kept_base64_texts = st.builds(base64_of, st.binary(max_size=9), st.just(False), st.just(True))
"""Base64 as it is after it was read."""

# --- the A2A model: what a line can carry -----------------------------------------------------------------


def parts(version: str) -> SearchStrategy[Part]:
    """Parts `version` can carry: 0.3 has no media type for text and data, and only objects as data."""
    plain = st.none() if version == "0.3" else optional_names
    about = {"metadata": metadata, "media_type": plain, "filename": plain}
    file = {"metadata": metadata, "media_type": optional_names, "filename": optional_names}
    data = json_objects if version == "0.3" else json_values
    return (
        st.builds(TextPart, text=texts, **about)
        | st.builds(DataPart, data=data, **about)
        | st.builds(FilePart, raw=kept_base64_texts, **file)
        | st.builds(FilePart, url=names, **file)
    )


def _tuples(values: SearchStrategy[Any], least: int = 0, most: int = 2) -> SearchStrategy[tuple[Any, ...]]:
    return st.lists(values, min_size=least, max_size=most).map(tuple)


def messages(version: str) -> SearchStrategy[Message]:
    """Messages with at least one part."""
    return st.builds(
        Message,
        message_id=names,
        role=st.sampled_from(Role),
        parts=_tuples(parts(version), 1),
        context_id=optional_names,
        task_id=optional_names,
        metadata=metadata,
        extensions=_tuples(texts),
        reference_task_ids=_tuples(texts),
    )


def artifacts(version: str, ids: SearchStrategy[str] = names) -> SearchStrategy[Artifact]:
    """Artifacts, which may be empty chunks."""
    return st.builds(
        Artifact,
        artifact_id=ids,
        parts=_tuples(parts(version)),
        name=optional_names,
        description=optional_names,
        metadata=metadata,
        extensions=_tuples(texts, most=1),
    )


def statuses(version: str) -> SearchStrategy[TaskStatus]:
    """Statuses of every state."""
    return st.builds(
        TaskStatus,
        state=st.sampled_from(TaskState),
        message=st.none() | messages(version),
        timestamp=optional_names,
    )


def tasks(version: str) -> SearchStrategy[Task]:
    """Tasks, with artifacts and history."""
    return st.builds(
        Task,
        id=names,
        context_id=texts,
        status=statuses(version),
        artifacts=_tuples(artifacts(version)),
        history=_tuples(messages(version)),
        metadata=metadata,
    )


def _status_update(version: str, values: dict[str, Any]) -> StatusUpdate:
    """Version 1.0 has no word for `final`: it is what the state says."""
    if version == "1.0":
        values["final"] = values["status"].state.terminal
    return StatusUpdate(**values)


def items(version: str) -> SearchStrategy[StreamItem]:
    """Every kind of stream item."""
    status_updates = st.fixed_dictionaries(
        {
            "task_id": names,
            "context_id": texts,
            "status": statuses(version),
            "final": st.booleans(),
            "metadata": metadata,
        }
    ).map(lambda values: _status_update(version, values))
    artifact_updates = st.builds(
        ArtifactUpdate,
        task_id=names,
        context_id=texts,
        artifact=artifacts(version),
        append=st.booleans(),
        last_chunk=st.booleans(),
        metadata=metadata,
    )
    return tasks(version) | messages(version) | status_updates | artifact_updates


def push_configs(version: str) -> SearchStrategy[PushConfig]:
    """Push configurations; only 1.0 says of which task."""
    authentication = st.builds(PushAuthentication, scheme=names, credentials=optional_names)
    return st.builds(
        PushConfig,
        url=names,
        id=optional_names,
        task_id=st.none() if version == "0.3" else optional_names,
        token=optional_names,
        authentication=st.none() | authentication,
    )


def send_requests(version: str) -> SearchStrategy[SendRequest]:
    """Parameters of sending a message; only 1.0 has tenants."""
    configuration = st.builds(
        SendConfiguration,
        accepted_output_modes=_tuples(texts),
        history_length=st.none() | st.integers(0, 2**31 - 1),
        blocking=st.booleans(),
        push=st.none() | push_configs(version),
    )
    return st.builds(
        SendRequest,
        message=messages(version),
        configuration=configuration,
        metadata=metadata,
        tenant=st.none() if version == "0.3" else optional_names,
    )


def get_task_requests() -> SearchStrategy[GetTaskRequest]:
    """Parameters of reading a task."""
    return st.builds(
        GetTaskRequest,
        id=names,
        history_length=st.none() | st.integers(0, 2**31 - 1),
        tenant=optional_names,
    )


def list_tasks_requests(version: str) -> SearchStrategy[ListTasksRequest]:
    """Parameters of listing tasks; only 1.0 has tenants, and no tasks of an unspecified state."""
    states = [state for state in TaskState if version == "0.3" or state is not TaskState.UNKNOWN]
    return st.builds(
        ListTasksRequest,
        context_id=optional_names,
        state=st.none() | st.sampled_from(states),
        changed_after=st.none() | st.integers(0, 4_000_000_000_000),
        page_size=st.integers(1, 100),
        page_token=optional_names,
        history_length=st.none() | st.integers(0, 2**31 - 1),
        include_artifacts=st.booleans(),
        tenant=st.none() if version == "0.3" else optional_names,
    )


def task_pages(version: str) -> SearchStrategy[TaskPage]:
    """Pages of tasks, which may be empty."""
    return st.builds(
        TaskPage,
        tasks=_tuples(tasks(version)),
        next_page_token=texts,
        page_size=st.integers(1, 100),
        total=st.integers(0, 2**31 - 1),
    )


def kept_push_configs() -> SearchStrategy[PushConfig]:
    """Push configurations as the codecs have them of a task: with its id and their own."""
    authentication = st.builds(PushAuthentication, scheme=names, credentials=optional_names)
    return st.builds(
        PushConfig,
        url=names,
        id=names,
        task_id=names,
        token=optional_names,
        authentication=st.none() | authentication,
    )


def push_config_pages() -> SearchStrategy[PushConfigPage]:
    """Pages of push configurations, which may be empty."""
    return st.builds(PushConfigPage, configs=_tuples(kept_push_configs()), next_page_token=texts)


# --- the log ----------------------------------------------------------------------------------------------

_few_ids = st.sampled_from(("a", "b", "c"))
_running = st.sampled_from([state for state in TaskState if not state.terminal])


def chunks() -> SearchStrategy[ArtifactChunk]:
    """Chunks of a few artifacts, so that they meet."""
    return st.builds(
        ArtifactChunk,
        artifact=artifacts("1.0", _few_ids),
        append=st.booleans(),
        last_chunk=st.booleans(),
        joins=st.booleans(),
        leads=st.booleans(),
    )


def log_events() -> SearchStrategy[LogEvent]:
    """Every kind of log event; most statuses are such that the task goes on."""
    status = st.builds(
        TaskStatus,
        state=_running | _running | st.sampled_from(TaskState),
        message=st.none() | messages("1.0"),
        timestamp=optional_names,
    )
    return (
        chunks()
        | chunks()
        | st.builds(StatusChanged, status=status, metadata=metadata)
        | st.builds(MessageAdded, messages("1.0"))
        | st.builds(MetadataChanged, json_objects)
        | st.builds(Snapshot, tasks("1.0"))
    )


# --- OpenCode ---------------------------------------------------------------------------------------------

SESSION = "ses_root"
CHILD = "ses_child"


@frozen(kw_only=True)
class ScriptedTurn:
    """A turn as OpenCode would play it: the bus events' bytes in order, and the messages read afterwards."""

    prompt_id: str
    lines: tuple[bytes, ...]
    messages: bytes


class _Script:
    """Writes bus events and keeps the messages they add up to."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.messages: list[dict[str, Any]] = []
        self._clock = itertools.count(1)

    def new_id(self, prefix: str) -> str:
        return f"{prefix}_{next(self._clock):012x}{'A' * 14}"

    def say(self, type: str, **properties: Any) -> None:
        payload = {"id": self.new_id("evt"), "type": type, "properties": properties}
        self.lines.append(orjson.dumps({"directory": "/workspace", "payload": payload}))

    def status(self, session: str, type: str, **more: Any) -> None:
        self.say("session.status", sessionID=session, status={"type": type, **more})

    def message(self, **info: Any) -> dict[str, Any]:
        body = {"info": {"sessionID": SESSION, **info}, "parts": []}
        self.messages.append(body)
        self.say("message.updated", sessionID=SESSION, info=body["info"])
        return body

    def update(self, message: dict[str, Any], **info: Any) -> None:
        message["info"] = {**message["info"], **info}
        self.say("message.updated", sessionID=SESSION, info=message["info"])

    def part(self, message: dict[str, Any], part_id: str, **body: Any) -> None:
        part = {"id": part_id, "sessionID": SESSION, "messageID": message["info"]["id"], **body}
        message["parts"] = [p for p in message["parts"] if p["id"] != part_id] + [part]
        self.say("message.part.updated", sessionID=SESSION, part=part)

    def delta(self, message: dict[str, Any], part_id: str, text: str) -> None:
        ids = {"sessionID": SESSION, "messageID": message["info"]["id"], "partID": part_id}
        self.say("message.part.delta", **ids, field="text", delta=text)


_pieces = st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=5)
_text_parts = st.tuples(st.sampled_from(("text", "reasoning")), _pieces)
_tool_parts = st.tuples(st.just("tool"), st.sampled_from(("completed", "error")))


def _write_text(script: _Script, message: dict[str, Any], kind: str, pieces: list[str]) -> None:
    part_id = script.new_id("prt")
    script.part(message, part_id, type=kind, text="", time={"start": 1})
    for piece in pieces:
        script.delta(message, part_id, piece)
    script.part(message, part_id, type=kind, text="".join(pieces), time={"start": 1, "end": 2})


def _write_tool(script: _Script, message: dict[str, Any], outcome: str) -> None:
    part_id = script.new_id("prt")
    call = {"type": "tool", "tool": "bash", "callID": f"call_{part_id}"}
    result = {"output": "done\n", "title": "did"} if outcome == "completed" else {"error": "failed"}
    script.part(message, part_id, **call, state={"status": "pending", "input": {}})
    script.part(message, part_id, **call, state={"status": "running", "input": {"command": "x"}})
    script.part(message, part_id, **call, state={"status": outcome, "input": {"command": "x"}, **result})


def _write_subagent(script: _Script) -> None:
    info = {"id": script.new_id("msg"), "role": "assistant", "parentID": script.new_id("msg")}
    part = {"id": script.new_id("prt"), "messageID": info["id"], "type": "text", "text": "of a subagent"}
    script.say("session.created", info={"id": CHILD, "parentID": SESSION})
    script.say("message.updated", sessionID=CHILD, info={**info, "sessionID": CHILD})
    script.say("message.part.updated", sessionID=CHILD, part={**part, "sessionID": CHILD})
    script.status(CHILD, "idle")


@st.composite
def scripted_turns(draw: DrawFn) -> ScriptedTurn:
    """Turns of one to three steps with texts, reasoning, tool calls, retries and a subagent, and every end."""
    script = _Script()
    prompt_id = script.new_id("msg")
    user = script.message(id=prompt_id, role="user")
    script.part(user, script.new_id("prt"), type="text", text="the question")
    steps = draw(st.integers(1, 3))
    outcome = draw(st.sampled_from(("completed", "completed", "MessageAbortedError", "APIError")))
    for step in range(steps):
        script.status(SESSION, "busy")
        about = {"role": "assistant", "parentID": prompt_id}
        message = script.message(id=script.new_id("msg"), **about, time={"created": 1})
        script.part(message, script.new_id("prt"), type="step-start")
        if draw(st.booleans()):
            script.status(SESSION, "retry", attempt=step + 1, message="slow down", next=step)
        for kind, detail in draw(st.lists(_text_parts | _tool_parts, max_size=4)):
            if kind == "tool":
                _write_tool(script, message, str(detail))
            else:
                _write_text(script, message, kind, list(detail))
        if draw(st.booleans()):
            _write_subagent(script)
        script.part(message, script.new_id("prt"), type="step-finish", reason="stop")
        ending: dict[str, Any] = {"time": {"created": 1, "completed": 2}, "cost": 0.5}
        ending["tokens"] = {"input": 3, "output": step, "reasoning": 0, "cache": {"read": 0, "write": 0}}
        if step == steps - 1 and outcome != "completed":
            error = {"name": outcome, "data": {"message": "no", "statusCode": 401, "isRetryable": False}}
            script.say("session.error", sessionID=SESSION, error=error)
            ending["error"] = error
        script.update(message, **ending)
    script.status(SESSION, "idle")
    script.say("session.idle", sessionID=SESSION)
    return ScriptedTurn(prompt_id=prompt_id, lines=tuple(script.lines), messages=orjson.dumps(script.messages))


# --- bytes ------------------------------------------------------------------------------------------------


@st.composite
def chunked(draw: DrawFn, whole: SearchStrategy[bytes]) -> tuple[bytes, list[bytes]]:
    """Bytes, and the same bytes in pieces, some of them empty."""
    data = draw(whole)
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=8)))
    edges = [0, *cuts, len(data)]
    return data, [data[start:end] for start, end in itertools.pairwise(edges)]


_sse_words = st.sampled_from(
    [
        *(b"data", b"data:", b"data: ", b"event: ", b"id: ", b"id", b"retry: ", b":", b" ", b"\n", b"\n\n"),
        *(b"\r", b"\r\n", b"\r\r", b"\xef\xbb\xbf", b"\0", b"\xff", b"12", b"x", b"{}", b"data: y\n\n"),
    ]
)
sse_bytes = st.lists(_sse_words | st.binary(max_size=3), max_size=25).map(b"".join)
"""What looks like server-sent events, with every kind of line end."""
