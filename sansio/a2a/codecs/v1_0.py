"""The codec of protocol version 1.0 (ProtoJSON of `a2a.proto`): parse and render the model.

Parts are named by their member, enum values by their proto names, stream items and send results by a wrapper.
Unknown fields are ignored; wrong ones are collected and raised as one `ProtocolError`.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve

from sansio.a2a.codecs.fields import Fields, compact
from sansio.a2a.codecs.readers import Readers, document, push_configs_page, request
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

VERSION = "1.0"
NAME = "1.0"

STATES: dict[str, TaskState] = {
    f"TASK_STATE_{state.name}": state for state in TaskState if state is not TaskState.UNKNOWN
}
STATES["TASK_STATE_UNSPECIFIED"] = TaskState.UNKNOWN
ROLES = {f"ROLE_{role.name}": role for role in Role}
_STATE_NAMES = {state: name for name, state in STATES.items()}
_ROLE_NAMES = {role: name for name, role in ROLES.items()}
_CONTENT = ("text", "raw", "url", "data")


# --- parsing: values --------------------------------------------------------------------------------------


def read_part(fields: Fields) -> Part:
    """A part: exactly one of `text`, `raw`, `url`, `data`."""
    given = [name for name in _CONTENT if fields.value.get(name) is not None]
    if not given and "data" in fields.value:
        given = ["data"]
    metadata = fields.mapping("metadata")
    filename = fields.text("filename")
    media_type = fields.text("mediaType")
    if len(given) != 1:
        fields.wrong(None, "part", "must hold exactly one of text, raw, url, data")
        return TextPart(text="")
    if given[0] == "text":
        text = fields.text("text") or ""
        return TextPart(text=text, metadata=metadata, media_type=media_type, filename=filename)
    if given[0] == "data":
        data = fields.value["data"]
        return DataPart(data=data, metadata=metadata, media_type=media_type, filename=filename)
    raw = fields.base64("raw")
    url = fields.text("url", empty=False)
    return FilePart(raw=raw, url=url, metadata=metadata, media_type=media_type, filename=filename)


# --- parsing: requests ------------------------------------------------------------------------------------


def _read_authentication(fields: Fields) -> PushAuthentication:
    return PushAuthentication(scheme=fields.required_text("scheme"), credentials=fields.text("credentials") or None)


def read_push_config(fields: Fields) -> PushConfig:
    """A push notification configuration."""
    return PushConfig(
        url=fields.required_text("url"),
        id=fields.text("id") or None,
        task_id=fields.text("taskId") or None,
        token=fields.text("token") or None,
        authentication=fields.child("authentication", _read_authentication),
    )


def _read_configuration(fields: Fields) -> SendConfiguration:
    return SendConfiguration(
        accepted_output_modes=fields.texts("acceptedOutputModes"),
        history_length=fields.natural("historyLength"),
        blocking=not fields.flag("returnImmediately"),
        push=fields.child("taskPushNotificationConfig", read_push_config),
    )


_READ = Readers(part=read_part, configuration=_read_configuration, states=STATES, roles=ROLES, tenants=True)
read_message = _READ.message
read_artifact = _READ.artifact
read_status = _READ.status
read_task = _READ.task
read_status_update = _READ.status_update
read_artifact_update = _READ.artifact_update

parse_send = request(_READ.send)
parse_get_task = request(_READ.get_task)
parse_list_tasks = request(_READ.list_tasks)
parse_task_id = request(_READ.task_id)
parse_task = document(_READ.task)


def _read_push_config_request(fields: Fields) -> PushConfig:
    return evolve(read_push_config(fields), task_id=fields.required_text("taskId"))


def _read_push_config_id(fields: Fields) -> PushConfigId:
    return PushConfigId(
        task_id=fields.required_text("taskId"), id=fields.required_text("id"), tenant=_READ.tenant(fields)
    )


def _read_list_push_configs(fields: Fields) -> ListPushConfigsRequest:
    return evolve(push_configs_page(fields, "taskId"), tenant=_READ.tenant(fields))


parse_push_config_request = request(_read_push_config_request)
parse_list_push_configs = request(_read_list_push_configs)
_parse_push_config_id = request(_read_push_config_id)


def parse_push_config_id(value: object, *, required: bool = True) -> PushConfigId:
    """The parameters of reading or deleting a push configuration, which this line always names."""
    return _parse_push_config_id(value)


_WRAPPED: dict[str, Callable[[Fields], StreamItem]] = {
    "task": read_task,
    "message": read_message,
    "statusUpdate": read_status_update,
    "artifactUpdate": read_artifact_update,
}


def _read_item(fields: Fields) -> StreamItem | None:
    given = [name for name in _WRAPPED if fields.value.get(name) is not None]
    if len(given) != 1:
        fields.wrong(None, "union", "must hold exactly one of " + ", ".join(_WRAPPED))
        return None
    return fields.child(given[0], _WRAPPED[given[0]])


_parse_item = document(_read_item)


def parse_item(value: object) -> StreamItem:
    """`StreamResponse` or `SendMessageResponse`: exactly one wrapped value; raises `ProtocolError`."""
    item = _parse_item(value)
    assert item is not None  # read_document has raised otherwise
    return item


# --- rendering --------------------------------------------------------------------------------------------


def render_part(part: Part) -> JsonObject:
    """A part."""
    body: JsonObject
    if isinstance(part, TextPart):
        body = {"text": part.text}
    elif isinstance(part, DataPart):
        body = {"data": part.data}
    elif part.raw is not None:
        body = {"raw": part.raw}
    else:
        body = {"url": part.url}
    if part.metadata is not None:
        body["metadata"] = part.metadata
    if part.filename is not None:
        body["filename"] = part.filename
    if part.media_type is not None:
        body["mediaType"] = part.media_type
    return body


_WRITE = Writers(part=render_part, states=_STATE_NAMES, roles=_ROLE_NAMES, tagged=False)
render_message = _WRITE.message
render_artifact = _WRITE.artifact
render_status = _WRITE.status
render_task = _WRITE.task
render_task_page = _WRITE.task_page


def render_item(item: StreamItem) -> JsonObject:
    """`StreamResponse`: one value in its wrapper."""
    name, body = _WRITE.item(item)
    return {name: body}


render_send_result = render_item
"""A send answers with the same wrapper (`SendMessageResponse`)."""


def render_send(request: SendRequest) -> JsonObject:
    """`SendMessageRequest`, for the client side."""
    configuration = request.configuration
    push = configuration.push
    return compact(
        tenant=request.tenant,
        message=render_message(request.message),
        configuration=compact(
            acceptedOutputModes=list(configuration.accepted_output_modes) or None,
            historyLength=configuration.history_length,
            returnImmediately=True if not configuration.blocking else None,
            taskPushNotificationConfig=render_push_config(push) if push else None,
        )
        or None,
        metadata=request.metadata,
    )


def render_push_config(config: PushConfig) -> JsonObject:
    """A push notification configuration."""
    authentication = config.authentication
    return compact(
        id=config.id,
        taskId=config.task_id,
        url=config.url,
        token=config.token,
        authentication=compact(scheme=authentication.scheme, credentials=authentication.credentials)
        if authentication
        else None,
    )


render_push_config_result = render_push_config
"""Set and read answer with the configuration itself, which says of which task it is."""


def render_push_configs(page: PushConfigPage) -> JsonObject:
    """`ListTaskPushNotificationConfigsResponse`."""
    return {"configs": [render_push_config(config) for config in page.configs], "nextPageToken": page.next_page_token}
