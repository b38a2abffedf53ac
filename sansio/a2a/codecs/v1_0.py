"""The codec of protocol version 1.0 (ProtoJSON of `a2a.proto`): its wire types, their parsers and renderers.

Parts are named by their member, enum values by their proto names, stream items and send results by a wrapper.
Unknown fields are ignored; wrong ones are collected and raised as one `ProtocolError`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sansio.a2a.codecs.fields import Fields
from sansio.a2a.codecs.shared_types import METADATA, Traits, list_request, shared_types, task_page
from sansio.a2a.codecs.wire_types import (
    ANY,
    BASE64,
    NATURAL,
    NONEMPTY,
    SIZE,
    STAMP,
    TEXT,
    TEXTS,
    VERBATIM,
    Many,
    Member,
    Named,
    Object,
    Parser,
    Plain,
    Reader,
    Renderer,
    document,
    request,
    required,
    wire_object,
)
from sansio.a2a.model import (
    Artifact,
    ArtifactUpdate,
    DataPart,
    FilePart,
    GetTaskRequest,
    ListPushConfigsRequest,
    ListTasksRequest,
    Message,
    Part,
    PushAuthentication,
    PushConfig,
    PushConfigId,
    PushConfigPage,
    Role,
    SendConfiguration,
    SendRequest,
    StatusUpdate,
    StreamItem,
    Task,
    TaskIdRequest,
    TaskPage,
    TaskState,
    TaskStatus,
    TextPart,
)
from sansio.a2a.operations import Operation

VERSION = "1.0"
NAME = "1.0"

STATES: dict[str, TaskState] = {
    f"TASK_STATE_{state.name}": state for state in TaskState if state is not TaskState.UNKNOWN
}
STATES["TASK_STATE_UNSPECIFIED"] = TaskState.UNKNOWN
ROLES = {f"ROLE_{role.name}": role for role in Role}

# --- values -----------------------------------------------------------------------------------------------

_CONTENT = ("text", "raw", "url", "data")


def _one_content(fields: Fields, found: dict[str, Any]) -> None:
    value = fields.value
    given = [name for name in _CONTENT if name in value and value[name] is not None]
    if len(given) != 1 and (given or "data" not in value):
        fields.wrong(None, "part", "must hold exactly one of " + ", ".join(_CONTENT))


def _make_part(**found: Any) -> Part:
    if "text" in found:
        return TextPart(**found)
    if "raw" in found or "url" in found:
        return FilePart(**found)
    return DataPart(**{"data": None, **found})  # data may be null


PART: Object[Part] = wire_object(
    "Part",
    _make_part,
    Member("text", VERBATIM, "text", of=TextPart),
    Member("raw", BASE64, "raw", of=FilePart),
    Member("url", NONEMPTY, "url", of=FilePart),
    Member("data", ANY, "data", of=DataPart, null=True),
    METADATA,
    Member("filename", VERBATIM, "filename"),
    Member("mediaType", VERBATIM, "media_type"),
    first=("metadata", "filename", "media_type"),
    check=_one_content,
)
_SHARED = shared_types(
    Traits(
        part=PART,
        states={state: name for name, state in STATES.items()},
        states_read=STATES,
        roles={role: name for name, role in ROLES.items()},
        roles_read=ROLES,
        timestamp=STAMP,
    )
)
_SEND_RESULT, _ITEM = _SHARED.wrappers()

# --- requests ---------------------------------------------------------------------------------------------

_TENANT = Member("tenant", TEXT, "tenant")
_NO_TENANT = Member("tenant", TEXT)
"""A tenant that the model has no place for."""

_AUTHENTICATION = wire_object(
    "AuthenticationInfo",
    PushAuthentication,
    required("scheme", TEXT, "scheme"),
    Member("credentials", TEXT, "credentials"),
)
_PUSH_MEMBERS = (
    required("url", TEXT, "url"),
    Member("id", TEXT, "id"),
    Member("token", TEXT, "token"),
    Member("authentication", _AUTHENTICATION, "authentication"),
    _NO_TENANT,
)
_PUSH_ORDER = ("url", "id", "task_id")
_PUSH_CONFIG = wire_object(
    "TaskPushNotificationConfig", PushConfig, Member("taskId", TEXT, "task_id"), *_PUSH_MEMBERS, first=_PUSH_ORDER
)
_CREATE_PUSH_CONFIG = wire_object(
    "CreateTaskPushNotificationConfigRequest",
    PushConfig,
    required("taskId", TEXT, "task_id"),
    *_PUSH_MEMBERS,
    first=_PUSH_ORDER,
)
_RETURNS = Plain(
    lambda fields, name, _: not fields.flag(name), {"type": "boolean"}, lambda blocking: None if blocking else True
)
_CONFIGURATION = wire_object(
    "SendMessageConfiguration",
    SendConfiguration,
    Member("acceptedOutputModes", TEXTS, "accepted_output_modes"),
    Member("returnImmediately", _RETURNS, "blocking"),
    Member("historyLength", NATURAL, "history_length"),
    Member("taskPushNotificationConfig", _PUSH_CONFIG, "push"),
    first=("accepted_output_modes", "history_length"),
)
_SEND = wire_object(
    "SendMessageRequest",
    SendRequest,
    required("message", _SHARED.message, "message"),
    Member("configuration", _CONFIGURATION, "configuration", default=SendConfiguration()),
    METADATA,
    _TENANT,
)
_GET_TASK = wire_object(
    "GetTaskRequest",
    GetTaskRequest,
    required("id", TEXT, "id"),
    Member("historyLength", NATURAL, "history_length"),
    _TENANT,
)
_LIST_TASKS = list_request("ListTasksRequest", _SHARED.state, _TENANT)
_TASK_PAGE = task_page("ListTasksResponse", _SHARED.task)
_CANCEL = wire_object("CancelTaskRequest", TaskIdRequest, required("id", TEXT, "id"), METADATA, _TENANT)
_SUBSCRIBE = wire_object("SubscribeToTaskRequest", TaskIdRequest, required("id", TEXT, "id"), _TENANT)
_CONFIG_ID = (required("taskId", TEXT, "task_id"), required("id", TEXT, "id"), _TENANT)
_GET_PUSH_CONFIG = wire_object("GetTaskPushNotificationConfigRequest", PushConfigId, *_CONFIG_ID)
_DELETE_PUSH_CONFIG = wire_object("DeleteTaskPushNotificationConfigRequest", PushConfigId, *_CONFIG_ID)
_LIST_PUSH_CONFIGS = wire_object(
    "ListTaskPushNotificationConfigsRequest",
    ListPushConfigsRequest,
    required("taskId", TEXT, "task_id"),
    Member("pageSize", SIZE, "page_size"),
    Member("pageToken", TEXT, "page_token"),
    _TENANT,
)
_PUSH_CONFIGS: Object[PushConfigPage] = wire_object(
    "ListTaskPushNotificationConfigsResponse",
    None,
    required("configs", Many(_PUSH_CONFIG), "configs"),
    Member("nextPageToken", VERBATIM, "next_page_token"),
)
_EXTENDED_CARD: Object[object] = wire_object("GetExtendedAgentCardRequest", None, _NO_TENANT)

TYPES: tuple[Named, ...] = (
    *_SHARED.published(PART),
    _SEND,
    _CONFIGURATION,
    _SEND_RESULT,
    _ITEM,
    _GET_TASK,
    _LIST_TASKS,
    _TASK_PAGE,
    _CANCEL,
    _SUBSCRIBE,
    _PUSH_CONFIG,
    _CREATE_PUSH_CONFIG,
    _AUTHENTICATION,
    _GET_PUSH_CONFIG,
    _DELETE_PUSH_CONFIG,
    _LIST_PUSH_CONFIGS,
    _PUSH_CONFIGS,
    _EXTENDED_CARD,
)
"""The types of this version, as they are published."""

# --- parsing and rendering --------------------------------------------------------------------------------

read_message: Reader[Message] = _SHARED.message.read
read_artifact: Reader[Artifact] = _SHARED.artifact.read
read_status: Reader[TaskStatus] = _SHARED.status.read
read_task: Reader[Task] = _SHARED.task.read
read_status_update: Reader[StatusUpdate] = _SHARED.status_update.read
read_artifact_update: Reader[ArtifactUpdate] = _SHARED.artifact_update.read
read_push_config: Reader[PushConfig] = _PUSH_CONFIG.read

parse_send: Parser[SendRequest] = request(_SEND.read)
parse_get_task: Parser[GetTaskRequest] = request(_GET_TASK.read)
parse_list_tasks: Parser[ListTasksRequest] = request(_LIST_TASKS.read)
parse_task_id: Parser[TaskIdRequest] = request(_CANCEL.read)
parse_push_config_request: Parser[PushConfig] = request(_CREATE_PUSH_CONFIG.read)
parse_list_push_configs: Parser[ListPushConfigsRequest] = request(_LIST_PUSH_CONFIGS.read)
parse_task: Parser[Task] = document(_SHARED.task.read)
parse_push_config_result: Parser[PushConfig] = document(_PUSH_CONFIG.read)
parse_item: Parser[StreamItem] = document(_ITEM.read)
_parse_push_config_id = request(_GET_PUSH_CONFIG.read)


def parse_push_config_id(value: object, *, required: bool = True) -> PushConfigId:
    """Parse the parameters of reading or deleting a push configuration, which this version always names."""
    return _parse_push_config_id(value)


render_part: Renderer[Part] = PART.write
render_message: Renderer[Message] = _SHARED.message.write
render_artifact: Renderer[Artifact] = _SHARED.artifact.write
render_status: Renderer[TaskStatus] = _SHARED.status.write
render_task: Renderer[Task] = _SHARED.task.write
render_task_page: Renderer[TaskPage] = _TASK_PAGE.write
render_item: Renderer[StreamItem] = _ITEM.write
render_send_result = render_item
"""A send answers with the same wrapper (`SendMessageResponse`)."""

render_send: Renderer[SendRequest] = _SEND.write
render_push_config: Renderer[PushConfig] = _PUSH_CONFIG.write
render_push_config_result = render_push_config
"""Set and read answer with the configuration itself, which says of which task it is."""

render_push_configs: Renderer[PushConfigPage] = _PUSH_CONFIGS.write

REQUESTS: Mapping[Operation, Object[Any]] = {
    Operation.SEND: _SEND,
    Operation.STREAM: _SEND,
    Operation.GET_TASK: _GET_TASK,
    Operation.LIST_TASKS: _LIST_TASKS,
    Operation.CANCEL: _CANCEL,
    Operation.SUBSCRIBE: _SUBSCRIBE,
    Operation.SET_PUSH_CONFIG: _CREATE_PUSH_CONFIG,
    Operation.GET_PUSH_CONFIG: _GET_PUSH_CONFIG,
    Operation.LIST_PUSH_CONFIGS: _LIST_PUSH_CONFIGS,
    Operation.DELETE_PUSH_CONFIG: _DELETE_PUSH_CONFIG,
    Operation.EXTENDED_CARD: _EXTENDED_CARD,
}
"""The parameters of each operation, as a client writes them."""
