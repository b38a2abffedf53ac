"""Trailers after a response's body, for the bindings that end their answers with a status.

Knows no binding: what the trailers say is an argument.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, TypeAlias

Fields: TypeAlias = Sequence[tuple[str, str]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def with_trailers(send: Send, trailers: Callable[[], Fields]) -> Send:
    """Return `send`, so that the trailers follow the end of the body. `trailers`: called once that has come."""

    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            await send({**message, "trailers": True})
            return
        await send(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            fields = [(name.encode(), value.encode("latin-1")) for name, value in trailers()]
            await send({"type": "http.response.trailers", "headers": fields, "more_trailers": False})

    return sending
