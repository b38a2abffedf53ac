"""Drives PyPI's a2a-sdk 0.3: run in its environment as `python -m tests.interop.drivers.python_0_3`.

Says what the client understood in words of its own, which every driver shares.
"""

# The client is installed in an environment of its own, never in the one that checks types.
# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import ssl
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
from a2a.client import A2ACardResolver, ClientConfig, ClientFactory
from a2a.types import (
    GetTaskPushNotificationConfigParams,
    Message,
    MessageSendConfiguration,
    Part,
    PushNotificationAuthenticationInfo,
    PushNotificationConfig,
    Role,
    Task,
    TaskArtifactUpdateEvent,
    TaskIdParams,
    TaskPushNotificationConfig,
    TaskQueryParams,
    TaskStatusUpdateEvent,
    TextPart,
)
from a2a.utils.signing import create_signature_verifier

from tests.interop.drivers.dialogue import Json, converse, headers_of
from tests.interop.drivers.grpc_channel import channels_as
from tests.interop.drivers.keys import ALGORITHMS, key_provider

BINDINGS = {"jsonrpc": "JSONRPC", "rest": "HTTP+JSON", "grpc": "GRPC"}
SECONDS = 60.0
TLS = ssl.create_default_context()
"""Made once: making it takes longer than most calls."""


def plain_http(headers: Mapping[str, str] | None = None) -> httpx.AsyncClient:
    return httpx.AsyncClient(headers=headers, timeout=SECONDS, trust_env=False, verify=TLS)


@asynccontextmanager
async def connected(command: Json, *, streaming: bool = False) -> AsyncIterator[Any]:
    """A client that chose the wanted binding by the agent's own card."""
    async with plain_http(headers_of(command)) as http, channels_as(command) as opened:
        config = ClientConfig(
            streaming=streaming,
            httpx_client=http,
            grpc_channel_factory=opened,
            supported_transports=[BINDINGS[command["binding"]]],
            push_notification_configs=[push_from(command["push"])] if command.get("push") else [],
        )
        yield await ClientFactory.connect(command["url"], config)


# --- what the client understood ---------------------------------------------------------------------------


def text_of(parts: list[Part]) -> str:
    return "".join(part.root.text for part in parts if isinstance(part.root, TextPart))


def message_of(message: Message) -> Json:
    return {"kind": "message", "role": message.role.value, "text": text_of(message.parts)}


def task_of(task: Task) -> Json:
    return {
        "kind": "task",
        "task": task.id,
        "context": task.context_id,
        "state": task.status.state.value,
        "text": text_of(task.status.message.parts) if task.status.message else None,
        "artifacts": [
            {"artifact": artifact.artifact_id, "text": text_of(artifact.parts)} for artifact in task.artifacts or []
        ],
        "history": [message_of(message) for message in task.history or []],
    }


def item_of(item: Task | Message | TaskStatusUpdateEvent | TaskArtifactUpdateEvent) -> Json:
    if isinstance(item, Task):
        return task_of(item)
    if isinstance(item, Message):
        return message_of(item)
    if isinstance(item, TaskStatusUpdateEvent):
        status = item.status
        return {
            "kind": "status",
            "task": item.task_id,
            "state": status.state.value,
            "text": text_of(status.message.parts) if status.message else None,
        }
    return {
        "kind": "artifact",
        "task": item.task_id,
        "artifact": item.artifact.artifact_id,
        "text": text_of(item.artifact.parts),
        "append": bool(item.append),
    }


def config_of(answer: TaskPushNotificationConfig) -> Json:
    config = answer.push_notification_config
    return {"kind": "push", "task": answer.task_id, "config": config.id, "url": config.url, "token": config.token}


# --- operations -------------------------------------------------------------------------------------------


def message_from(command: Json) -> Message:
    return Message(
        role=Role.user,
        message_id=command.get("message") or uuid.uuid4().hex,
        parts=[Part(root=TextPart(text=command["text"]))],
        task_id=command.get("task"),
        context_id=command.get("context"),
    )


def push_from(push: Json) -> Any:
    scheme = push.get("scheme")
    authentication = (
        PushNotificationAuthenticationInfo(schemes=[scheme], credentials=push.get("credentials")) if scheme else None
    )
    return PushNotificationConfig(
        id=push.get("config"), url=push["url"], token=push.get("token"), authentication=authentication
    )


async def card(command: Json) -> AsyncIterator[Json]:
    async with plain_http() as http:
        found = await A2ACardResolver(http, command["url"]).get_agent_card()
    interfaces = [(found.preferred_transport, found.url)]
    interfaces += [(interface.transport, interface.url) for interface in found.additional_interfaces or []]
    yield {
        "kind": "card",
        "name": found.name,
        "streaming": found.capabilities.streaming,
        "push": found.capabilities.push_notifications,
        "extended": found.supports_authenticated_extended_card,
        "interfaces": sorted({f"{transport} {url}" for transport, url in interfaces}),
        "security": sorted(name for entry in found.security or [] for name in entry),
        "schemes": {name: scheme.root.scheme for name, scheme in (found.security_schemes or {}).items()},
        "skills": [skill.id for skill in found.skills],
    }


async def extended_card(command: Json) -> AsyncIterator[Json]:
    async with connected(command) as client:
        found = await client.get_card()
    yield {"kind": "card", "name": found.name, "skills": [skill.id for skill in found.skills]}


async def verify(command: Json) -> AsyncIterator[Json]:
    verifier = create_signature_verifier(key_provider(command), ALGORITHMS)
    if command["card"] == "extended":
        async with connected(command) as client:
            found = await client.get_card(signature_verifier=verifier)
    else:
        async with plain_http() as http:
            found = await A2ACardResolver(http, command["url"]).get_agent_card(signature_verifier=verifier)
    yield {"kind": "card", "name": found.name, "skills": [skill.id for skill in found.skills]}


async def _sent(command: Json, *, streaming: bool) -> AsyncIterator[Json]:
    configuration = MessageSendConfiguration(
        blocking=command.get("blocking", True), accepted_output_modes=command.get("modes")
    )
    async with connected(command, streaming=streaming) as client:
        async for event in client.send_message(message_from(command), configuration=configuration):
            task, update = (event, None) if isinstance(event, Message) else event
            yield item_of(update or task)


async def send(command: Json) -> AsyncIterator[Json]:
    async for item in _sent(command, streaming=False):
        yield item


async def stream(command: Json) -> AsyncIterator[Json]:
    async for item in _sent(command, streaming=True):
        yield item


async def get(command: Json) -> AsyncIterator[Json]:
    async with connected(command) as client:
        query = TaskQueryParams(id=command["task"], history_length=command.get("history_length"))
        yield task_of(await client.get_task(query))


async def cancel(command: Json) -> AsyncIterator[Json]:
    async with connected(command) as client:
        yield task_of(await client.cancel_task(TaskIdParams(id=command["task"])))


async def subscribe(command: Json) -> AsyncIterator[Json]:
    async with connected(command, streaming=True) as client:
        async for task, update in client.resubscribe(TaskIdParams(id=command["task"])):
            yield item_of(update or task)


async def push_set(command: Json) -> AsyncIterator[Json]:
    config = TaskPushNotificationConfig(task_id=command["task"], push_notification_config=push_from(command["push"]))
    async with connected(command) as client:
        yield config_of(await client.set_task_callback(config))


async def push_get(command: Json) -> AsyncIterator[Json]:
    params = GetTaskPushNotificationConfigParams(id=command["task"], push_notification_config_id=command["config"])
    async with connected(command) as client:
        yield config_of(await client.get_task_callback(params))


async def read_push(command: Json) -> AsyncIterator[Json]:
    yield task_of(Task.model_validate(command["body"]))


OPERATIONS = {
    "card": card,
    "extended_card": extended_card,
    "verify": verify,
    "send": send,
    "stream": stream,
    "get": get,
    "cancel": cancel,
    "subscribe": subscribe,
    "push_set": push_set,
    "push_get": push_get,
    "read_push": read_push,
}


def explain(error: Exception) -> Json:
    """The JSON-RPC code or HTTP status the client reports, where it does."""
    rpc = getattr(error, "error", None)
    return {"code": getattr(rpc, "code", None), "status": getattr(error, "status_code", None)}


if __name__ == "__main__":
    converse(OPERATIONS, explain)
