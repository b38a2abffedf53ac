"""The other codec of version 0.3: ProtoJSON of its `a2a.proto`, which its HTTP+JSON clients speak.

Version 0.3's schema tags objects by `kind`, and JSON-RPC is that; the official clients' HTTP+JSON is this instead:
wrapped results, `content` for a message's parts, `ROLE_*`, `TASK_STATE_*` (with CANCELLED), data and files one
level deeper. Both names of a field are read, camelCase and snake_case (`protojson`).
"""

from __future__ import annotations

from attrs import evolve

from sansio.a2a.codecs import v0_3
from sansio.a2a.codecs.fields import Fields, compact
from sansio.a2a.codecs.readers import push_configs_page, request
from sansio.a2a.codecs.writers import Writers
from sansio.a2a.model import (
    DataPart,
    JsonObject,
    ListPushConfigsRequest,
    Part,
    PushConfig,
    PushConfigPage,
    Role,
    SendConfiguration,
    SendRequest,
    StreamItem,
    TaskState,
    TextPart,
)

VERSION = "0.3"
NAME = "0.3-gateway"

STATES = {state: f"TASK_STATE_{state.name}" for state in TaskState} | {
    TaskState.CANCELED: "TASK_STATE_CANCELLED",
    TaskState.UNKNOWN: "TASK_STATE_UNSPECIFIED",
}
ROLES = {role: f"ROLE_{role.name}" for role in Role}

_MARKS = frozenset({"content", "message_id", "context_id", "task_id"})


def is_spoken(body: object) -> bool:
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


def _read_configuration(fields: Fields) -> SendConfiguration:
    """ProtoJSON leaves out what is false: a configuration that says nothing of `blocking` does not want it."""
    return v0_3.read_configuration(fields, blocks=False)


_parse_send = request(
    evolve(v0_3.READERS, request_names=("message", "request"), configuration=_read_configuration).send
)


def parse_send(value: object) -> SendRequest:
    """`SendMessageRequest`; raises `ProtocolError` naming every wrong field."""
    return evolve(_parse_send(value), codec_name=NAME)


parse_get_task = v0_3.parse_get_task
parse_list_tasks = v0_3.parse_list_tasks
parse_task_id = v0_3.parse_task_id
parse_push_config_id = v0_3.parse_push_config_id
parse_task = v0_3.parse_task

_CONFIGS = "/pushNotificationConfigs/"
_NO_CONFIG = PushConfig(url="")


def _read_named_config(fields: Fields) -> PushConfig:
    """`TaskPushNotificationConfig`; a configuration without an id has the one in its resource's name."""
    config = fields.child("pushNotificationConfig", v0_3.read_push_config, required=True) or _NO_CONFIG
    _, _, named = (fields.text("name") or "").partition(_CONFIGS)
    return evolve(config, id=config.id or named or None)


def _read_push_config_request(fields: Fields) -> PushConfig:
    """`CreateTaskPushNotificationConfigRequest`, or as some clients send it, the configuration alone.

    The task is the path's, which stands here as `taskId`; a `configId` goes before the configuration's own.
    """
    task_id = fields.required_text("taskId")
    config_id = fields.text("configId")
    if "config" in fields.value:
        config = fields.child("config", _read_named_config, required=True) or _NO_CONFIG
    else:
        config = _read_named_config(fields)
    return evolve(config, task_id=task_id, id=config_id or config.id)


def _read_list_push_configs(fields: Fields) -> ListPushConfigsRequest:
    return push_configs_page(fields, "id")


parse_push_config_request = request(_read_push_config_request)
parse_list_push_configs = request(_read_list_push_configs)


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


def render_part(part: Part) -> JsonObject:
    """A part, named by its member."""
    body: JsonObject
    if isinstance(part, TextPart):
        body = {"text": part.text}
    elif isinstance(part, DataPart):
        data = part.data if isinstance(part.data, dict) else {"value": part.data}
        body = {"data": {"data": data}}
    else:
        file = compact(fileWithBytes=part.raw, fileWithUri=part.url, mimeType=part.media_type, name=part.filename)
        body = {"file": file}
    if part.metadata is not None:
        body["metadata"] = part.metadata
    return body


_WRITE = Writers(
    part=render_part,
    states=STATES,
    roles=ROLES,
    tagged=False,
    parts_name="content",
    says_final=True,
    references=False,
)
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
    return compact(
        message=_WRITE.message(request.message),
        configuration=compact(
            acceptedOutputModes=list(configuration.accepted_output_modes) or None,
            historyLength=configuration.history_length,
            blocking=configuration.blocking,
            pushNotification=v0_3.render_push_config(configuration.push) if configuration.push else None,
        ),
        metadata=request.metadata,
    )


def render_push_config_result(config: PushConfig) -> JsonObject:
    """`TaskPushNotificationConfig`: the configuration under its resource's name."""
    return {
        "name": f"tasks/{config.task_id}{_CONFIGS}{config.id}",
        "pushNotificationConfig": v0_3.render_push_config(config),
    }


def render_push_configs(page: PushConfigPage) -> JsonObject:
    """`ListTaskPushNotificationConfigResponse`."""
    return compact(
        configs=[render_push_config_result(config) for config in page.configs],
        nextPageToken=page.next_page_token or None,
    )
