"""Behaviour of the agents that are built with other people's libraries, and how they are served.

A message's first word says what the agent does. Knows none of the libraries, and imports nothing but Python's own
modules and uvicorn: it runs in their environments.
"""

# uvicorn is there in those environments alone.
# mypy: disable-error-code="import-not-found, import-untyped"

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable
from typing import Any

ASK, FAIL, WAIT, MESSAGE = "ask", "fail", "wait", "message"
"""Asks for a name and greets it; fails; works until it is canceled; answers with a message instead of a task.
Anything else is repeated, word by word."""

QUESTION = "What is your name?"
FAILURE = "It broke."
WAITING = "Waiting."
ARTIFACT = "answer"


def greeting(name: str) -> str:
    return f"Hello, {name}!"


def words(text: str) -> list[str]:
    """Cut a text into pieces that, put together, are the text again."""
    first, *rest = text.split(" ")
    return [first, *(f" {word}" for word in rest)]


class Guarded:
    """An ASGI application behind a bearer token; its card is public."""

    def __init__(self, app: Callable[..., Any], token: str) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        known = scope["type"] != "http" or scope["path"].startswith("/.well-known/")
        if known or dict(scope["headers"]).get(b"authorization") == self._expected:
            await self._app(scope, receive, send)
            return
        headers = [(b"content-type", b"application/json"), (b"www-authenticate", b"Bearer")]
        await send({"type": "http.response.start", "status": 401, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps({"detail": "Who are you?"}).encode()})


def serve(app_at: Callable[[str], Callable[..., Any]]) -> None:
    """Serve an application until the process is ended. `app_at`: makes it, given its URL. The token is the first
    argument.
    """
    import uvicorn

    listening = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    app = Guarded(app_at(url), sys.argv[1])
    config = uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1)
    print(f"listening on {url}", flush=True)
    uvicorn.Server(config).run(sockets=[listening])
