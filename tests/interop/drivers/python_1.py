"""Drives PyPI's a2a-sdk 1.x: run in its environment as `python -m tests.interop.drivers.python_1`.

Says what the client understood in words of its own, which every driver shares. With version 0.3 the client is
shown a card that offers this version alone, and takes its own way back to it.
"""

# The client is installed in an environment of its own, never in the one that checks types.
# mypy: disable-error-code="import-not-found, import-untyped"

from __future__ import annotations

import ssl
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
from a2a.client import A2ACardResolver, ClientConfig, ClientFactory
from a2a.compat.v0_3 import types as types_0_3
from a2a.compat.v0_3.conversions import to_core_task
from a2a.types import (
    AgentCard,
    AuthenticationInfo,
    CancelTaskRequest,
    DeleteTaskPushNotificationConfigRequest,
    GetExtendedAgentCardRequest,
    GetTaskPushNotificationConfigRequest,
    GetTaskRequest,
    ListTaskPushNotificationConfigsRequest,
    ListTasksRequest,
    Message,
    Part,
    Role,
    SendMessageConfiguration,
    SendMessageRequest,
    StreamResponse,
    SubscribeToTaskRequest,
    Task,
    TaskPushNotificationConfig,
    TaskState,
)
from a2a.utils.signing import create_signature_verifier
from google.protobuf.json_format import ParseDict

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
    """A client that chose the wanted binding, and the newest version, by the agent's own card."""
    async with plain_http(headers_of(command)) as http, channels_as(command) as opened:
        card = await A2ACardResolver(http, command["url"]).get_agent_card()
        if command["version"] == "0.3":
            old = [interface for interface in card.supported_interfaces if interface.protocol_version == "0.3"]
            del card.supported_interfaces[:]
            card.supported_interfaces.extend(old)
        config = ClientConfig(
            streaming=streaming,
            httpx_client=http,
            grpc_channel_factory=opened,
            supported_protocol_bindings=[BINDINGS[command["binding"]]],
        )
        yield ClientFactory(config).create(card)


# --- what the client understood ---------------------------------------------------------------------------


def state_of(state: int) -> str:
    """The state's name as version 0.3 writes it."""
    name: str = TaskState.Name(state)
    return name.removeprefix("TASK_STATE_").lower().replace("_", "-")


def text_of(parts: list[Part]) -> str:
    return "".join(part.text for part in parts)


def message_of(message: Message) -> Json:
    role: str = Role.Name(message.role)
    return {"kind": "message", "role": role.removeprefix("ROLE_").lower(), "text": text_of(message.parts)}


def said_with(status: Any) -> str | None:
    return text_of(status.message.parts) if status.HasField("message") else None


def task_of(task: Task) -> Json:
    return {
        "kind": "task",
        "task": task.id,
        "context": task.context_id,
        "state": state_of(task.status.state),
        "text": said_with(task.status),
        "artifacts": [
            {"artifact": artifact.artifact_id, "text": text_of(artifact.parts)} for artifact in task.artifacts
        ],
        "history": [message_of(message) for message in task.history],
    }


def item_of(response: StreamResponse) -> Json:
    kind = response.WhichOneof("payload")
    if kind == "task":
        return task_of(response.task)
    if kind == "message":
        return message_of(response.message)
    if kind == "status_update":
        update = response.status_update
        return {
            "kind": "status",
            "task": update.task_id,
            "state": state_of(update.status.state),
            "text": said_with(update.status),
        }
    update = response.artifact_update
    return {
        "kind": "artifact",
        "task": update.task_id,
        "artifact": update.artifact.artifact_id,
        "text": text_of(update.artifact.parts),
        "append": update.append,
    }


def config_of(config: TaskPushNotificationConfig) -> Json:
    return {"kind": "push", "task": config.task_id, "config": config.id, "url": config.url, "token": config.token}


def card_of(card: AgentCard) -> Json:
    return {"kind": "card", "name": card.name, "skills": [skill.id for skill in card.skills]}


# --- operations -------------------------------------------------------------------------------------------


def push_from(push: Json, task: str = "") -> TaskPushNotificationConfig:
    config = TaskPushNotificationConfig(
        task_id=task, id=push.get("config") or "", url=push["url"], token=push.get("token") or ""
    )
    if push.get("scheme"):
        config.authentication.CopyFrom(
            AuthenticationInfo(scheme=push["scheme"], credentials=push.get("credentials") or "")
        )
    return config


def request_from(command: Json) -> SendMessageRequest:
    configuration = SendMessageConfiguration(
        return_immediately=not command.get("blocking", True), accepted_output_modes=command.get("modes")
    )
    if push := command.get("push"):
        configuration.task_push_notification_config.CopyFrom(push_from(push))
    message = Message(
        role=Role.ROLE_USER,
        message_id=command.get("message") or uuid.uuid4().hex,
        parts=[Part(text=command["text"])],
        task_id=command.get("task") or "",
        context_id=command.get("context") or "",
    )
    return SendMessageRequest(message=message, configuration=configuration)


async def card(command: Json) -> AsyncIterator[Json]:
    async with plain_http() as http:
        found = await A2ACardResolver(http, command["url"]).get_agent_card()
    yield card_of(found) | {
        "streaming": found.capabilities.streaming,
        "push": found.capabilities.push_notifications,
        "extended": found.capabilities.extended_agent_card,
        "interfaces": sorted(
            f"{interface.protocol_binding} {interface.url} {interface.protocol_version}"
            for interface in found.supported_interfaces
        ),
        "security": sorted(name for entry in found.security_requirements for name in entry.schemes),
        "schemes": {name: scheme.http_auth_security_scheme.scheme for name, scheme in found.security_schemes.items()},
    }


async def extended_card(command: Json) -> AsyncIterator[Json]:
    async with connected(command) as client:
        yield card_of(await client.get_extended_agent_card(GetExtendedAgentCardRequest()))


async def verify(command: Json) -> AsyncIterator[Json]:
    verifier = create_signature_verifier(key_provider(command), ALGORITHMS)
    if command["card"] == "extended":
        async with connected(command) as client:
            yield card_of(
                await client.get_extended_agent_card(GetExtendedAgentCardRequest(), signature_verifier=verifier)
            )
        return
    async with plain_http() as http:
        yield card_of(await A2ACardResolver(http, command["url"]).get_agent_card(signature_verifier=verifier))


async def send(command: Json) -> AsyncIterator[Json]:
    async with connected(command) as client:
        async for response in client.send_message(request_from(command)):
            yield item_of(response)


async def stream(command: Json) -> AsyncIterator[Json]:
    async with connected(command, streaming=True) as client:
        async for response in client.send_message(request_from(command)):
            yield item_of(response)


async def get(command: Json) -> AsyncIterator[Json]:
    async with connected(command) as client:
        query = GetTaskRequest(id=command["task"], history_length=command.get("history_length"))
        yield task_of(await client.get_task(query))


async def list_tasks(command: Json) -> AsyncIterator[Json]:
    async with connected(command) as client:
        query = ListTasksRequest(
            context_id=command.get("context") or "",
            page_size=command.get("page_size"),
            page_token=command.get("page_token") or "",
            include_artifacts=command.get("include_artifacts"),
            history_length=command.get("history_length"),
            status=command.get("status"),
        )
        if since := command.get("since"):
            query.status_timestamp_after.FromJsonString(since)
        page = await client.list_tasks(query)
    yield {
        "kind": "page",
        "tasks": [task_of(task) | {"updated": task.status.timestamp.ToJsonString()} for task in page.tasks],
        "next": page.next_page_token,
        "size": page.page_size,
        "total": page.total_size,
    }


async def cancel(command: Json) -> AsyncIterator[Json]:
    async with connected(command) as client:
        yield task_of(await client.cancel_task(CancelTaskRequest(id=command["task"])))


async def subscribe(command: Json) -> AsyncIterator[Json]:
    async with connected(command, streaming=True) as client:
        async for response in client.subscribe(SubscribeToTaskRequest(id=command["task"])):
            yield item_of(response)


async def push_set(command: Json) -> AsyncIterator[Json]:
    async with connected(command) as client:
        config = push_from(command["push"], command["task"])
        yield config_of(await client.create_task_push_notification_config(config))


async def push_get(command: Json) -> AsyncIterator[Json]:
    async with connected(command) as client:
        request = GetTaskPushNotificationConfigRequest(task_id=command["task"], id=command["config"])
        yield config_of(await client.get_task_push_notification_config(request))


async def push_list(command: Json) -> AsyncIterator[Json]:
    async with connected(command) as client:
        request = ListTaskPushNotificationConfigsRequest(task_id=command["task"])
        for config in (await client.list_task_push_notification_configs(request)).configs:
            yield config_of(config)


async def push_delete(command: Json) -> AsyncIterator[Json]:
    async with connected(command) as client:
        request = DeleteTaskPushNotificationConfigRequest(task_id=command["task"], id=command["config"])
        await client.delete_task_push_notification_config(request)
    yield {"kind": "deleted"}


async def read_push(command: Json) -> AsyncIterator[Json]:
    if command["version"] == "0.3":
        yield task_of(to_core_task(types_0_3.Task.model_validate(command["body"])))
    else:
        yield item_of(ParseDict(command["body"], StreamResponse()))


OPERATIONS = {
    "card": card,
    "extended_card": extended_card,
    "verify": verify,
    "send": send,
    "stream": stream,
    "get": get,
    "list": list_tasks,
    "cancel": cancel,
    "subscribe": subscribe,
    "push_set": push_set,
    "push_get": push_get,
    "push_list": push_list,
    "push_delete": push_delete,
    "read_push": read_push,
}


def explain(error: Exception) -> Json:
    """The HTTP status the client reports, where it does; its errors have a class for each of the protocol's."""
    response = getattr(error.__cause__, "response", None)
    return {"code": None, "status": getattr(response, "status_code", None)}


if __name__ == "__main__":
    converse(OPERATIONS, explain)
