"""The wire forms by line: everything a binding needs of one is this protocol, which each form's module satisfies."""

from __future__ import annotations

from typing import Protocol

from . import v0_3, v1_0
from .model import GetTaskRequest, JsonObject, SendRequest, StreamItem, Task


class WireForm(Protocol):
    """What ``v0_3`` and ``v1_0`` both are."""

    @property
    def LINE(self) -> str: ...

    def parse_send(self, value: object) -> SendRequest: ...

    def parse_get_task(self, value: object) -> GetTaskRequest: ...

    def parse_task(self, value: object) -> Task: ...

    def parse_item(self, value: object) -> StreamItem: ...

    def render_task(self, task: Task) -> JsonObject: ...

    def render_item(self, item: StreamItem) -> JsonObject: ...

    def render_send_result(self, item: StreamItem) -> JsonObject: ...

    def render_send(self, request: SendRequest) -> JsonObject: ...


FORMS: dict[str, WireForm] = {"0.3": v0_3, "1.0": v1_0}
"""The form of each line."""
