"""A method's result in the wire form of a line. Knows no method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sansio.a2a.codecs.registry import CODECS
from sansio.a2a.model import JsonObject, Message, Task


def for_line(result: Mapping[str, Any], line: str) -> JsonObject:
    """The result with its tasks and messages as ``line`` writes them."""
    return {name: _written(value, line) for name, value in result.items()}


def _written(value: Any, line: str) -> Any:
    if isinstance(value, list):
        return [_written(item, line) for item in value] if value and isinstance(value[0], Task | Message) else value
    if isinstance(value, Task):
        return CODECS[line].render_task(value)
    if isinstance(value, Message):
        body = CODECS[line].render_item(value)
        return body.get("message", body)  # 1.0 wraps a stream item in its kind
    return value
