"""The codecs, and which of them a binding speaks. Each codec is a module; what one is, is a protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from sansio.a2a.codecs import v0_3, v1_0
from sansio.a2a.codecs import v0_3_protojson as v0_3_gateway
from sansio.a2a.codecs.wire_types import Object
from sansio.a2a.model import (
    GetTaskRequest,
    JsonObject,
    ListPushConfigsRequest,
    ListTasksRequest,
    PushConfig,
    PushConfigId,
    PushConfigPage,
    SendRequest,
    StreamItem,
    Task,
    TaskIdRequest,
    TaskPage,
    TaskState,
)
from sansio.a2a.operations import Operation


class Codec(Protocol):
    """A codec: a module that reads and writes the JSON of one protocol version. `NAME` identifies it."""

    @property
    def NAME(self) -> str: ...

    @property
    def STATES(self) -> Mapping[str, TaskState]:
        """The states by their names in JSON."""

    @property
    def VERSION(self) -> str: ...

    def parse_send(self, value: object) -> SendRequest: ...

    def parse_get_task(self, value: object) -> GetTaskRequest: ...

    def parse_list_tasks(self, value: object) -> ListTasksRequest: ...

    def parse_task_id(self, value: object) -> TaskIdRequest: ...

    def parse_push_config_request(self, value: object) -> PushConfig: ...

    def parse_push_config_id(self, value: object, *, required: bool = ...) -> PushConfigId: ...

    def parse_list_push_configs(self, value: object) -> ListPushConfigsRequest: ...

    def parse_task(self, value: object) -> Task: ...

    def parse_push_config_result(self, value: object) -> PushConfig: ...

    def parse_item(self, value: object) -> StreamItem: ...

    def render_task(self, task: Task) -> JsonObject: ...

    def render_task_page(self, page: TaskPage) -> JsonObject: ...

    def render_push_config_result(self, config: PushConfig) -> JsonObject: ...

    def render_push_configs(self, page: PushConfigPage) -> JsonObject | list[JsonObject]: ...

    def render_item(self, item: StreamItem) -> JsonObject: ...

    def render_send_result(self, item: StreamItem) -> JsonObject: ...

    def render_send(self, request: SendRequest) -> JsonObject: ...

    @property
    def REQUESTS(self) -> Mapping[Operation, Object[Any]]:
        """The wire types of the operations' parameters."""


CODECS: dict[str, Codec] = {"0.3": v0_3, "1.0": v1_0}
"""The codec JSON-RPC speaks in each version."""

GRPC_CODECS: dict[str, Codec] = {"0.3": v0_3_gateway, "1.0": v1_0}
"""The codec of each version that is the JSON of its messages of Protocol Buffers."""


def rest_codec(version: str, body: object) -> Codec:
    """The codec that answers an HTTP+JSON request with a body: on 0.3 the one its body is in."""
    if version != v0_3.VERSION:
        return CODECS[version]
    return v0_3_gateway if v0_3_gateway.recognizes(body) else v0_3


def rest_codec_of_task(version: str, requested: str | None) -> Codec:
    """The codec that answers about a task where the request shows none.

    `requested`: the codec of the message over HTTP+JSON, if any. Clients of version 0.3 expect its ProtoJSON there,
    unless their message was in the other codec.
    """
    if version != v0_3.VERSION:
        return CODECS[version]
    return v0_3 if requested == v0_3.NAME else v0_3_gateway


def rest_codec_of(operation: Operation, version: str) -> Codec:
    """Return the codec of an HTTP+JSON request whose body shows none, and of its answer where the task has none.

    On version 0.3, the list of tasks is no operation of its clients': it is written as it has always been here.
    """
    if version != v0_3.VERSION:
        return CODECS[version]
    return v0_3 if operation is Operation.LIST_TASKS else v0_3_gateway
