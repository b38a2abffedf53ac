"""The types of what methods answer, as JSON Schema (2020-12): for what is published, and for the tests that hold
answers against it. Members may come on top; what is required is always there.
"""

from __future__ import annotations

from collections.abc import Mapping

from sansio.a2a.model import JsonObject
from sansio.extensions.methods.method_rows import MethodRow
from sansio.opencode.projections import summaries
from sansio.opencode.projections.summaries import FLAG, NUMBER, OBJECT, TEXT, Members, Plain, Summary

_SESSION_METADATA = Summary(
    {"shared": Summary({"session": Summary({"id": TEXT}, {"title": TEXT})})},
    {"opencode": Summary({}, {"instance": TEXT})},
)

TYPES: Mapping[str, JsonObject] = {
    "string": TEXT.schema(),
    "boolean": FLAG.schema(),
    "string|null": {"type": ["string", "null"]},
    "map<string,string>": {"type": "object", "additionalProperties": TEXT.schema()},
    "SessionStatusSummary": summaries.STATUS.schema(),
    "SessionSummary": summaries.SESSION.schema(),
    "Todo": summaries.TODO.schema(),
    "FileDiff": summaries.FILE_DIFF.schema(),
    "ProviderSummary": summaries.PROVIDER.schema(),
    "ModelSummary": summaries.MODEL.schema(),
    "Project": Summary({"id": TEXT, "worktree": TEXT}, {"vcs": TEXT, "name": TEXT}).schema(),
    "Workspace": Summary({"id": TEXT, "type": TEXT}).schema(),
    "Worktree": Summary({"name": TEXT, "directory": TEXT}, {"branch": TEXT}).schema(),
    "InterruptRequest": Summary(
        {
            "request_id": TEXT,
            "session_id": TEXT,
            "interrupt_type": Plain({"enum": ["permission", "question"]}),
            "task_id": TEXT,
            "context_id": TEXT,
            "details": OBJECT,
            "expires_at": NUMBER,
        }
    ).schema(),
}
"""The types that are the same on both versions, by name."""


def _constant(value: str) -> Plain:
    return Plain({"const": value})


def _task(state: str, **tag: Plain) -> JsonObject:
    members: Members = {"id": TEXT, "contextId": TEXT, "status": Summary({"state": _constant(state)})}
    return Summary({**tag, **members, "metadata": _SESSION_METADATA}).schema()


def _message(roles: list[str], part: JsonObject, **tag: Plain) -> JsonObject:
    members: Members = {"messageId": TEXT, "contextId": TEXT, "role": Plain({"enum": roles})}
    parts = Plain({"type": "array", "items": part})
    return Summary({**tag, **members, "parts": parts, "metadata": _SESSION_METADATA}).schema()


_OF_VERSION: Mapping[str, Mapping[str, JsonObject]] = {
    "0.3": {
        "Task": _task("completed", kind=_constant("task")),
        "Message": _message(["user", "agent"], Summary({"kind": TEXT}).schema(), kind=_constant("message")),
    },
    "1.0": {
        "Task": _task("TASK_STATE_COMPLETED"),
        "Message": _message(["ROLE_USER", "ROLE_AGENT"], OBJECT.schema()),
    },
}


def type_schema(name: str, version: str) -> JsonObject:
    """Return the schema of a type by its name: `X[]` is a list of X, `X|null` may be null."""
    known = _OF_VERSION[version].get(name) or TYPES.get(name)
    if known is not None:
        return known
    if name.endswith("[]"):
        return {"type": "array", "items": type_schema(name.removesuffix("[]"), version)}
    return {"anyOf": [type_schema(name.removesuffix("|null"), version), {"type": "null"}]}


def result_schema(row: MethodRow, version: str) -> JsonObject:
    """Return the schema of a method's result on a version."""
    return Summary(
        {member: Plain(type_schema(name, version)) for member, name in row.result.members.items()}
    ).schema()


def params_schema(row: MethodRow) -> JsonObject:
    """Return the schema of a method's parameters, aliases among them."""
    root: JsonObject = {"type": "object", "properties": {}, "additionalProperties": False}
    for parameter in row.parameters:
        for path in parameter.paths:
            _location(root, path.split("."), parameter.shape.schema() | {"description": parameter.about})
        if parameter.required:
            _require(root, parameter.name.split("."))
    if metadata := root["properties"].get("metadata"):
        metadata["additionalProperties"] = True
    else:
        root["properties"]["metadata"] = {"type": "object"}
    return root


def _location(schema: JsonObject, path: list[str], leaf: JsonObject) -> None:
    name, *rest = path
    if not rest:
        schema["properties"][name] = leaf
        return
    inner = schema["properties"].setdefault(name, {"type": "object", "properties": {}, "additionalProperties": False})
    _location(inner, rest, leaf)


def _require(schema: JsonObject, path: list[str]) -> None:
    name, *rest = path
    names = schema.setdefault("required", [])
    if name not in names:
        names.append(name)
    if rest:
        _require(schema["properties"][name], rest)
