"""The other codec of version 0.3: ProtoJSON of its `a2a.proto`, which its HTTP+JSON clients speak.

Version 0.3's schema tags objects by `kind`, and JSON-RPC is that; the official clients' HTTP+JSON is this instead:
wrapped results, `content` for a message's parts, `ROLE_*`, `TASK_STATE_*` (with CANCELLED), data and files one
level deeper. Both names of a field are read, camelCase and snake_case (`protojson`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from attrs import evolve, frozen

from sansio.a2a.codecs import v0_3
from sansio.a2a.codecs.fields import Fields
from sansio.a2a.codecs.shared_types import METADATA, shared_types, task_page
from sansio.a2a.codecs.wire_types import (
    BASE64,
    SIZE,
    TEXT,
    VERBATIM,
    Made,
    Many,
    Member,
    Named,
    Nested,
    Object,
    Parser,
    Plain,
    Renderer,
    document,
    request,
    required,
    wire_object,
)
from sansio.a2a.model import (
    DataPart,
    FilePart,
    GetTaskRequest,
    ListPushConfigsRequest,
    ListTasksRequest,
    Part,
    PushConfig,
    PushConfigId,
    PushConfigPage,
    Role,
    SendConfiguration,
    SendRequest,
    StreamItem,
    Task,
    TaskIdRequest,
    TaskPage,
    TaskState,
    TextPart,
)
from sansio.a2a.operations import Operation

VERSION = "0.3"
NAME = "0.3-gateway"

_NAMES = {state: f"TASK_STATE_{state.name}" for state in TaskState} | {
    TaskState.CANCELED: "TASK_STATE_CANCELLED",
    TaskState.UNKNOWN: "TASK_STATE_UNSPECIFIED",
}
STATES = {name: state for state, name in _NAMES.items()}
ROLES = {role: f"ROLE_{role.name}" for role in Role}

_MARKS = frozenset({"content", "message_id", "context_id", "task_id"})


def recognizes(body: object) -> bool:
    """Whether the body of a send is in this codec, by what only it has."""
    if not isinstance(body, dict):
        return False
    if "request" in body:
        return True
    message = body.get("message")
    if not isinstance(message, dict):
        return False
    role = message.get("role")
    return (
        not _MARKS.isdisjoint(message)
        or isinstance(role, int)
        or (isinstance(role, str) and role.startswith("ROLE_") and "kind" not in message)
        or _is_untagged(message.get("parts"))
    )


def _is_untagged(parts: object) -> bool:
    """Whether the first of a message's parts has no `kind`, which the schema's codec always has."""
    first = parts[0] if isinstance(parts, list) and parts else None
    return isinstance(first, dict) and "kind" not in first


# --- values -----------------------------------------------------------------------------------------------


_FILE: Object[FilePart] = wire_object(
    "File", None, Member("fileWithBytes", BASE64, "raw"), Member("fileWithUri", TEXT, "url"), *v0_3.FILE_MEMBERS
)
_DATA: Object[DataPart] = wire_object("Data", None, required("data", v0_3.DATA, "data", null=True))


@frozen(kw_only=True, eq=False)
class _Part(Object[Part]):
    """A part named by its member. It is read as the other codec's, which takes these too."""

    def read(self, fields: Fields) -> Part:
        return v0_3.PART.read(fields)


_PART = _Part(
    name="Part",
    members=(
        Member("text", VERBATIM, "text", of=TextPart),
        Member("file", Nested(_FILE), of=FilePart),
        Member("data", Nested(_DATA), of=DataPart),
        METADATA,
    ),
)
_SHARED = shared_types(
    evolve(
        v0_3.TRAITS,
        part=_PART,
        states=_NAMES,
        roles=ROLES,
        tagged=False,
        parts_name="content",
        references=False,
    )
)
_SEND_RESULT, _ITEM = _SHARED.wrappers()

# --- requests ---------------------------------------------------------------------------------------------

_CONFIGURATION = v0_3.configuration("SendMessageConfiguration", "pushNotification", blocks=False)
"""ProtoJSON leaves out what is false: a configuration that says nothing of `blocking` does not want it."""

_SEND = wire_object(
    "SendMessageRequest",
    partial(SendRequest, codec_name=NAME),
    required("message", _SHARED.message, "message", names=("message", "request")),
    Member("configuration", _CONFIGURATION, "configuration", default=SendConfiguration()),
    METADATA,
)
_CONFIGS = "/pushNotificationConfigs/"


def _id_in_name(fields: Fields, found: dict[str, Any]) -> None:
    """Give a configuration without an id the one in its resource's name."""
    _, _, named = found.pop("name", "").partition(_CONFIGS)
    found["id"] = found.get("id") or named or None


_NAMED_CONFIG = required("pushNotificationConfig", Nested(v0_3.PUSH_CONFIG))
_NEW_PUSH_CONFIG = wire_object(
    "NewPushNotificationConfig", PushConfig, Member("name", TEXT, "name"), _NAMED_CONFIG, check=_id_in_name
)


@frozen
class _NewConfig(Nested):
    """The member of a new configuration, or as some clients send it, the configuration in the request's place."""

    def take(self, fields: Fields, name: str, required: bool) -> dict[str, Any] | None:
        return super().take(fields, name, required) if name in fields.value else self.of.values(fields)


def _id_in_request(fields: Fields, found: dict[str, Any]) -> None:
    """Put the request's own `configId` before the configuration's id."""
    found["id"] = found.pop("config_id", None) or found.get("id")


_CREATE_PUSH_CONFIG = wire_object(
    "CreateTaskPushNotificationConfigRequest",
    PushConfig,
    required("taskId", TEXT, "task_id", hidden=True),  # the path's
    Member("configId", TEXT, "config_id"),
    required("config", _NewConfig(_NEW_PUSH_CONFIG)),
    check=_id_in_request,
)
_RESOURCE_NAME = Made(lambda config: f"tasks/{config.task_id}{_CONFIGS}{config.id}", {"type": "string"})
_TASK_PUSH_CONFIG: Object[PushConfig] = wire_object(
    "TaskPushNotificationConfig", None, required("name", _RESOURCE_NAME), _NAMED_CONFIG
)
_PARENT = Made(lambda config: f"tasks/{config.task_id}", {"type": "string"})
_SENT_PUSH_CONFIG: Object[PushConfig] = wire_object(
    "SentPushNotificationConfig",
    None,
    required("taskId", TEXT, "task_id"),  # the path's
    required("parent", _PARENT),
    Member("configId", TEXT, "id"),
    required("config", Nested(_TASK_PUSH_CONFIG)),
)
_LIST_PUSH_CONFIGS = wire_object(
    "ListTaskPushNotificationConfigRequest",
    ListPushConfigsRequest,
    required("id", TEXT, "task_id"),
    Member("pageSize", SIZE, "page_size"),
    Member("pageToken", TEXT, "page_token"),
)
_PAGE_TOKEN = Plain(VERBATIM.take, VERBATIM.published, lambda token: token or None)
_PUSH_CONFIGS: Object[PushConfigPage] = wire_object(
    "ListTaskPushNotificationConfigResponse",
    None,
    required("configs", Many(_TASK_PUSH_CONFIG), "configs"),
    Member("nextPageToken", _PAGE_TOKEN, "next_page_token"),
)

TYPES: tuple[Named, ...] = (
    *_SHARED.published(_PART, _FILE, _DATA),
    _SEND,
    _CONFIGURATION,
    _SEND_RESULT,
    _ITEM,
    v0_3.PUSH_CONFIG,
    v0_3.AUTHENTICATION,
    _CREATE_PUSH_CONFIG,
    _NEW_PUSH_CONFIG,
    _TASK_PUSH_CONFIG,
    _LIST_PUSH_CONFIGS,
    _PUSH_CONFIGS,
)
"""The types of this codec, as they are published. Those that it lacks are the other codec's."""

# --- parsing and rendering --------------------------------------------------------------------------------

parse_send: Parser[SendRequest] = request(_SEND.read)
parse_get_task: Parser[GetTaskRequest] = v0_3.parse_get_task
parse_list_tasks: Parser[ListTasksRequest] = v0_3.parse_list_tasks
parse_task_id: Parser[TaskIdRequest] = v0_3.parse_task_id
parse_push_config_request: Parser[PushConfig] = request(_CREATE_PUSH_CONFIG.read)
parse_list_push_configs: Parser[ListPushConfigsRequest] = request(_LIST_PUSH_CONFIGS.read)
parse_task: Parser[Task] = v0_3.parse_task
parse_push_config_result: Parser[PushConfig] = document(_NEW_PUSH_CONFIG.read)


def parse_push_config_id(value: object, *, required: bool = False) -> PushConfigId:
    """Parse the parameters of reading a push configuration, or of deleting one, for which its id is `required`."""
    return v0_3.parse_push_config_id(value, required=required)


_KINDS = {
    "task": "task",
    "message": "message",
    "msg": "message",
    "statusUpdate": "status-update",
    "artifactUpdate": "artifact-update",
}


def parse_item(value: object) -> StreamItem:
    """One value in its wrapper, or as some servers send it, tagged by `kind`; raises `ProtocolError`."""
    if isinstance(value, dict) and "kind" not in value and "id" not in value:
        given = [name for name in _KINDS if isinstance(value.get(name), dict)]
        if len(given) == 1:
            value = {**value[given[0]], "kind": _KINDS[given[0]]}
    return v0_3.parse_item(value)


render_task: Renderer[Task] = _SHARED.task.write
render_task_page: Renderer[TaskPage] = task_page("ListTasksResult", _SHARED.task).write
render_item: Renderer[StreamItem] = _ITEM.write
render_send_result = render_item
"""A send answers with the same wrapper (`SendMessageResponse`)."""

render_send: Renderer[SendRequest] = _SEND.write
render_push_config_result: Renderer[PushConfig] = _TASK_PUSH_CONFIG.write
"""`TaskPushNotificationConfig`: the configuration under its resource's name."""

render_push_configs: Renderer[PushConfigPage] = _PUSH_CONFIGS.write

REQUESTS: Mapping[Operation, Object[Any]] = {
    **v0_3.REQUESTS,
    Operation.SEND: _SEND,
    Operation.STREAM: _SEND,
    Operation.SET_PUSH_CONFIG: _SENT_PUSH_CONFIG,
}
"""The parameters of each operation, as a client writes them."""
