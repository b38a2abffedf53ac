"""Serves the metrics on a port of their own, to whoever reaches it. The main port has them behind a credential."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from sansio.a2a.bindings.http_messages import Response
from sansio.a2a.errors import ErrorKind, ProtocolError
from sansio.access import Identity
from sansio.http import METRICS_CAPABILITY, METRICS_PATH

Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class MetricsEndpoint:
    """An ASGI application with one path. `text`: writes the metrics, `content_type` says in which format."""

    def __init__(self, text: Callable[[], Awaitable[bytes]], content_type: str) -> None:
        self._text = text
        self._content_type = content_type

    async def response(self, identity: Identity) -> Response:
        """Answer a caller of the main port. Raises `ProtocolError` (FORBIDDEN) without the capability."""
        if METRICS_CAPABILITY not in identity.capabilities:
            raise ProtocolError(
                ErrorKind.FORBIDDEN,
                f"The credential lacks the capability {METRICS_CAPABILITY}",
                metadata={"capability": METRICS_CAPABILITY},
            )
        headers = (("content-type", self._content_type), ("cache-control", "no-store"))
        return Response(200, await self._text(), headers)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def _answer(self, scope: MutableMapping[str, Any], send: Send) -> None:
        status, body = 200, b""
        if scope["path"] != METRICS_PATH:
            status = 404
        elif scope["method"] not in ("GET", "HEAD"):
            status = 405
        else:
            body = await self._text()
        headers = [
            (b"content-type", self._content_type.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
            *([(b"allow", b"GET, HEAD")] if status == 405 else []),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        shown = b"" if scope["method"] == "HEAD" else body
        await send({"type": "http.response.body", "body": shown, "more_body": False})


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
