"""Drives google-adk's `RemoteA2aAgent`: run in its environment as `python -m tests.interop.drivers.adk`.

Says what its session keeps of each turn, which is what an agent above it and its own next turn go by.
"""

# The client is installed in an environment of its own, never in the one that checks types.
# mypy: disable-error-code="import-not-found, import-untyped"

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator
from typing import Any

import httpx
from google.adk.agents.remote_a2a_agent import RemoteA2aAgent
from google.adk.runners import Runner
from google.adk.sessions import InMemorySessionService
from google.genai import types

from tests.interop.drivers.dialogue import Json, converse, headers_of

SECONDS = 60.0
ASKS = "mock_function_call_for_required_user_input"
"""The call that it makes up where the agent wants something of its user."""


async def talk(command: Json) -> AsyncIterator[Json]:
    async with httpx.AsyncClient(headers=headers_of(command), timeout=SECONDS, trust_env=False) as http:
        card = command["url"] + "/.well-known/agent-card.json"
        sessions = InMemorySessionService()
        runner = Runner(
            agent=RemoteA2aAgent(name="opencode", agent_card=card, httpx_client=http),
            app_name="interop",
            session_service=sessions,
        )
        session = await sessions.create_session(app_name="interop", user_id="user")
        for text in command["texts"]:
            known = len(await events_of(sessions, session.id))
            message = types.Content(role="user", parts=[types.Part(text=text)])
            async for _ in runner.run_async(user_id="user", session_id=session.id, new_message=message):
                pass
            yield turn_of((await events_of(sessions, session.id))[known:])


async def events_of(sessions: Any, session_id: str) -> list[Any]:
    found = await sessions.get_session(app_name="interop", user_id="user", session_id=session_id)
    return [event for event in found.events if event.author != "user"]


def turn_of(events: list[Any]) -> Json:
    parts = [part for event in events if event.content for part in event.content.parts or ()]
    asked = [part.function_call.args for part in parts if part.function_call and part.function_call.name == ASKS]
    texts = [part.text for part in parts if part.text and not part.thought]
    metadata = [event.custom_metadata or {} for event in events]
    return {
        "kind": "turn",
        "task": next((one["a2a:task_id"] for one in reversed(metadata) if "a2a:task_id" in one), None),
        "text": "".join(texts),
        "asks": str(asked[-1]["input_required"]) if asked else None,
    }


def explain(error: Exception) -> Json:
    return {"code": None, "status": None}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    converse({"talk": talk}, explain)
