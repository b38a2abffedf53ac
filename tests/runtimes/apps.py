"""A tiny ASGI application for the tests of the runtimes, and a client that needs no event loop."""

from __future__ import annotations

import urllib.request
from typing import Any


async def hello(scope: Any, receive: Any, send: Any) -> None:
    """Answers every request with its path."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode()})


def get(address: str, path: str) -> bytes:
    """The body of an answer; blocks."""
    with urllib.request.urlopen(f"http://{address}{path}", timeout=20) as response:
        body: bytes = response.read()
        return body
