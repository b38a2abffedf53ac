"""Serves an agent built with PyPI's a2a-sdk 1.x: `python -m tests.interop.peers.sdk_1_server TOKEN`.

Run in that library's environment. Both bindings, on 1.0 and, by the library's own way back, on 0.3.
"""

# The library is installed in an environment of its own, never in the one that checks types.
# mypy: disable-error-code="import-not-found, import-untyped, misc"

from __future__ import annotations

import asyncio
import contextlib
import copy
from typing import Any

import httpx
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes, create_rest_routes
from a2a.server.tasks import (
    BasePushNotificationSender,
    InMemoryPushNotificationConfigStore,
    InMemoryTaskStore,
    TaskUpdater,
)
from a2a.types import (
    AgentCapabilities,
    AgentCard,
    AgentInterface,
    AgentSkill,
    Message,
    Part,
    Role,
    Task,
    TaskState,
    TaskStatus,
)
from starlette.applications import Starlette

from tests.interop.peers.behaviour import (
    ARTIFACT,
    ASK,
    FAIL,
    FAILURE,
    MESSAGE,
    QUESTION,
    WAIT,
    WAITING,
    greeting,
    serve,
    words,
)


class Agent(AgentExecutor):
    """The behaviour, with the library's own means."""

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        text = context.get_user_input()
        kind = text.partition(" ")[0]
        if kind == MESSAGE:
            reply = Message(message_id="reply", role=Role.ROLE_AGENT, parts=[Part(text=text)])
            await event_queue.enqueue_event(reply)
            return
        asked = context.current_task is not None
        if not asked:
            await event_queue.enqueue_event(
                Task(
                    id=context.task_id,
                    context_id=context.context_id,
                    status=TaskStatus(state=TaskState.TASK_STATE_SUBMITTED),
                    history=[context.message],
                )
            )
        updater = TaskUpdater(event_queue, context.task_id, context.context_id)
        await updater.start_work()
        if asked:
            await updater.add_artifact([Part(text=greeting(text))], artifact_id=ARTIFACT, last_chunk=True)
        elif kind == ASK:
            await updater.requires_input(updater.new_agent_message([Part(text=QUESTION)]))
            return
        elif kind == FAIL:
            await updater.failed(updater.new_agent_message([Part(text=FAILURE)]))
            return
        elif kind == WAIT:
            await updater.add_artifact([Part(text=WAITING)], artifact_id=ARTIFACT)
            await asyncio.Event().wait()
        else:
            pieces = words(text)
            for number, piece in enumerate(pieces):
                last = number == len(pieces) - 1
                await updater.add_artifact([Part(text=piece)], ARTIFACT, append=number > 0, last_chunk=last)
        await updater.complete()

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        await TaskUpdater(event_queue, context.task_id, context.context_id).cancel()


def application(url: str) -> Any:
    """The application, with the routes that the library makes."""
    card = AgentCard(
        name="sdk-1",
        description="An agent built with a2a-sdk 1.x",
        version="1",
        capabilities=AgentCapabilities(streaming=True, push_notifications=True, extended_agent_card=True),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[AgentSkill(id="echo", name="Echo", description="Repeats", tags=["test"])],
        supported_interfaces=[
            AgentInterface(protocol_binding="JSONRPC", protocol_version="1.0", url=f"{url}/"),
            AgentInterface(protocol_binding="HTTP+JSON", protocol_version="1.0", url=url),
            AgentInterface(protocol_binding="JSONRPC", protocol_version="0.3", url=f"{url}/"),
            AgentInterface(protocol_binding="HTTP+JSON", protocol_version="0.3", url=url),
        ],
    )
    extended = copy.deepcopy(card)
    extended.name = "sdk-1 extended"
    configs = InMemoryPushNotificationConfigStore()
    client = httpx.AsyncClient(trust_env=False)
    handler = DefaultRequestHandler(
        agent_executor=Agent(),
        task_store=InMemoryTaskStore(),
        agent_card=card,
        push_config_store=configs,
        push_sender=BasePushNotificationSender(client, configs),
        extended_agent_card=extended,
    )
    routes = [
        *create_agent_card_routes(card),
        *create_jsonrpc_routes(handler, "/", enable_v0_3_compat=True),
        *create_rest_routes(handler, enable_v0_3_compat=True),
    ]

    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> Any:
        async with client:
            yield

    return Starlette(routes=routes, lifespan=lifespan)


if __name__ == "__main__":
    serve(application)
