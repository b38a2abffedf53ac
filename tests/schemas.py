"""The published JSON schemas of both protocol versions, without their prose; answers are checked against them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import orjson
from jsonschema_rs import Draft202012Validator

FOLDER = Path(__file__).parent / "fixtures" / "schemas"

SEND_RESULT = {"0.3": ("Task", "Message"), "1.0": ("SendMessageResponse",)}
STREAM_ITEM = {
    "0.3": ("Task", "Message", "TaskStatusUpdateEvent", "TaskArtifactUpdateEvent"),
    "1.0": ("StreamResponse",),
}
TASK = {"0.3": ("Task",), "1.0": ("Task",)}
TASK_PAGE = {"1.0": ("ListTasksResponse",)}
PUSH_CONFIG = {"0.3": ("TaskPushNotificationConfig",), "1.0": ("TaskPushNotificationConfig",)}
PUSH_CONFIGS = {"1.0": ("ListTaskPushNotificationConfigsResponse",)}
CARD = {"0.3": ("AgentCard",), "1.0": ("AgentCard",)}


@cache
def _validator(version: str, names: tuple[str, ...]) -> Draft202012Validator:
    document = orjson.loads((FOLDER / f"a2a-{version}.json").read_bytes())
    choices = [{"$ref": f"#/definitions/{name}"} for name in names]
    return Draft202012Validator({"definitions": document["definitions"], "anyOf": choices})


def check(version: str, kinds: Mapping[str, tuple[str, ...]], value: Any) -> None:
    """Raise `jsonschema_rs.ValidationError` where the value is none of these on that line."""
    _validator(version, kinds[version]).validate(value)
