"""Drives Strands' `A2AAgent`: run in its environment as `python -m tests.interop.drivers.strands_agent`.

Says what the result of each call holds. The client names no task, so that each call begins another one.
"""

# The client is installed in an environment of its own, never in the one that checks types.
# mypy: disable-error-code="import-not-found, import-untyped"

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
from a2a.client import ClientConfig
from strands.agent.a2a_agent import A2AAgent

from tests.interop.drivers.dialogue import Json, converse, headers_of

SECONDS = 60.0


async def talk(command: Json) -> AsyncIterator[Json]:
    async with httpx.AsyncClient(headers=headers_of(command), timeout=SECONDS, trust_env=False) as http:
        agent = A2AAgent(command["url"], client_config=ClientConfig(httpx_client=http))
        for text in command["texts"]:
            task = result = None
            async for event in agent.stream_async(text):
                if "result" in event:
                    result = event["result"]
                elif isinstance(event["event"], tuple):
                    task = event["event"][0].id
            assert result is not None  # the last of its events
            said = "".join(block["text"] for block in result.message["content"])
            asks = result.stop_reason == "interrupt"
            yield {"kind": "turn", "task": task, "text": "" if asks else said, "asks": said if asks else None}


def explain(error: Exception) -> Json:
    return {"code": None, "status": None}


if __name__ == "__main__":
    converse({"talk": talk}, explain)
