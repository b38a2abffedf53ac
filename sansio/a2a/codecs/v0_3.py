"""The codec of protocol version 0.3 (JSON Schema of 0.3.0): its wire types, their parsers and renderers.

Objects are tagged by `kind`, states and roles are lower-case, files are `{bytes|uri, mimeType, name}`.
Also accepted: the names of that version's ProtoJSON (`content` for `parts`, `ROLE_USER`, `context_id`), which
`v0_3_protojson` answers in. A message that is sent must tag its parts; those of an answer may be untagged. Unknown
fields are ignored; wrong ones are raised as one `ProtocolError`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import evolve

from sansio.a2a.codecs.fields import Fields
from sansio.a2a.codecs.shared_types import METADATA, Traits, list_request, shared_types, task_page
from sansio.a2a.codecs.wire_types import (
    BASE64,
    FLAG,
    NATURAL,
    NONEMPTY,
    TEXT,
    TEXT_LIST,
    TEXTS,
    VERBATIM,
    Member,
    Named,
    Nested,
    Object,
    Parser,
    Plain,
    Reader,
    Renderer,
    Tag,
    Union,
    document,
    request,
    required,
    wire_object,
)
from sansio.a2a.model import (
    ArtifactUpdate,
    DataPart,
    FilePart,
    GetTaskRequest,
    JsonObject,
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
    TextPart,
)
from sansio.a2a.operations import Operation

VERSION = "0.3"
NAME = "0.3"

STATES = {state.value: state for state in TaskState}
ROLES = {role.value: role for role in Role}
_STATES_READ = STATES | {f"TASK_STATE_{state.name}": state for state in TaskState}
_STATES_READ |= {  # as 0.3's `a2a.proto` spells them
    "TASK_STATE_CANCELLED": TaskState.CANCELED,
    "TASK_STATE_UNSPECIFIED": TaskState.UNKNOWN,
}
_ROLES_READ = ROLES | {f"ROLE_{role.name}": role for role in Role}

# --- parts ------------------------------------------------------------------------------------------------


def _read_data(fields: Fields, name: str, _: bool) -> JsonObject | None:
    """Read data, which ProtoJSON has one level deeper."""
    data = fields.mapping(name)
    if data is None:
        if fields.value.get(name) is None:
            fields.wrong(name, "missing", "is required")
    elif "kind" not in fields.value and set(data) == {"data"} and isinstance(data["data"], dict):
        data = data["data"]
    return data


def _write_data(data: Any) -> JsonObject:
    return data if isinstance(data, dict) else {"value": data}


DATA = Plain(_read_data, {"type": "object"}, _write_data)


_SOURCES = (("bytes", "fileWithBytes"), ("uri", "fileWithUri"))


def _one_source(fields: Fields, found: dict[str, Any]) -> None:
    given = [next((name for name in names if name in fields.value), names[0]) for names in _SOURCES]
    if len([name for name in given if fields.value.get(name) is not None]) != 1:
        fields.wrong(None, "file", "must hold exactly one of bytes, uri")


FILE_MEMBERS = (Member("name", TEXT, "filename"), Member("mimeType", TEXT, "media_type"))
_BYTES = Member("bytes", BASE64, "raw", names=_SOURCES[0])
_URI = Member("uri", NONEMPTY, "url", names=_SOURCES[1])
_FILE = wire_object(
    "File", FilePart, _BYTES, _URI, *FILE_MEMBERS, first=("raw", "url", "media_type"), check=_one_source
)
_FILE_WITH_BYTES: Object[FilePart] = wire_object("FileWithBytes", None, evolve(_BYTES, required=True), *FILE_MEMBERS)
_FILE_WITH_URI: Object[FilePart] = wire_object("FileWithUri", None, evolve(_URI, required=True), *FILE_MEMBERS)

_TEXT_PART = wire_object(
    "TextPart",
    TextPart,
    required("kind", Tag("text")),
    required("text", VERBATIM, "text"),
    METADATA,
    first=("metadata",),
)
_FILE_PART = wire_object(
    "FilePart",
    FilePart,
    required("kind", Tag("file")),
    required("file", Nested(_FILE, (_FILE_WITH_BYTES.name, _FILE_WITH_URI.name))),
    METADATA,
    first=("metadata",),
)
_DATA_PART = wire_object(
    "DataPart",
    DataPart,
    required("kind", Tag("data")),
    required("data", DATA, "data", null=True),
    METADATA,
    first=("metadata",),
)
_PARTS: dict[str, Object[Any]] = {"text": _TEXT_PART, "file": _FILE_PART, "data": _DATA_PART}


def _tagged_part(fields: Fields) -> Object[Any] | None:
    """Choose by `kind`, as the schema has it."""
    kind = fields.value.get("kind")
    if isinstance(kind, str) and kind in _PARTS:
        return _PARTS[kind]
    fields.mapping("metadata")
    if "kind" in fields.value:
        fields.wrong("kind", "enum", "must be one of " + ", ".join(_PARTS))
    else:
        fields.wrong("kind", "missing", "is required")
    return None


def _any_part(fields: Fields) -> Object[Any] | None:
    """Choose by `kind`, or where there is none, by the only content member."""
    given = [name for name in _PARTS if fields.value.get(name) is not None]
    return _PARTS[given[0]] if "kind" not in fields.value and len(given) == 1 else _tagged_part(fields)


PART: Union[Part] = Union(
    name="Part",
    choices={TextPart: _TEXT_PART, FilePart: _FILE_PART, DataPart: _DATA_PART},
    choose=_any_part,
)

# --- other values -----------------------------------------------------------------------------------------

TRAITS = Traits(
    part=PART,
    states={state: name for name, state in STATES.items()},
    states_read=_STATES_READ,
    roles={role: name for name, role in ROLES.items()},
    roles_read=_ROLES_READ,
    tagged=True,
    says_final=True,
    parts_names=("parts", "content"),
    status_message_names=("message", "update"),
    timestamp=TEXT,
)
_SHARED = shared_types(TRAITS)
_SENT_MESSAGE = shared_types(evolve(TRAITS, part=evolve(PART, choose=_tagged_part))).message

_ITEMS: dict[str, Object[Any]] = {
    "task": _SHARED.task,
    "message": _SHARED.message,
    "status-update": _SHARED.status_update,
    "artifact-update": _SHARED.artifact_update,
}
_ITEM: Union[StreamItem] = Union(
    name="StreamItem",
    choices=dict(zip((Task, Message, StatusUpdate, ArtifactUpdate), _ITEMS.values(), strict=True)),
    choose=lambda fields: fields.choice("kind", _ITEMS, required=True),
)

# --- requests ---------------------------------------------------------------------------------------------

_SCHEMES = Plain(lambda fields, name, _: next(iter(fields.texts(name)), None), TEXT_LIST, lambda scheme: [scheme])
"""A list of schemes, of which the model has the first."""


def _scheme_of_credentials(fields: Fields, found: dict[str, Any]) -> None:
    if "credentials" in found and "scheme" not in found:
        fields.wrong("schemes", "missing", "must name the scheme of the credentials")


def _make_authentication(scheme: str | None = None, credentials: str | None = None) -> PushAuthentication | None:
    """Make the authentication; None where no scheme is given."""
    return None if scheme is None else PushAuthentication(scheme=scheme, credentials=credentials)


AUTHENTICATION = wire_object(
    "PushNotificationAuthenticationInfo",
    _make_authentication,
    required("schemes", _SCHEMES, "scheme"),
    Member("credentials", TEXT, "credentials"),
    check=_scheme_of_credentials,
)
PUSH_CONFIG = wire_object(
    "PushNotificationConfig",
    PushConfig,
    required("url", TEXT, "url"),
    Member("id", TEXT, "id"),
    Member("token", TEXT, "token"),
    Member("authentication", AUTHENTICATION, "authentication"),
)
PUSH_NAMES = ("pushNotificationConfig", "pushNotification")


def configuration(name: str, push_name: str, *, blocks: bool) -> Object[SendConfiguration]:
    """Make the configuration of a send. `blocks`: whether a send does where the configuration does not say."""
    return wire_object(
        name,
        SendConfiguration,
        Member("acceptedOutputModes", TEXTS, "accepted_output_modes"),
        Member("blocking", FLAG, "blocking", default=blocks),
        Member("historyLength", NATURAL, "history_length"),
        Member(push_name, PUSH_CONFIG, "push", names=PUSH_NAMES),
        first=("blocking",),
    )


_CONFIGURATION = configuration("MessageSendConfiguration", PUSH_NAMES[0], blocks=True)
_SEND = wire_object(
    "MessageSendParams",
    SendRequest,
    required("message", _SENT_MESSAGE, "message"),
    Member("configuration", _CONFIGURATION, "configuration", default=SendConfiguration()),
    METADATA,
)
_NO_METADATA = Member("metadata", METADATA.kind)
"""Metadata that the model has no place for."""

_TASK_ID = wire_object("TaskIdParams", TaskIdRequest, required("id", TEXT, "id"), METADATA)
_GET_TASK = wire_object(
    "TaskQueryParams",
    GetTaskRequest,
    required("id", TEXT, "id"),
    Member("historyLength", NATURAL, "history_length"),
    _NO_METADATA,
)
_LIST_TASKS = list_request("ListTasksParams", _SHARED.state)
_TASK_PAGE = task_page("ListTasksResult", _SHARED.task)
_TASK_PUSH_CONFIG = wire_object(
    "TaskPushNotificationConfig",
    PushConfig,
    required("taskId", TEXT, "task_id"),
    required("pushNotificationConfig", Nested(PUSH_CONFIG)),
)
_CONFIG_ID = Member("pushNotificationConfigId", TEXT, "id")
_GET_PUSH_CONFIG = wire_object(
    "GetTaskPushNotificationConfigParams", PushConfigId, required("id", TEXT, "task_id"), _CONFIG_ID, _NO_METADATA
)
_LIST_PUSH_CONFIGS = wire_object(
    "ListTaskPushNotificationConfigParams", ListPushConfigsRequest, required("id", TEXT, "task_id"), _NO_METADATA
)
_DELETE_PUSH_CONFIG = wire_object(
    "DeleteTaskPushNotificationConfigParams",
    PushConfigId,
    required("id", TEXT, "task_id"),
    evolve(_CONFIG_ID, required=True),
    _NO_METADATA,
)

TYPES: tuple[Named, ...] = (
    *_SHARED.published(_TEXT_PART, _FILE_PART, _FILE_WITH_BYTES, _FILE_WITH_URI, _DATA_PART, PART),
    _SEND,
    _CONFIGURATION,
    _TASK_ID,
    _GET_TASK,
    _LIST_TASKS,
    _TASK_PAGE,
    PUSH_CONFIG,
    AUTHENTICATION,
    _TASK_PUSH_CONFIG,
    _GET_PUSH_CONFIG,
    _LIST_PUSH_CONFIGS,
    _DELETE_PUSH_CONFIG,
)
"""The types of this version, as they are published."""

# --- parsing and rendering --------------------------------------------------------------------------------

read_status_update: Reader[StatusUpdate] = _SHARED.status_update.read
read_artifact_update: Reader[ArtifactUpdate] = _SHARED.artifact_update.read
read_push_config: Reader[PushConfig] = PUSH_CONFIG.read

parse_send: Parser[SendRequest] = request(_SEND.read)
parse_get_task: Parser[GetTaskRequest] = request(_GET_TASK.read)
parse_list_tasks: Parser[ListTasksRequest] = request(_LIST_TASKS.read)
parse_task_id: Parser[TaskIdRequest] = request(_TASK_ID.read)
parse_push_config_request: Parser[PushConfig] = request(_TASK_PUSH_CONFIG.read)
parse_list_push_configs: Parser[ListPushConfigsRequest] = request(_LIST_PUSH_CONFIGS.read)
parse_task: Parser[Task] = document(_SHARED.task.read)
parse_push_config_result: Parser[PushConfig] = document(_TASK_PUSH_CONFIG.read)
parse_item: Parser[StreamItem] = document(_ITEM.read)
_parse_push_config_to_get = request(_GET_PUSH_CONFIG.read)
_parse_push_config_to_delete = request(_DELETE_PUSH_CONFIG.read)


def parse_push_config_id(value: object, *, required: bool = False) -> PushConfigId:
    """Parse the parameters of reading a push configuration, or of deleting one, for which its id is `required`."""
    return _parse_push_config_to_delete(value) if required else _parse_push_config_to_get(value)


render_part: Renderer[Part] = PART.write
render_task: Renderer[Task] = _SHARED.task.write
render_task_page: Renderer[TaskPage] = _TASK_PAGE.write
render_item: Renderer[StreamItem] = _ITEM.write
render_send_result = render_item
"""A send answers with the task or message itself."""

render_send: Renderer[SendRequest] = _SEND.write
render_push_config: Renderer[PushConfig] = PUSH_CONFIG.write
render_push_config_result: Renderer[PushConfig] = _TASK_PUSH_CONFIG.write
"""`TaskPushNotificationConfig`: the configuration, and of which task it is."""


def render_push_configs(page: PushConfigPage) -> list[JsonObject]:
    """Render the configurations as a list; the version has no pages."""
    return [render_push_config_result(config) for config in page.configs]


_NO_PARAMS: Object[object] = wire_object("NoParams", None)
REQUESTS: Mapping[Operation, Object[Any]] = {
    Operation.SEND: _SEND,
    Operation.STREAM: _SEND,
    Operation.GET_TASK: _GET_TASK,
    Operation.LIST_TASKS: _LIST_TASKS,
    Operation.CANCEL: _TASK_ID,
    Operation.SUBSCRIBE: _TASK_ID,
    Operation.SET_PUSH_CONFIG: _TASK_PUSH_CONFIG,
    Operation.GET_PUSH_CONFIG: _GET_PUSH_CONFIG,
    Operation.LIST_PUSH_CONFIGS: _LIST_PUSH_CONFIGS,
    Operation.DELETE_PUSH_CONFIG: _DELETE_PUSH_CONFIG,
    Operation.EXTENDED_CARD: _NO_PARAMS,
}
"""The parameters of each operation, as a client writes them."""
