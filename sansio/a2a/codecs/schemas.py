"""The codecs as JSON Schema (2020-12): a table of objects per codec, and what each operation takes and answers.

For what is published. Reading and writing is for the codecs' own modules; tests hold the table against the published
schemas and against what is answered.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from attrs import frozen

from sansio.a2a.codecs import v0_3, v1_0
from sansio.a2a.codecs import v0_3_protojson as v0_3_gateway
from sansio.a2a.codecs.readers import LARGEST_PAGE
from sansio.a2a.model import JsonObject
from sansio.a2a.operations import Operation

Members = Mapping[str, str]
"""An object: its members with their types; a name that ends in `!` is required.

A type is `X[]`, `{X}` (a map of any names), `A|B`, `'word'`, a name of `_PLAIN`, or one of the same table.
"""

REFERENCES = "#/components/schemas/"

_PLAIN: Mapping[str, JsonObject] = {
    "string": {"type": "string"},
    "boolean": {"type": "boolean"},
    "integer": {"type": "integer"},
    "natural": {"type": "integer", "minimum": 0},
    "object": {"type": "object"},
    "page": {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE},
    "null": {"type": "null"},
    "any": {},
    "base64": {"type": "string", "contentEncoding": "base64"},
    "timestamp": {"type": "string", "format": "date-time"},
}


def _words(names: Iterable[str]) -> str:
    return "|".join(f"'{name}'" for name in names)


_FILE = {"name": "string", "mimeType": "string"}
_PAGE = {
    "contextId": "string",
    "pageSize": "page",
    "pageToken": "string",
    "historyLength": "natural",
    "includeArtifacts": "boolean",
    "statusTimestampAfter": "timestamp",
}
_LISTED = {"tasks!": "Task[]", "nextPageToken!": "string", "pageSize!": "integer", "totalSize!": "integer"}
_ARTIFACT = {
    "artifactId!": "string",
    "parts!": "Part[]",
    "name": "string",
    "description": "string",
    "metadata": "object",
    "extensions": "string[]",
}
_TASK = {
    "id!": "string",
    "contextId!": "string",
    "status!": "TaskStatus",
    "artifacts": "Artifact[]",
    "history": "Message[]",
    "metadata": "object",
}
_MESSAGE = {
    "messageId!": "string",
    "contextId": "string",
    "taskId": "string",
    "metadata": "object",
    "extensions": "string[]",
}
_STATUS_UPDATE = {"taskId!": "string", "contextId!": "string", "status!": "TaskStatus", "metadata": "object"}
_ARTIFACT_UPDATE = {
    "taskId!": "string",
    "contextId!": "string",
    "artifact!": "Artifact",
    "append": "boolean",
    "lastChunk": "boolean",
    "metadata": "object",
}
_STREAM_RESPONSE = {
    "task": "Task",
    "message": "Message",
    "statusUpdate": "TaskStatusUpdateEvent",
    "artifactUpdate": "TaskArtifactUpdateEvent",
}
_OLD_PUSH = {
    "PushNotificationConfig": {
        "url!": "string",
        "id": "string",
        "token": "string",
        "authentication": "PushNotificationAuthenticationInfo",
    },
    "PushNotificationAuthenticationInfo": {"schemes!": "string[]", "credentials": "string"},
}

_V0_3: Mapping[str, Members | str] = {
    "TaskState": _words(v0_3.STATES),
    "TaskStatus": {"state!": "TaskState", "message": "Message", "timestamp": "string"},
    "TextPart": {"kind!": "'text'", "text!": "string", "metadata": "object"},
    "FilePart": {"kind!": "'file'", "file!": "FileWithBytes|FileWithUri", "metadata": "object"},
    "FileWithBytes": {"bytes!": "base64", **_FILE},
    "FileWithUri": {"uri!": "string", **_FILE},
    "DataPart": {"kind!": "'data'", "data!": "object", "metadata": "object"},
    "Part": "TextPart|FilePart|DataPart",
    "Message": {
        "kind!": "'message'",
        "role!": _words(v0_3.ROLES),
        "parts!": "Part[]",
        **_MESSAGE,
        "referenceTaskIds": "string[]",
    },
    "Artifact": _ARTIFACT,
    "Task": {"kind!": "'task'", **_TASK},
    "TaskStatusUpdateEvent": {"kind!": "'status-update'", "final!": "boolean", **_STATUS_UPDATE},
    "TaskArtifactUpdateEvent": {"kind!": "'artifact-update'", **_ARTIFACT_UPDATE},
    "MessageSendParams": {
        "message!": "Message",
        "configuration": "MessageSendConfiguration",
        "metadata": "object",
    },
    "MessageSendConfiguration": {
        "acceptedOutputModes": "string[]",
        "blocking": "boolean",
        "historyLength": "natural",
        "pushNotificationConfig": "PushNotificationConfig",
    },
    "TaskIdParams": {"id!": "string", "metadata": "object"},
    "TaskQueryParams": {"id!": "string", "historyLength": "natural", "metadata": "object"},
    "ListTasksParams": {**_PAGE, "status": "TaskState"},
    "ListTasksResult": _LISTED,
    **_OLD_PUSH,
    "TaskPushNotificationConfig": {"taskId!": "string", "pushNotificationConfig!": "PushNotificationConfig"},
    "GetTaskPushNotificationConfigParams": {
        "id!": "string",
        "pushNotificationConfigId": "string",
        "metadata": "object",
    },
    "ListTaskPushNotificationConfigParams": {"id!": "string", "metadata": "object"},
    "DeleteTaskPushNotificationConfigParams": {
        "id!": "string",
        "pushNotificationConfigId!": "string",
        "metadata": "object",
    },
}

_GATEWAY: Mapping[str, Members | str] = {
    "TaskState": _words(v0_3_gateway.STATES.values()),
    "TaskStatus": {"state!": "TaskState", "message": "Message", "timestamp": "string"},
    "Part": {"text": "string", "file": "File", "data": "Data", "metadata": "object"},
    "File": {"fileWithBytes": "base64", "fileWithUri": "string", **_FILE},
    "Data": {"data!": "object"},
    "Message": {"role!": _words(v0_3_gateway.ROLES.values()), "content!": "Part[]", **_MESSAGE},
    "Artifact": _ARTIFACT,
    "Task": _TASK,
    "TaskStatusUpdateEvent": {"final!": "boolean", **_STATUS_UPDATE},
    "TaskArtifactUpdateEvent": _ARTIFACT_UPDATE,
    "SendMessageRequest": {
        "message!": "Message",
        "configuration": "SendMessageConfiguration",
        "metadata": "object",
    },
    "SendMessageConfiguration": {
        "acceptedOutputModes": "string[]",
        "blocking": "boolean",
        "historyLength": "natural",
        "pushNotification": "PushNotificationConfig",
    },
    "SendMessageResponse": {"task": "Task", "message": "Message"},
    "StreamResponse": _STREAM_RESPONSE,
    **_OLD_PUSH,
    "CreateTaskPushNotificationConfigRequest": {"configId": "string", "config!": "NewPushNotificationConfig"},
    "NewPushNotificationConfig": {"name": "string", "pushNotificationConfig!": "PushNotificationConfig"},
    "TaskPushNotificationConfig": {"name!": "string", "pushNotificationConfig!": "PushNotificationConfig"},
    "ListTaskPushNotificationConfigRequest": {"id!": "string", "pageSize": "natural", "pageToken": "string"},
    "ListTaskPushNotificationConfigResponse": {
        "configs!": "TaskPushNotificationConfig[]",
        "nextPageToken": "string",
    },
}

_TENANT = {"tenant": "string"}
_NEW_PUSH = {
    "url!": "string",
    "id": "string",
    "token": "string",
    "authentication": "AuthenticationInfo",
    **_TENANT,
}

_V1_0: Mapping[str, Members | str] = {
    "TaskState": _words(v1_0.STATES),
    "TaskStatus": {"state!": "TaskState", "message": "Message", "timestamp": "timestamp"},
    "Part": {
        "text": "string",
        "raw": "base64",
        "url": "string",
        "data": "any",
        "metadata": "object",
        "filename": "string",
        "mediaType": "string",
    },
    "Message": {
        "role!": _words(v1_0.ROLES),
        "parts!": "Part[]",
        **_MESSAGE,
        "referenceTaskIds": "string[]",
    },
    "Artifact": _ARTIFACT,
    "Task": _TASK,
    "TaskStatusUpdateEvent": _STATUS_UPDATE,
    "TaskArtifactUpdateEvent": _ARTIFACT_UPDATE,
    "SendMessageRequest": {
        "message!": "Message",
        "configuration": "SendMessageConfiguration",
        "metadata": "object",
        **_TENANT,
    },
    "SendMessageConfiguration": {
        "acceptedOutputModes": "string[]",
        "returnImmediately": "boolean",
        "historyLength": "natural",
        "taskPushNotificationConfig": "TaskPushNotificationConfig",
    },
    "SendMessageResponse": {"task": "Task", "message": "Message"},
    "StreamResponse": _STREAM_RESPONSE,
    "GetTaskRequest": {"id!": "string", "historyLength": "natural", **_TENANT},
    "ListTasksRequest": {**_PAGE, "status": "TaskState", **_TENANT},
    "ListTasksResponse": _LISTED,
    "CancelTaskRequest": {"id!": "string", "metadata": "object", **_TENANT},
    "SubscribeToTaskRequest": {"id!": "string", **_TENANT},
    "TaskPushNotificationConfig": {"taskId": "string", **_NEW_PUSH},
    "CreateTaskPushNotificationConfigRequest": {"taskId!": "string", **_NEW_PUSH},
    "AuthenticationInfo": {"scheme!": "string", "credentials": "string"},
    "GetTaskPushNotificationConfigRequest": {"taskId!": "string", "id!": "string", **_TENANT},
    "DeleteTaskPushNotificationConfigRequest": {"taskId!": "string", "id!": "string", **_TENANT},
    "ListTaskPushNotificationConfigsRequest": {
        "taskId!": "string",
        "pageSize": "natural",
        "pageToken": "string",
        **_TENANT,
    },
    "ListTaskPushNotificationConfigsResponse": {
        "configs!": "TaskPushNotificationConfig[]",
        "nextPageToken": "string",
    },
    "GetExtendedAgentCardRequest": _TENANT,
}

TABLES: Mapping[str, Mapping[str, Members | str]] = {
    v0_3.NAME: _V0_3,
    v0_3_gateway.NAME: _GATEWAY,
    v1_0.NAME: _V1_0,
}
"""The objects of each codec, by the codec's name."""


@frozen
class Spoken:
    """What an operation takes and answers in a codec; a stream answers with items of `result`."""

    params: str
    result: str


_ITEMS = "Task|Message|TaskStatusUpdateEvent|TaskArtifactUpdateEvent"
_CARD = "AgentCard"

SPOKEN: Mapping[Operation, Mapping[str, Spoken]] = {
    Operation.SEND: {
        v0_3.NAME: Spoken("MessageSendParams", "Task|Message"),
        v0_3_gateway.NAME: Spoken("SendMessageRequest", "SendMessageResponse"),
        v1_0.NAME: Spoken("SendMessageRequest", "SendMessageResponse"),
    },
    Operation.STREAM: {
        v0_3.NAME: Spoken("MessageSendParams", _ITEMS),
        v0_3_gateway.NAME: Spoken("SendMessageRequest", "StreamResponse"),
        v1_0.NAME: Spoken("SendMessageRequest", "StreamResponse"),
    },
    Operation.GET_TASK: {
        v0_3.NAME: Spoken("TaskQueryParams", "Task"),
        v0_3_gateway.NAME: Spoken("TaskQueryParams", "Task"),
        v1_0.NAME: Spoken("GetTaskRequest", "Task"),
    },
    Operation.LIST_TASKS: {
        v0_3.NAME: Spoken("ListTasksParams", "ListTasksResult"),
        v1_0.NAME: Spoken("ListTasksRequest", "ListTasksResponse"),
    },
    Operation.CANCEL: {
        v0_3.NAME: Spoken("TaskIdParams", "Task"),
        v0_3_gateway.NAME: Spoken("TaskIdParams", "Task"),
        v1_0.NAME: Spoken("CancelTaskRequest", "Task"),
    },
    Operation.SUBSCRIBE: {
        v0_3.NAME: Spoken("TaskIdParams", _ITEMS),
        v0_3_gateway.NAME: Spoken("TaskIdParams", "StreamResponse"),
        v1_0.NAME: Spoken("SubscribeToTaskRequest", "StreamResponse"),
    },
    Operation.SET_PUSH_CONFIG: {
        v0_3.NAME: Spoken("TaskPushNotificationConfig", "TaskPushNotificationConfig"),
        v0_3_gateway.NAME: Spoken("CreateTaskPushNotificationConfigRequest", "TaskPushNotificationConfig"),
        v1_0.NAME: Spoken("CreateTaskPushNotificationConfigRequest", "TaskPushNotificationConfig"),
    },
    Operation.GET_PUSH_CONFIG: {
        v0_3.NAME: Spoken("GetTaskPushNotificationConfigParams", "TaskPushNotificationConfig"),
        v0_3_gateway.NAME: Spoken("GetTaskPushNotificationConfigParams", "TaskPushNotificationConfig"),
        v1_0.NAME: Spoken("GetTaskPushNotificationConfigRequest", "TaskPushNotificationConfig"),
    },
    Operation.LIST_PUSH_CONFIGS: {
        v0_3.NAME: Spoken("ListTaskPushNotificationConfigParams", "TaskPushNotificationConfig[]"),
        v0_3_gateway.NAME: Spoken("ListTaskPushNotificationConfigRequest", "ListTaskPushNotificationConfigResponse"),
        v1_0.NAME: Spoken("ListTaskPushNotificationConfigsRequest", "ListTaskPushNotificationConfigsResponse"),
    },
    Operation.DELETE_PUSH_CONFIG: {
        v0_3.NAME: Spoken("DeleteTaskPushNotificationConfigParams", "null"),
        v0_3_gateway.NAME: Spoken("DeleteTaskPushNotificationConfigParams", "null"),
        v1_0.NAME: Spoken("DeleteTaskPushNotificationConfigRequest", "object"),
    },
    Operation.EXTENDED_CARD: {
        v0_3.NAME: Spoken("object", _CARD),
        v0_3_gateway.NAME: Spoken("object", _CARD),
        v1_0.NAME: Spoken("GetExtendedAgentCardRequest", _CARD),
    },
}


def component(codec: str, name: str) -> str:
    """Under which name an object of a codec stands among the components; the card is that of all codecs."""
    if name == _CARD:
        return _CARD
    holder = codec if name in TABLES[codec] else v0_3.NAME
    return f"v{holder}.{name}"


def schema_of(codec: str, type: str) -> JsonObject:
    """The schema of a type in a codec, with references to the components."""
    if type.endswith("[]"):
        return {"type": "array", "items": schema_of(codec, type.removesuffix("[]"))}
    if "|" in type:
        choices = type.split("|")
        if all(choice.startswith("'") for choice in choices):
            return {"type": "string", "enum": [choice.strip("'") for choice in choices]}
        return {"anyOf": [schema_of(codec, choice) for choice in choices]}
    if type.startswith("'"):
        return {"type": "string", "const": type.strip("'")}
    return dict(_PLAIN[type]) if type in _PLAIN else {"$ref": REFERENCES + component(codec, type)}


def object_schema(codec: str, name: str) -> JsonObject:
    """The schema of an object of a codec's table, which that of the version stands in for where it has none."""
    table = TABLES[codec] if name in TABLES[codec] else TABLES[v0_3.NAME]
    members = table[name]
    if isinstance(members, str):
        return schema_of(codec, members)
    schema: JsonObject = {
        "type": "object",
        "properties": {member.removesuffix("!"): schema_of(codec, members[member]) for member in members},
    }
    if required := [member.removesuffix("!") for member in members if member.endswith("!")]:
        schema["required"] = required
    return schema


def components(codecs: Collection[str]) -> Iterator[tuple[str, JsonObject]]:
    """All objects of these codecs, by their names among the components."""
    for codec, table in TABLES.items():
        if codec in codecs:
            for name in table:
                yield component(codec, name), object_schema(codec, name)
