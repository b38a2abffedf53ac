"""The types of what methods answer, as JSON Schema (2020-12): for what is published, and for the tests that hold
answers against it. Members may come on top; what is required is always there.
"""

from __future__ import annotations

from collections.abc import Mapping

from sansio.a2a.model import JsonObject
from sansio.extensions.methods.method_rows import MethodRow
from sansio.opencode.projections.session_projections import DIFF_COUNTS, DIFF_TEXTS

_TEXT: JsonObject = {"type": "string"}
_FLAG: JsonObject = {"type": "boolean"}
_WHOLE: JsonObject = {"type": "integer"}
_NUMBER: JsonObject = {"type": "number"}


def _object(required: Mapping[str, JsonObject], optional: Mapping[str, JsonObject] | None = None) -> JsonObject:
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
    }


_SESSION_METADATA = _object({"shared": _object({"session": _object({"id": _TEXT}, {"title": _TEXT})})})

TYPES: Mapping[str, JsonObject] = {
    "string": _TEXT,
    "boolean": _FLAG,
    "string|null": {"type": ["string", "null"]},
    "map<string,string>": {"type": "object", "additionalProperties": _TEXT},
    "SessionStatusSummary": _object(
        {"session_id": _TEXT, "type": _TEXT}, {"attempt": _WHOLE, "message": _TEXT, "next": _NUMBER}
    ),
    "SessionSummary": _object(
        {"id": _TEXT, "title": _TEXT},
        {
            "project_id": _TEXT,
            "directory": _TEXT,
            "parent_id": _TEXT,
            "version": _TEXT,
            "share_url": _TEXT,
            "revert": _object({}, dict.fromkeys(("message_id", "part_id", "snapshot", "diff"), _TEXT)),
        },
    ),
    "Todo": _object({"id": _TEXT}, {"content": _TEXT, "status": _TEXT, "priority": _TEXT}),
    "FileDiff": _object(
        {"file": _TEXT},
        {
            **dict.fromkeys(DIFF_TEXTS, _TEXT),
            **dict.fromkeys(DIFF_COUNTS, _WHOLE),
        },
    ),
    "ProviderSummary": _object(
        {"provider_id": _TEXT, "name": _TEXT, "connected": _FLAG, "model_count": _WHOLE},
        {"source": _TEXT, "default_model_id": _TEXT},
    ),
    "ModelSummary": _object(
        {"provider_id": _TEXT, "model_id": _TEXT, "name": _TEXT, "default": _FLAG, "connected": _FLAG},
        {
            "status": _TEXT,
            **dict.fromkeys(("context_window", "max_output_tokens"), _WHOLE),
            **dict.fromkeys(("supports_reasoning", "supports_tool_call", "supports_attachments"), _FLAG),
        },
    ),
    "Project": _object({"id": _TEXT, "worktree": _TEXT}, {"vcs": _TEXT, "name": _TEXT}),
    "Workspace": _object({"id": _TEXT, "type": _TEXT}),
    "Worktree": _object({"name": _TEXT, "directory": _TEXT}, {"branch": _TEXT}),
    "InterruptRequest": _object(
        {
            "request_id": _TEXT,
            "session_id": _TEXT,
            "interrupt_type": {"enum": ["permission", "question"]},
            "task_id": _TEXT,
            "context_id": _TEXT,
            "details": {"type": "object"},
            "expires_at": _NUMBER,
        }
    ),
}
"""The types that are the same on both versions, by name."""

_OF_VERSION: Mapping[str, Mapping[str, JsonObject]] = {
    "0.3": {
        "Task": _object(
            {
                "kind": {"const": "task"},
                "id": _TEXT,
                "contextId": _TEXT,
                "status": _object({"state": {"const": "completed"}}),
                "metadata": _SESSION_METADATA,
            }
        ),
        "Message": _object(
            {
                "kind": {"const": "message"},
                "messageId": _TEXT,
                "contextId": _TEXT,
                "role": {"enum": ["user", "agent"]},
                "parts": {"type": "array", "items": _object({"kind": _TEXT})},
                "metadata": _SESSION_METADATA,
            }
        ),
    },
    "1.0": {
        "Task": _object(
            {
                "id": _TEXT,
                "contextId": _TEXT,
                "status": _object({"state": {"const": "TASK_STATE_COMPLETED"}}),
                "metadata": _SESSION_METADATA,
            }
        ),
        "Message": _object(
            {
                "messageId": _TEXT,
                "contextId": _TEXT,
                "role": {"enum": ["ROLE_USER", "ROLE_AGENT"]},
                "parts": {"type": "array", "items": {"type": "object"}},
                "metadata": _SESSION_METADATA,
            }
        ),
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
    return _object({member: type_schema(name, version) for member, name in row.result.members.items()})


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
