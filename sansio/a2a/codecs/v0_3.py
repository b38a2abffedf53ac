"""The codec of protocol version 0.3 (JSON Schema of 0.3.0): parse and render the model.

Objects are tagged by `kind`, states and roles are lower-case, files are `{bytes|uri, mimeType, name}`.
Also accepted: the names of that version's ProtoJSON (`content` for `parts`, `ROLE_USER`, `context_id`), which
`v0_3_gateway` answers in. A message that is sent must tag its parts; those of an answer may be untagged. Unknown
fields are ignored; wrong ones are raised as one `ProtocolError`.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve

from sansio.a2a.codecs.fields import Fields, compact
from sansio.a2a.codecs.readers import Readers, document, request
from sansio.a2a.codecs.writers import Writers
from sansio.a2a.model import (
    DataPart,
    FilePart,
    JsonObject,
    ListPushConfigsRequest,
    Part,
    PushAuthentication,
    PushConfig,
    PushConfigId,
    PushConfigPage,
    Role,
    SendConfiguration,
    SendRequest,
    StreamItem,
    TaskState,
    TextPart,
)

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
_KINDS = ("text", "file", "data")


# --- parsing: values --------------------------------------------------------------------------------------


def _kind_of(fields: Fields) -> str | None:
    """The part's kind: as tagged, else as its only content member says."""
    if "kind" in fields.value:
        kind = fields.value["kind"]
        if kind in _KINDS:
            return str(kind)
        fields.wrong("kind", "enum", "must be one of " + ", ".join(_KINDS))
        return None
    given = [name for name in _KINDS if fields.value.get(name) is not None]
    if len(given) == 1:
        return given[0]
    fields.wrong("kind", "missing", "is required")
    return None


def _read_file(fields: Fields, metadata: JsonObject | None) -> FilePart:
    raw_name = fields.only_one("bytes", "fileWithBytes")
    url_name = fields.only_one("uri", "fileWithUri")
    raw = fields.base64(raw_name)
    url = fields.text(url_name, empty=False)
    given = [name for name in (raw_name, url_name) if fields.value.get(name) is not None]
    if len(given) != 1:
        fields.wrong(None, "file", "must hold exactly one of bytes, uri")
    return FilePart(
        raw=raw,
        url=url,
        metadata=metadata,
        media_type=fields.text("mimeType") or None,
        filename=fields.text("name") or None,
    )


def _read_data(fields: Fields, metadata: JsonObject | None) -> DataPart:
    data = fields.mapping("data")
    if data is None:
        if fields.value.get("data") is None:
            fields.wrong("data", "missing", "is required")
        return DataPart(data={})
    if "kind" not in fields.value and set(data) == {"data"} and isinstance(data["data"], dict):
        data = data["data"]
    return DataPart(data=data, metadata=metadata)


def _read_tagged_part(fields: Fields) -> Part:
    """A part as the schema has it: `kind` is required."""
    if "kind" not in fields.value:
        fields.wrong("kind", "missing", "is required")
        return TextPart(text="")
    return read_part(fields)


def read_part(fields: Fields) -> Part:
    """A part, tagged by `kind` or known by its content."""
    metadata = fields.mapping("metadata")
    kind = _kind_of(fields)
    if kind == "text":
        return TextPart(text=fields.text("text", required=True) or "", metadata=metadata)
    if kind == "file":
        part = fields.child("file", lambda inner: _read_file(inner, metadata), required=True)
        return part or TextPart(text="")
    if kind == "data":
        return _read_data(fields, metadata)
    return TextPart(text="")


# --- parsing: requests ------------------------------------------------------------------------------------


def _read_authentication(fields: Fields) -> PushAuthentication | None:
    """How a receiver is told who notifies it; without a scheme, not at all, and then there are no credentials."""
    schemes = fields.texts("schemes")
    credentials = fields.text("credentials") or None
    if not schemes and credentials is not None:
        fields.wrong("schemes", "missing", "must name the scheme of the credentials")
    return PushAuthentication(scheme=schemes[0], credentials=credentials) if schemes else None


def read_push_config(fields: Fields) -> PushConfig:
    """A push notification configuration."""
    return PushConfig(
        url=fields.required_text("url"),
        id=fields.text("id") or None,
        token=fields.text("token") or None,
        authentication=fields.child("authentication", _read_authentication),
    )


def read_configuration(fields: Fields, *, blocks: bool = True) -> SendConfiguration:
    """The configuration of a send. `blocks`: whether it does where the configuration does not say."""
    blocking = fields.flag("blocking")
    push_name = fields.only_one("pushNotificationConfig", "pushNotification")
    return SendConfiguration(
        accepted_output_modes=fields.texts("acceptedOutputModes"),
        history_length=fields.natural("historyLength"),
        blocking=blocks if blocking is None else blocking,
        push=fields.child(push_name, read_push_config),
    )


READERS = Readers(
    part=read_part,
    configuration=read_configuration,
    states=_STATES_READ,
    roles=_ROLES_READ,
    parts_names=("parts", "content"),
    status_message_names=("message", "update"),
)
read_message = READERS.message
read_artifact = READERS.artifact
read_status = READERS.status
read_task = READERS.task
read_status_update = READERS.status_update
read_artifact_update = READERS.artifact_update

parse_send = request(evolve(READERS, part=_read_tagged_part).send)
parse_get_task = request(READERS.get_task)
parse_list_tasks = request(READERS.list_tasks)
parse_task_id = request(READERS.task_id)
parse_task = document(READERS.task)

_NO_CONFIG = PushConfig(url="")


def _read_push_config_request(fields: Fields) -> PushConfig:
    config = fields.child("pushNotificationConfig", read_push_config, required=True) or _NO_CONFIG
    return evolve(config, task_id=fields.required_text("taskId"))


def _read_list_push_configs(fields: Fields) -> ListPushConfigsRequest:
    return ListPushConfigsRequest(task_id=fields.required_text("id"))


parse_push_config_request = request(_read_push_config_request)
parse_list_push_configs = request(_read_list_push_configs)


def parse_push_config_id(value: object, *, required: bool = False) -> PushConfigId:
    """The parameters of reading a push configuration, or of deleting one, for which its id is `required`."""

    def read(fields: Fields) -> PushConfigId:
        name = "pushNotificationConfigId"
        return PushConfigId(
            task_id=fields.required_text("id"),
            id=fields.text(name, required=required, empty=not required) or None,
        )

    return request(read)(value)


_READERS: dict[str, Callable[[Fields], StreamItem]] = {
    "task": read_task,
    "message": read_message,
    "status-update": read_status_update,
    "artifact-update": read_artifact_update,
}


def _read_item(fields: Fields) -> StreamItem | None:
    reader = fields.choice("kind", _READERS, required=True)
    return reader(fields) if reader else None


_parse_item = document(_read_item)


def parse_item(value: object) -> StreamItem:
    """A stream item or send result, told apart by `kind`; raises `ProtocolError`."""
    item = _parse_item(value)
    assert item is not None  # read_document has raised otherwise
    return item


# --- rendering --------------------------------------------------------------------------------------------


def render_part(part: Part) -> JsonObject:
    """A part. The line has no place for a text's media type or file name."""
    body: JsonObject
    if isinstance(part, TextPart):
        body = {"kind": "text", "text": part.text}
    elif isinstance(part, DataPart):
        data = part.data if isinstance(part.data, dict) else {"value": part.data}
        body = {"kind": "data", "data": data}
    else:
        file = compact(bytes=part.raw, uri=part.url, mimeType=part.media_type, name=part.filename)
        body = {"kind": "file", "file": file}
    if part.metadata is not None:
        body["metadata"] = part.metadata
    return body


_WRITE = Writers(
    part=render_part,
    states={state: state.value for state in TaskState},
    roles={role: role.value for role in Role},
    tagged=True,
    says_final=True,
)
render_message = _WRITE.message
render_artifact = _WRITE.artifact
render_status = _WRITE.status
render_task = _WRITE.task
render_task_page = _WRITE.task_page


def render_item(item: StreamItem) -> JsonObject:
    """A stream item, tagged by `kind`."""
    return _WRITE.item(item)[1]


render_send_result = render_item
"""A send answers with the task or message itself."""


def render_push_config(config: PushConfig) -> JsonObject:
    """A push notification configuration."""
    authentication = config.authentication
    return compact(
        id=config.id,
        url=config.url,
        token=config.token,
        authentication=compact(schemes=[authentication.scheme], credentials=authentication.credentials)
        if authentication
        else None,
    )


def render_push_config_result(config: PushConfig) -> JsonObject:
    """`TaskPushNotificationConfig`: the configuration, and of which task it is."""
    return {"taskId": config.task_id, "pushNotificationConfig": render_push_config(config)}


def render_push_configs(page: PushConfigPage) -> list[JsonObject]:
    """The configurations as a list; the line has no pages."""
    return [render_push_config_result(config) for config in page.configs]


def render_send(request: SendRequest) -> JsonObject:
    """`MessageSendParams`, for the client side."""
    configuration = request.configuration
    push = configuration.push
    return compact(
        message=render_message(request.message),
        configuration=compact(
            acceptedOutputModes=list(configuration.accepted_output_modes) or None,
            historyLength=configuration.history_length,
            blocking=configuration.blocking,
            pushNotificationConfig=render_push_config(push) if push else None,
        ),
        metadata=request.metadata,
    )
