"""A method's result in the codec of a version. Knows no method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sansio.a2a.codecs.registry import CODECS
from sansio.a2a.model import JsonObject, Message, Task


def for_version(result: Mapping[str, Any], version: str) -> JsonObject:
    """Return the result with its tasks and messages as `version` writes them."""
    return {name: _written(value, version) for name, value in result.items()}


def _written(value: Any, version: str) -> Any:
    if isinstance(value, list):
        return (
            [_written(item, version) for item in value] if value and isinstance(value[0], Task | Message) else value
        )
    if isinstance(value, Task):
        return CODECS[version].render_task(value)
    if isinstance(value, Message):
        body = CODECS[version].render_item(value)
        return body.get("message", body)  # 1.0 wraps a stream item in its kind
    return value
