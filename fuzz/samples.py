"""Good documents to start from: one of every kind, complete, so that mutation reaches every field."""

from __future__ import annotations

from types import ModuleType

import orjson

from sansio.a2a.bindings.sse import COMMENT, encode
from sansio.a2a.model import (
    Artifact,
    ArtifactUpdate,
    DataPart,
    FilePart,
    JsonObject,
    Message,
    PushAuthentication,
    PushConfig,
    Role,
    SendConfiguration,
    SendRequest,
    StatusUpdate,
    StreamItem,
    Task,
    TaskState,
    TaskStatus,
    TextPart,
)
from sansio.a2a.tasks.task_log import (
    ArtifactChunk,
    MessageAdded,
    MetadataChanged,
    Snapshot,
    StatusChanged,
)
from sansio.a2a.tasks.task_log_codec import encode_events

MESSAGE = Message(
    message_id="m1",
    role=Role.USER,
    parts=(
        TextPart(text="hello", metadata={"a": 1}),
        FilePart(raw="aGVsbG8=", media_type="text/plain", filename="a.txt"),
        FilePart(url="https://example.org/a", media_type="image/png"),
        DataPart(data={"a": [1, None]}),
    ),
    context_id="c1",
    task_id="t1",
    metadata={"shared": {"session": {"id": "s1"}}},
    extensions=("urn:example",),
    reference_task_ids=("t0",),
)
ARTIFACT = Artifact(
    artifact_id="a1",
    parts=(TextPart(text="said"), DataPart(data={"call_id": "1"})),
    name="response",
    description="d",
    metadata={"shared": {"stream": {"sequence": 1}}},
    extensions=("urn:example",),
)
STATUS = TaskStatus(state=TaskState.WORKING, message=MESSAGE, timestamp="2026-01-02T03:04:05Z")
DONE = TaskStatus(state=TaskState.COMPLETED)
TASK = Task(
    id="t1", context_id="c1", status=STATUS, artifacts=(ARTIFACT,), history=(MESSAGE,), metadata={"a": {"b": 1}}
)
ITEMS: tuple[StreamItem, ...] = (
    TASK,
    MESSAGE,
    StatusUpdate(task_id="t1", context_id="c1", status=STATUS, metadata={"a": 1}),
    ArtifactUpdate(task_id="t1", context_id="c1", artifact=ARTIFACT, append=True, last_chunk=True),
)
PUSH = PushConfig(
    url="https://example.org/push",
    id="p1",
    token="token",
    authentication=PushAuthentication(scheme="Bearer", credentials="secret"),
)
REQUEST = SendRequest(
    message=MESSAGE,
    configuration=SendConfiguration(
        accepted_output_modes=("text/plain",),
        history_length=3,
        blocking=False,
        push=PUSH,
    ),
    metadata={"a": 1},
)


PARAMETERS: tuple[JsonObject, ...] = (
    {
        "contextId": "c1",
        "status": "TASK_STATE_WORKING",
        "statusTimestampAfter": "2026-01-02T03:04:05.678Z",
        "pageSize": "10",
        "pageToken": "p",
        "historyLength": 1,
        "includeArtifacts": "true",
    },
    {"id": "t1", "metadata": {"a": 1}, "pushNotificationConfigId": "p1"},
    {"taskId": "t1", "id": "p1", "pageSize": 2, "pageToken": "p"},
)
"""Of the operations that only our clients' side of the wire writes."""


def documents_of(codec: ModuleType) -> tuple[bytes, ...]:
    """Documents of every kind in a version's codec."""
    values = [codec.render_item(item) for item in ITEMS]
    values += [codec.render_task(TASK), codec.render_send(REQUEST), {"id": "t1", "historyLength": 2}, *PARAMETERS]
    values.append({"taskId": "t1", **codec.render_push_config_result(PUSH)})
    return tuple(orjson.dumps(value) for value in values)


ENVELOPES = (
    b'{"jsonrpc":"2.0","id":1,"method":"message/send","params":{"message":{}}}',
    b'{"jsonrpc":"2.0","id":"a","method":"GetTask","params":{"id":"t1"}}',
    b'{"jsonrpc":"2.0","id":null,"method":"SendMessage"}',
    b'{"jsonrpc":"2.0","method":"tasks/get","params":[1]}',
    b'[{"jsonrpc":"2.0","id":1.5,"method":"GetTask"}]',
)
PATHS = (
    b"POST /message:send",
    b"POST /v1/message:stream",
    b"GET /tasks/t-1",
    b"GET /v1/tasks/t-1",
    b"GET /acme/tasks/t-1",
    b"POST /acme/message:send",
    b"GET /v1/tasks",
    b"POST /v1/tasks/t-1:cancel",
    b"GET /acme/tasks/t-1:subscribe",
    b"POST /tasks/t-1/pushNotificationConfigs",
    b"DELETE /v1/tasks/t-1/pushNotificationConfigs/c-1",
    b"GET /agent/authenticatedExtendedCard",
)
STREAMS = (
    encode(b'{"a":1}', id="1") + COMMENT + encode(b"a\nb", id="2", event="done", retry=1500),
    b"\xef\xbb\xbf: hi\r\nid: 4\r\ndata: a\r\ndata\r\n\r\nevent: x\rdata:b\r\r",
    b"retry: 10\n\ndata:\n\nid\ndata: c\n\n",
)
JOURNALS = (
    encode_events(
        [
            StatusChanged(status=TaskStatus(state=TaskState.SUBMITTED)),
            MessageAdded(MESSAGE),
            StatusChanged(status=STATUS, metadata={"a": 1}),
            ArtifactChunk(artifact=ARTIFACT, leads=True),
            ArtifactChunk(
                artifact=Artifact(artifact_id="a1", parts=(TextPart(text=" more"),)),
                append=True,
                joins=True,
                last_chunk=True,
            ),
            MetadataChanged({"a": {"c": 2}}),
            StatusChanged(status=DONE),
        ]
    ),
    encode_events([Snapshot(TASK), ArtifactChunk(artifact=ARTIFACT, append=True), StatusChanged(status=DONE)]),
)
