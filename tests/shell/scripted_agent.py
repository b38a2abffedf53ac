"""A small A2A agent that says what a test tells it to, over real sockets: an ASGI application without a framework.

Knows the codecs through the core's own rendering, and nothing of the client it is talked to by.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias

import anyio
import hypercorn.asyncio
import hypercorn.trio
import orjson
from attrs import define, field, frozen
from hypercorn.config import Config

from sansio.a2a.bindings.sse import encode
from sansio.a2a.codecs.registry import CODECS
from sansio.a2a.model import StreamItem

CARD_PATH: Final = "/.well-known/agent-card.json"
OLD_CARD_PATH: Final = "/.well-known/agent.json"

JSON: Final = {"content-type": "application/json"}
EVENTS: Final = {"content-type": "text/event-stream"}


class CutError(Exception):
    """Breaks the connection off in the middle of an answer."""


@frozen(kw_only=True)
class Request:
    """What the agent was asked."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


Piece: TypeAlias = bytes | anyio.Event | type[CutError]


@frozen(kw_only=True)
class Reply:
    """One answer: an event among the pieces is waited for; `CutError` ends the connection there."""

    status: int = 200
    headers: Mapping[str, str] = field(factory=dict)
    pieces: Sequence[Piece] = ()


@define(eq=False)
class ScriptedAgent:
    """Answers by path; the replies of a path are used in turn, the last one again and again."""

    replies: dict[str, list[Reply]] = field(factory=dict)
    requests: list[Request] = field(factory=list)

    def on(self, path: str, *replies: Reply) -> None:
        self.replies[path] = list(replies)

    def asked(self, path: str) -> list[Request]:
        return [request for request in self.requests if request.path == path]

    async def __call__(self, scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        if scope["type"] == "lifespan":
            for event in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{event}.complete"})
            return
        request = await _read(scope, receive)
        self.requests.append(request)
        waiting = self.replies.get(request.path, [Reply(status=404, pieces=[b"nothing here"])])
        await _answer(waiting.pop(0) if len(waiting) > 1 else waiting[0], send)


async def _read(scope: Any, receive: Callable[[], Any]) -> Request:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    headers = {name.decode(): value.decode() for name, value in scope["headers"]}
    return Request(method=scope["method"], path=scope["path"], headers=headers, body=body)


async def _answer(reply: Reply, send: Callable[[Any], Any]) -> None:
    headers = [(name.encode(), value.encode()) for name, value in reply.headers.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    for piece in reply.pieces:
        if isinstance(piece, bytes):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        elif isinstance(piece, anyio.Event):
            await piece.wait()
        else:
            raise piece
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def document(value: object, status: int = 200) -> Reply:
    """A JSON answer."""
    return Reply(status=status, headers=JSON, pieces=[orjson.dumps(value)])


def payload(item: StreamItem, binding: str, version: str) -> bytes:
    """An item as an agent says it on a binding and a line."""
    rendered = CODECS[version].render_item(item)
    return orjson.dumps({"jsonrpc": "2.0", "id": "1", "result": rendered} if binding == "JSONRPC" else rendered)


def stream(*said: StreamItem | Piece, binding: str = "JSONRPC", version: str = "1.0") -> Reply:
    """A streamed answer; items are framed, other pieces are taken as they are."""
    pieces = [
        one if isinstance(one, bytes | anyio.Event | type) else encode(payload(one, binding, version)) for one in said
    ]
    return Reply(headers=EVENTS, pieces=pieces)


def card(*interfaces: tuple[str, str, str], streaming: bool = True, extensions: Sequence[str] = ()) -> Reply:
    """A card of version 1.0: binding, line and URL of each interface."""
    return document(
        {
            "name": "scripted",
            "capabilities": {"streaming": streaming, "extensions": [{"uri": uri} for uri in extensions]},
            "supportedInterfaces": [
                {"protocolBinding": binding, "protocolVersion": version, "url": url}
                for binding, version, url in interfaces
            ],
        }
    )


@asynccontextmanager
async def serving(backend: str, app: ScriptedAgent) -> AsyncIterator[str]:
    """Serves the agent on a free loopback port with the loop's own Hypercorn; gives its base URL."""
    listening = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    config = Config()
    config.bind = [f"fd://{listening.detach()}"]
    config.graceful_timeout = 0.05
    config.loglevel = "CRITICAL"  # an answer that is cut is an error to the server
    stop = anyio.Event()
    serve: Any = hypercorn.trio.serve if backend == "trio" else hypercorn.asyncio.serve

    async def run() -> None:
        await serve(app, config, shutdown_trigger=stop.wait)

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        try:
            yield url
        finally:
            stop.set()
