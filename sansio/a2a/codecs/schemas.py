"""The codecs as JSON Schema (2020-12): the types of each codec, and what each operation takes and answers.

Made from the descriptions that the codecs read and write by.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from attrs import frozen

from sansio.a2a.codecs import v0_3, v1_0
from sansio.a2a.codecs import v0_3_protojson as v0_3_gateway
from sansio.a2a.codecs.wire_types import Named
from sansio.a2a.model import JsonObject
from sansio.a2a.operations import Operation

REFERENCES = "#/components/schemas/"

TABLES: Mapping[str, Mapping[str, Named]] = {
    codec.NAME: {one.name: one for one in codec.TYPES} for codec in (v0_3, v0_3_gateway, v1_0)
}
"""The types of each codec by their names, by the codec's name."""


@frozen
class OperationTypes:
    """Types of an operation's parameters and result in a codec; a stream answers with items of `result`.

    The name of a type, `null`, `object`, `X[]` for a list, or several joined by `|`.
    """

    params: str
    result: str


_ITEMS = "Task|Message|TaskStatusUpdateEvent|TaskArtifactUpdateEvent"
_CARD = "AgentCard"

OPERATION_TYPES: Mapping[Operation, Mapping[str, OperationTypes]] = {
    Operation.SEND: {
        v0_3.NAME: OperationTypes("MessageSendParams", "Task|Message"),
        v0_3_gateway.NAME: OperationTypes("SendMessageRequest", "SendMessageResponse"),
        v1_0.NAME: OperationTypes("SendMessageRequest", "SendMessageResponse"),
    },
    Operation.STREAM: {
        v0_3.NAME: OperationTypes("MessageSendParams", _ITEMS),
        v0_3_gateway.NAME: OperationTypes("SendMessageRequest", "StreamResponse"),
        v1_0.NAME: OperationTypes("SendMessageRequest", "StreamResponse"),
    },
    Operation.GET_TASK: {
        v0_3.NAME: OperationTypes("TaskQueryParams", "Task"),
        v0_3_gateway.NAME: OperationTypes("TaskQueryParams", "Task"),
        v1_0.NAME: OperationTypes("GetTaskRequest", "Task"),
    },
    Operation.LIST_TASKS: {
        v0_3.NAME: OperationTypes("ListTasksParams", "ListTasksResult"),
        v1_0.NAME: OperationTypes("ListTasksRequest", "ListTasksResponse"),
    },
    Operation.CANCEL: {
        v0_3.NAME: OperationTypes("TaskIdParams", "Task"),
        v0_3_gateway.NAME: OperationTypes("TaskIdParams", "Task"),
        v1_0.NAME: OperationTypes("CancelTaskRequest", "Task"),
    },
    Operation.SUBSCRIBE: {
        v0_3.NAME: OperationTypes("TaskIdParams", _ITEMS),
        v0_3_gateway.NAME: OperationTypes("TaskIdParams", "StreamResponse"),
        v1_0.NAME: OperationTypes("SubscribeToTaskRequest", "StreamResponse"),
    },
    Operation.SET_PUSH_CONFIG: {
        v0_3.NAME: OperationTypes("TaskPushNotificationConfig", "TaskPushNotificationConfig"),
        v0_3_gateway.NAME: OperationTypes("CreateTaskPushNotificationConfigRequest", "TaskPushNotificationConfig"),
        v1_0.NAME: OperationTypes("CreateTaskPushNotificationConfigRequest", "TaskPushNotificationConfig"),
    },
    Operation.GET_PUSH_CONFIG: {
        v0_3.NAME: OperationTypes("GetTaskPushNotificationConfigParams", "TaskPushNotificationConfig"),
        v0_3_gateway.NAME: OperationTypes("GetTaskPushNotificationConfigParams", "TaskPushNotificationConfig"),
        v1_0.NAME: OperationTypes("GetTaskPushNotificationConfigRequest", "TaskPushNotificationConfig"),
    },
    Operation.LIST_PUSH_CONFIGS: {
        v0_3.NAME: OperationTypes("ListTaskPushNotificationConfigParams", "TaskPushNotificationConfig[]"),
        v0_3_gateway.NAME: OperationTypes(
            "ListTaskPushNotificationConfigRequest", "ListTaskPushNotificationConfigResponse"
        ),
        v1_0.NAME: OperationTypes(
            "ListTaskPushNotificationConfigsRequest", "ListTaskPushNotificationConfigsResponse"
        ),
    },
    Operation.DELETE_PUSH_CONFIG: {
        v0_3.NAME: OperationTypes("DeleteTaskPushNotificationConfigParams", "null"),
        v0_3_gateway.NAME: OperationTypes("DeleteTaskPushNotificationConfigParams", "null"),
        v1_0.NAME: OperationTypes("DeleteTaskPushNotificationConfigRequest", "object"),
    },
    Operation.EXTENDED_CARD: {
        v0_3.NAME: OperationTypes("object", _CARD),
        v0_3_gateway.NAME: OperationTypes("object", _CARD),
        v1_0.NAME: OperationTypes("GetExtendedAgentCardRequest", _CARD),
    },
}


def component(codec: str, name: str) -> str:
    """Under which name an object of a codec stands among the components; the card is that of all codecs."""
    if name == _CARD:
        return _CARD
    holder = codec if name in TABLES[codec] else v0_3.NAME
    return f"v{holder}.{name}"


def schema_of(codec: str, type: str) -> JsonObject:
    """The schema of what an operation takes or answers in a codec, with references to the components."""
    if type.endswith("[]"):
        return {"type": "array", "items": schema_of(codec, type.removesuffix("[]"))}
    if "|" in type:
        return {"anyOf": [schema_of(codec, choice) for choice in type.split("|")]}
    return {"type": type} if type in ("null", "object") else {"$ref": REFERENCES + component(codec, type)}


def object_schema(codec: str, name: str) -> JsonObject:
    """The schema of a type of a codec. Where the codec has none of that name, it is version 0.3's."""
    table = TABLES[codec] if name in TABLES[codec] else TABLES[v0_3.NAME]
    return table[name].definition(lambda name: schema_of(codec, name))


def components(codecs: Collection[str]) -> Iterator[tuple[str, JsonObject]]:
    """All types of these codecs, by their names among the components."""
    for codec, table in TABLES.items():
        if codec in codecs:
            for name in table:
                yield component(codec, name), object_schema(codec, name)
