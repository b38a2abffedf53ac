"""Both protocol versions on both bindings, read into one small model, and a fold of a stream's events.

Written from the protocol alone, apart from the project's own codecs, so that the two cannot share a mistake.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

import attrs
import httpx

from tests.real.deadline import Deadline
from tests.real.streams import data_lines

Json: TypeAlias = dict[str, Any]

CALL_SECONDS = 120
STATES = {
    "submitted": "TASK_STATE_SUBMITTED",
    "working": "TASK_STATE_WORKING",
    "input-required": "TASK_STATE_INPUT_REQUIRED",
    "auth-required": "TASK_STATE_AUTH_REQUIRED",
    "completed": "TASK_STATE_COMPLETED",
    "canceled": "TASK_STATE_CANCELED",
    "failed": "TASK_STATE_FAILED",
    "rejected": "TASK_STATE_REJECTED",
}
TERMINAL = frozenset({"completed", "canceled", "failed", "rejected"})
KINDS_0_3 = {"task": "task", "status-update": "statusUpdate", "artifact-update": "artifactUpdate"}


class WireError(AssertionError):
    """An answer that is not what the protocol version says it is."""


@attrs.frozen(kw_only=True)
class Artifact:
    """An artifact's parts, each a text or a data value."""

    id: str
    name: str | None
    parts: tuple[str | Json, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(part for part in self.parts if isinstance(part, str))

    @property
    def data(self) -> tuple[Json, ...]:
        return tuple(part for part in self.parts if not isinstance(part, str))

    @property
    def artifact_stream(self) -> str:
        """The block type its chunks are to have."""
        if self.data:
            return "tool_call"
        return "text" if self.name == "response" else "reasoning"


@attrs.frozen(kw_only=True)
class Task:
    """`reason` is the text of the status message, `shared` what is under `metadata.shared`."""

    id: str
    context_id: str
    state: str
    reason: str
    artifacts: tuple[Artifact, ...]
    shared: Json

    @property
    def session_id(self) -> str:
        return str(self.shared["session"]["id"])

    def artifact_stream(self, name: str) -> tuple[Artifact, ...]:
        return tuple(artifact for artifact in self.artifacts if artifact.artifact_stream == name)


@attrs.frozen(kw_only=True)
class StatusUpdate:
    """`final` is what version 0.3 says; version 1.0 has no such member, and the state must do."""

    task_id: str
    context_id: str
    state: str
    final: bool
    shared: Json


@attrs.frozen(kw_only=True)
class ArtifactUpdate:
    """A chunk of an artifact. `block_type` is `metadata.shared.stream.block_type` of the chunk."""

    task_id: str
    context_id: str
    artifact: Artifact
    append: bool
    last: bool
    block_type: str | None


Event: TypeAlias = Task | StatusUpdate | ArtifactUpdate


@attrs.frozen(kw_only=True)
class Reading:
    """How one protocol version spells the model."""

    version: str

    @property
    def tagged(self) -> bool:
        """Whether objects say by `kind` what they are (version 0.3), or by the member that holds them (1.0)."""
        return self.version == "0.3"

    def part(self, raw: Json) -> str | Json:
        name = next((name for name in ("text", "data") if name in raw), None)
        if name is None or raw.get("kind") != (name if self.tagged else None):
            raise WireError(f"not a text or data part of line {self.version}: {raw}")
        value = raw[name]
        if isinstance(value, str) and name == "text":
            return value
        if isinstance(value, dict) and name == "data":
            return value
        raise WireError(f"a {name} part with another kind of value: {raw}")

    def artifact(self, raw: Json) -> Artifact:
        parts = tuple(self.part(part) for part in raw["parts"])
        return Artifact(id=raw["artifactId"], name=raw.get("name"), parts=parts)

    def state(self, raw: str) -> str:
        spelled = {state if self.tagged else name: state for state, name in STATES.items()}
        if raw not in spelled:
            raise WireError(f"not a state of line {self.version}: {raw}")
        return spelled[raw]

    def reason(self, status: Json) -> str:
        parts = [self.part(part) for part in status.get("message", {}).get("parts", [])]
        return "".join(part for part in parts if isinstance(part, str))

    def task(self, raw: Json) -> Task:
        if raw.get("kind") != ("task" if self.tagged else None):
            raise WireError(f"not a task of line {self.version}: {raw}")
        return Task(
            id=raw["id"],
            context_id=raw["contextId"],
            state=self.state(raw["status"]["state"]),
            reason=self.reason(raw["status"]),
            artifacts=tuple(self.artifact(artifact) for artifact in raw.get("artifacts", [])),
            shared=shared(raw),
        )

    def sent(self, raw: Json) -> Task:
        """The answer to a send: the task itself on version 0.3, wrapped on 1.0."""
        return self.task(raw if self.tagged else raw["task"])

    def event(self, raw: Json) -> Event:
        if self.tagged:
            member, value = KINDS_0_3.get(str(raw.get("kind"))), raw
        else:
            [(member, value)] = raw.items()
        match member:
            case "task":
                return self.task(value)
            case "statusUpdate":
                return StatusUpdate(
                    task_id=value["taskId"],
                    context_id=value["contextId"],
                    state=self.state(value["status"]["state"]),
                    final=bool(value.get("final", False)),
                    shared=shared(value),
                )
            case "artifactUpdate":
                return ArtifactUpdate(
                    task_id=value["taskId"],
                    context_id=value["contextId"],
                    artifact=self.artifact(value["artifact"]),
                    append=bool(value.get("append", False)),
                    last=bool(value.get("lastChunk", False)),
                    block_type=shared(value["artifact"], value).get("stream", {}).get("block_type"),
                )
        raise WireError(f"not a stream event of line {self.version}: {raw}")


def shared(*holders: Json) -> Json:
    """`metadata.shared` of the first holder that has it."""
    for holder in holders:
        if found := holder.get("metadata", {}).get("shared"):
            return dict(found)
    return {}


@attrs.define
class Folded:
    """A stream's events, taken in order: the task as someone sees it who has only the stream."""

    state: str | None = None
    final: bool = False
    artifacts: dict[str, Artifact] = attrs.field(factory=dict)
    block_types: dict[str, set[str | None]] = attrs.field(factory=dict)
    task_ids: set[str] = attrs.field(factory=set)
    context_ids: set[str] = attrs.field(factory=set)
    session_ids: set[str] = attrs.field(factory=set)
    progress: list[Json] = attrs.field(factory=list)
    closed: set[str] = attrs.field(factory=set)
    after_end: int = 0

    @property
    def task_id(self) -> str:
        [task_id] = self.task_ids
        return task_id

    @property
    def said(self) -> str:
        """All texts so far, in no particular order of artifacts."""
        return "".join(text for artifact in self.artifacts.values() for text in artifact.texts)

    def take(self, event: Event) -> None:
        self.after_end += self.state in TERMINAL
        self.context_ids.add(event.context_id)
        match event:
            case Task():
                self.task_ids.add(event.id)
                self.state = event.state
                self.artifacts = {artifact.id: artifact for artifact in event.artifacts}
                self.note(event.shared)
            case StatusUpdate():
                self.task_ids.add(event.task_id)
                self.state, self.final = event.state, event.final
                self.note(event.shared)
            case ArtifactUpdate():
                self.task_ids.add(event.task_id)
                self.take_chunk(event)

    def take_chunk(self, event: ArtifactUpdate) -> None:
        chunk = event.artifact
        if chunk.id in self.closed:
            raise WireError(f"a chunk after the last one of artifact {chunk.id}")
        if event.last:
            self.closed.add(chunk.id)
        self.block_types.setdefault(chunk.id, set()).add(event.block_type)
        if event.append:
            if chunk.id not in self.artifacts:
                raise WireError(f"the first chunk of artifact {chunk.id} is one to append")
            held = self.artifacts[chunk.id]
            chunk = attrs.evolve(held, parts=held.parts + chunk.parts)
        self.artifacts[chunk.id] = chunk

    def note(self, metadata: Json) -> None:
        if "session" in metadata:
            self.session_ids.add(metadata["session"]["id"])
        if "progress" in metadata:
            self.progress.append(metadata["progress"])


def fold(events: Iterable[Event]) -> Folded:
    folded = Folded()
    for event in events:
        folded.take(event)
    return folded


@attrs.frozen(kw_only=True)
class Client:
    """Speaks one protocol version over one binding (`jsonrpc` or `rest`)."""

    http: httpx.Client
    version: str
    binding: str

    @property
    def reading(self) -> Reading:
        return Reading(version=self.version)

    def send(self, text: str, context_id: str | None = None) -> Task:
        answer = self.call("message/send", "SendMessage", "message:send", self.params(text, context_id))
        return self.reading.sent(answer)

    def stream(self, text: str, context_id: str | None = None) -> Iterator[Event]:
        """The events as they arrive; it ends when the server ends the stream."""
        params = self.params(text, context_id)
        if self.binding == "jsonrpc":
            path = "/"
            body = self.envelope("message/stream" if self.version == "0.3" else "SendStreamingMessage", params)
        else:
            path, body = self.path("message:stream"), params
        headers = {"accept": "text/event-stream"}
        deadline = Deadline.within(CALL_SECONDS)
        with self.http.stream("POST", path, json=body, headers=headers) as response:
            if response.status_code != 200:
                raise WireError(f"{response.status_code}: {response.read().decode()}")
            if not response.headers["content-type"].startswith("text/event-stream"):
                raise WireError(f"not a stream: {response.read().decode()}")
            for line in data_lines(response, deadline):
                frame = json.loads(line)
                yield self.reading.event(self.result(frame, body["id"]) if self.binding == "jsonrpc" else frame)

    def task(self, task_id: str) -> Task:
        if self.binding == "jsonrpc":
            return self.reading.task(self.call("tasks/get", "GetTask", "", {"id": task_id}))
        return self.reading.task(self.answer(self.http.get(self.path(f"tasks/{task_id}"))))

    def params(self, text: str, context_id: str | None) -> Json:
        tagged = self.version == "0.3"
        message: Json = {
            "messageId": str(uuid.uuid4()),
            "role": "user" if tagged else "ROLE_USER",
            "parts": [{"kind": "text", "text": text} if tagged else {"text": text}],
        }
        if tagged:
            message["kind"] = "message"
        if context_id is not None:
            message["contextId"] = context_id
        return {"message": message}

    def call(self, method_0_3: str, method_1_0: str, path: str, params: Json) -> Json:
        if self.binding == "rest":
            return self.answer(self.http.post(self.path(path), json=params))
        body = self.envelope(method_0_3 if self.version == "0.3" else method_1_0, params)
        return self.result(self.answer(self.http.post("/", json=body)), body["id"])

    def path(self, path: str) -> str:
        return f"/v1/{path}" if self.version == "0.3" else f"/{path}"

    def envelope(self, method: str, params: Json) -> Json:
        return {"jsonrpc": "2.0", "id": str(uuid.uuid4()), "method": method, "params": params}

    def answer(self, response: httpx.Response) -> Json:
        if response.status_code != 200:
            raise WireError(f"{response.status_code}: {response.text}")
        value = response.json()
        if not isinstance(value, dict):
            raise WireError(f"not an object: {value}")
        return value

    def result(self, frame: Json, request_id: str) -> Json:
        if frame.keys() != {"jsonrpc", "id", "result"} or frame["jsonrpc"] != "2.0" or frame["id"] != request_id:
            raise WireError(f"not the result of request {request_id}: {frame}")
        return dict(frame["result"])
