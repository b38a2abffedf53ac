"""How a driver is spoken to: one JSON command a line on standard input, one JSON reply a line on standard output.

Needs the standard library alone. Must not know which client does the work.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]
Operation: TypeAlias = Callable[[Json], AsyncIterator[Json]]
"""Does one command; what it yields are the items of the answer."""


def converse(operations: Mapping[str, Operation], explain: Callable[[Exception], Json]) -> None:
    """Do commands until standard input ends, each in a task of its own, so that one may wait for another."""
    asyncio.run(_converse(operations, explain))


async def _converse(operations: Mapping[str, Operation], explain: Callable[[Exception], Json]) -> None:
    async with asyncio.TaskGroup() as tasks:
        while line := await asyncio.to_thread(sys.stdin.readline):
            command: Json = json.loads(line)
            tasks.create_task(_do(operations[command["operation"]], command, explain))


async def _do(operation: Operation, command: Json, explain: Callable[[Exception], Json]) -> None:
    reply: Json = {"id": command["id"]}
    try:
        async for item in operation(command):
            say(reply | {"item": item})
    except Exception as error:
        say(reply | {"error": explain(error) | {"name": type(error).__name__, "text": str(error)}})
    else:
        say(reply | {"done": True})


def headers_of(command: Json) -> dict[str, str]:
    """What a command wants in the client's requests: its token, and the event after which a stream is to go on."""
    headers = {"Authorization": f"Bearer {command['token']}"} if command.get("token") else {}
    return headers | ({"Last-Event-ID": command["after"]} if command.get("after") else {})


def say(value: Json) -> None:
    """Print one reply."""
    print(json.dumps(value), flush=True)
