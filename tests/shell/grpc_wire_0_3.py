"""Version 0.3 as its JSON schema has it, and as its messages do: parameters one way, answers the other.

It is a reading of its own of the two documents; nothing of the server's codecs is in it.
"""

from __future__ import annotations

from typing import Any

from sansio.a2a.operations import Operation

_NO_FIELD = ("kind", "parts", "referenceTaskIds")  # of a message
_IDS = {"name": ("id", "pushNotificationConfigId"), "parent": ("id",)}
_SPELLED = {"CANCELLED": "canceled", "UNSPECIFIED": "unknown"}  # states that are named in another way
_KINDS = {"statusUpdate": "status-update", "artifactUpdate": "artifact-update"}

# --- parameters -------------------------------------------------------------------------------------------


def request_of(operation: Operation, params: dict[str, Any]) -> dict[str, Any]:
    """The members of a request's message."""
    if operation in (Operation.SEND, Operation.STREAM):
        configuration = {"blocking": True, **params.get("configuration", {})}  # which the schema has as its default
        if "pushNotificationConfig" in configuration:
            configuration["pushNotification"] = configuration.pop("pushNotificationConfig")
        return {**params, "configuration": configuration, "message": _sent(params["message"])}
    if operation is Operation.SET_PUSH_CONFIG:
        config = params["pushNotificationConfig"]
        parent = f"tasks/{params['taskId']}"
        return {"parent": parent, "configId": config.get("id", ""), "config": {"pushNotificationConfig": config}}
    name = "parent" if operation is Operation.LIST_PUSH_CONFIGS else "name"
    rest = {member: value for member, value in params.items() if member not in _IDS[name]}
    ids = [params[member] for member in _IDS[name] if member in params]
    return {name: "/".join(map("/".join, zip(("tasks", "pushNotificationConfigs"), ids, strict=False))), **rest}


def _sent(message: dict[str, Any]) -> dict[str, Any]:
    found = {name: value for name, value in message.items() if name not in _NO_FIELD}
    content = [_sent_part(part) for part in message.get("parts", ())]
    return {**found, "role": f"ROLE_{message['role'].upper()}", "content": content}


def _sent_part(part: dict[str, Any]) -> dict[str, Any]:
    kind = part["kind"]
    if kind == "text":
        return {"text": part["text"]}
    if kind == "data":
        return {"data": {"data": part["data"]}}
    names = {"bytes": "fileWithBytes", "uri": "fileWithUri"}
    return {"file": {names.get(name, name): value for name, value in part["file"].items()}}


# --- answers ----------------------------------------------------------------------------------------------


def answer_of(operation: Operation, value: dict[str, Any]) -> Any:
    """The result as the schema has it, of the members of an answer's message."""
    if operation in (Operation.GET_TASK, Operation.CANCEL):
        return _task(value)
    if operation is Operation.DELETE_PUSH_CONFIG:
        assert value == {}
        return None
    if operation not in (Operation.SEND, Operation.STREAM, Operation.SUBSCRIBE):
        return value
    [(name, item)] = value.items()
    if name == "task":
        return _task(item)
    if name == "msg":
        return _message(item)
    found = {"kind": _KINDS[name], **item}
    if name == "statusUpdate":
        return {"final": False, **found, "status": _status(item["status"])}
    return {**found, "artifact": _artifact(item["artifact"])}


def _task(value: dict[str, Any]) -> dict[str, Any]:
    found = {"kind": "task", **value, "status": _status(value["status"])}
    for name, read in (("history", _message), ("artifacts", _artifact)):
        if name in value:
            found[name] = [read(one) for one in value[name]]
    return found


def _status(value: dict[str, Any]) -> dict[str, Any]:
    name = value.get("state", "TASK_STATE_UNSPECIFIED").removeprefix("TASK_STATE_")
    found = {**value, "state": _SPELLED.get(name) or name.lower().replace("_", "-")}
    return found | ({"message": _message(value["message"])} if "message" in value else {})


def _artifact(value: dict[str, Any]) -> dict[str, Any]:
    return {**value, "parts": [_part(part) for part in value.get("parts", ())]}


def _message(value: dict[str, Any]) -> dict[str, Any]:
    found = {name: member for name, member in value.items() if name != "content"}
    role = value["role"].removeprefix("ROLE_").lower()
    return {"kind": "message", **found, "role": role, "parts": [_part(part) for part in value.get("content", ())]}


def _part(value: dict[str, Any]) -> dict[str, Any]:
    [(kind, member)] = value.items()
    if kind == "text":
        return {"kind": kind, "text": member}
    if kind == "data":
        return {"kind": kind, "data": member.get("data", {})}
    names = {"fileWithBytes": "bytes", "fileWithUri": "uri"}
    return {"kind": kind, "file": {names.get(name, name): one for name, one in member.items()}}
