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
from a2a.server.agent_execution import RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes, create_rest_routes
from a2a.server.tasks import BasePushNotificationSender, InMemoryPushNotificationConfigStore, InMemoryTaskStore
from a2a.types import Message, Part, Role
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
from tests.interop.peers.sdk_1_agent import CancelingExecutor, begun, card_of, say


class Agent(CancelingExecutor):
    """The behaviour, with the library's own means."""

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        text = context.get_user_input()
        kind = text.partition(" ")[0]
        if kind == MESSAGE:
            reply = Message(message_id="reply", role=Role.ROLE_AGENT, parts=[Part(text=text)])
            await event_queue.enqueue_event(reply)
            return
        asked = context.current_task is not None
        updater = await begun(context, event_queue)
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
            await say(updater, ARTIFACT, words(text))
        await updater.complete()


def application(url: str) -> Any:
    """The application, with the routes that the library makes."""
    places = [("JSONRPC", f"{url}/"), ("HTTP+JSON", url)]
    interfaces = [(binding, version, at) for version in ("1.0", "0.3") for binding, at in places]
    card = card_of("sdk-1", *interfaces, push_notifications=True, extended_agent_card=True)
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
