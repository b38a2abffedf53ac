"""Serves the model's tool before a scripted agent: `python -m tests.interop.tool_server RUNTIME`.

Prints its secret and where it listens. The agent says what it is told to, or waits to be cancelled.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import partial

import anyio

from opencode_a2a.server.http.asgi import Receive, Scope, Send
from opencode_a2a.tool.mcp_endpoint import ToolEndpoint
from opencode_a2a.tool.peer_calls import PeerCalls
from sansio.a2a.client.client_errors import TimedOutError
from sansio.a2a.model import Message, Role, StatusUpdate, StreamItem, Task, TaskState, TaskStatus, TextPart
from sansio.a2a.tool.arguments import CallArguments
from tests.serving_alone import serve_alone


def said(text: str) -> Message:
    return Message(message_id="m", role=Role.AGENT, parts=(TextPart(text=text),))


class Items:
    """The answer to a message: the agent works, and then echoes, fails, or goes on for ever."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._sent = 0

    def __aiter__(self) -> Items:
        return self

    async def __anext__(self) -> StreamItem:
        self._sent += 1
        if self._sent > 2:
            raise StopAsyncIteration
        state = TaskState.WORKING if self._sent == 1 else TaskState.COMPLETED
        if self._sent == 2 and self._text == "wait":
            await anyio.sleep_forever()
        if self._sent == 2:
            await anyio.sleep(0.3)  # so that the progress goes out
        status = TaskStatus(state=state, message=said("on it" if self._sent == 1 else self._text))
        return StatusUpdate(task_id="t", context_id="c", status=status)


class Agents:
    """The scripted agent, and the origin of every call."""

    hops = 0
    trace = None

    @asynccontextmanager
    async def borrow(self, arguments: CallArguments) -> AsyncIterator[Agents]:
        if arguments.message == "late":
            raise TimedOutError("it was silent for 30 s")
        yield self

    @asynccontextmanager
    async def stream(self, message: Message) -> AsyncIterator[AsyncIterator[StreamItem]]:
        [part] = message.parts
        assert isinstance(part, TextPart)
        yield Items(part.text)

    async def cancel_task(self, task_id: str) -> Task:
        print(f"cancelled {task_id}", flush=True)
        return Task(id=task_id, context_id="c", status=TaskStatus(state=TaskState.CANCELED))

    async def find(self, arguments: Mapping[str, object]) -> Agents:
        return self

    @contextmanager
    def attached(self, scope: anyio.CancelScope) -> Iterator[None]:
        yield

    def progress(self, text: str) -> None:
        pass


async def nothing_else(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer everybody who may not use the tool."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


async def serve(runtime_name: str) -> None:
    runtime = importlib.import_module(f"runtime_{runtime_name}")
    agents = Agents()
    endpoint = ToolEndpoint(PeerCalls(agents, agents), version="1", describe=lambda: "calls agents", anywhere=False)
    print(f"secret {endpoint.secret.reveal()}", flush=True)
    await serve_alone(runtime, endpoint.before(nothing_else))


if __name__ == "__main__":
    importlib.import_module(f"runtime_{sys.argv[1]}").run(partial(serve, sys.argv[1]))
