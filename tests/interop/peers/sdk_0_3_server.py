"""Serves an agent built with PyPI's a2a-sdk 0.3.x: `python -m tests.interop.peers.sdk_0_3_server TOKEN`.

Run in that library's environment. JSON-RPC at the root, HTTP+JSON below `/rest`, as two applications of the library.
"""

# The library is installed in an environment of its own, never in the one that checks types.
# mypy: disable-error-code="import-not-found, import-untyped, misc"

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import httpx
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.apps import A2ARESTFastAPIApplication, A2AStarletteApplication
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.tasks import (
    BasePushNotificationSender,
    InMemoryPushNotificationConfigStore,
    InMemoryTaskStore,
    TaskUpdater,
)
from a2a.types import AgentCapabilities, AgentCard, AgentInterface, AgentSkill, Part, TextPart, TransportProtocol
from a2a.utils import new_agent_text_message, new_task
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


def _text(text: str) -> list[Part]:
    return [Part(root=TextPart(text=text))]


class Agent(AgentExecutor):
    """The behaviour, with the library's own means."""

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        text = context.get_user_input()
        kind = text.partition(" ")[0]
        if kind == MESSAGE:
            await event_queue.enqueue_event(new_agent_text_message(text))
            return
        asked = context.current_task is not None
        if not asked:
            await event_queue.enqueue_event(new_task(context.message))
        updater = TaskUpdater(event_queue, context.task_id, context.context_id)
        await updater.start_work()
        if asked:
            await updater.add_artifact(_text(greeting(text)), artifact_id=ARTIFACT, last_chunk=True)
        elif kind == ASK:
            await updater.requires_input(updater.new_agent_message(_text(QUESTION)), final=True)
            return
        elif kind == FAIL:
            await updater.failed(updater.new_agent_message(_text(FAILURE)))
            return
        elif kind == WAIT:
            await updater.add_artifact(_text(WAITING), artifact_id=ARTIFACT)
            await asyncio.Event().wait()
        else:
            pieces = words(text)
            for number, piece in enumerate(pieces):
                last = number == len(pieces) - 1
                await updater.add_artifact(_text(piece), ARTIFACT, append=number > 0, last_chunk=last)
        await updater.complete()

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        await TaskUpdater(event_queue, context.task_id, context.context_id).cancel()


def application(url: str) -> Any:
    """The application, made of the library's two."""
    card = AgentCard(
        name="sdk-0.3",
        description="An agent built with a2a-sdk 0.3.x",
        version="1",
        url=f"{url}/",
        preferred_transport=TransportProtocol.jsonrpc,
        additional_interfaces=[
            AgentInterface(transport=TransportProtocol.jsonrpc, url=f"{url}/"),
            AgentInterface(transport=TransportProtocol.http_json, url=f"{url}/rest"),
        ],
        capabilities=AgentCapabilities(streaming=True, push_notifications=True),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[AgentSkill(id="echo", name="Echo", description="Repeats", tags=["test"])],
        supports_authenticated_extended_card=True,
    )
    extended = card.model_copy(update={"name": "sdk-0.3 extended"})
    configs = InMemoryPushNotificationConfigStore()
    client = httpx.AsyncClient(trust_env=False)
    handler = DefaultRequestHandler(
        agent_executor=Agent(),
        task_store=InMemoryTaskStore(),
        push_config_store=configs,
        push_sender=BasePushNotificationSender(client, configs),
    )

    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> Any:
        async with client:
            yield

    app = Starlette(lifespan=lifespan)
    app.mount("/rest", A2ARESTFastAPIApplication(card, handler, extended_agent_card=extended).build())
    app.router.routes += A2AStarletteApplication(card, handler, extended_agent_card=extended).routes()
    return app


if __name__ == "__main__":
    serve(application)
