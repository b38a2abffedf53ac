"""Answers health checks and reflection, which anybody may ask for.

What an answer says is decided in `sansio.a2a.protobuf.services`. A client of reflection keeps its side open and asks
one thing after the other; it has a bound of time and of requests.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, MutableMapping
from contextlib import aclosing
from typing import Any, Final, TypeAlias

import anyio
from attrs import frozen

from opencode_a2a.server.http.stream_frames import Frames
from sansio.a2a.bindings import grpc
from sansio.a2a.bindings.http_messages import Response
from sansio.a2a.errors import ErrorKind, ProtocolError
from sansio.a2a.protobuf import services

Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]

CHECK_SECONDS: Final = 5.0
"""Seconds within which the request of a health check has to come."""

REFLECTION_SECONDS: Final = 10.0
"""Seconds for which a client may ask about services in one call."""

_MOST: Final = 100  # requests of reflection in one call


@frozen
class GrpcServices:
    """The services beside the protocol's. `unready`: returns why the server can take no work now."""

    versions: Collection[str]
    unready: Callable[[], Collection[str]]

    async def check(self, receive: Receive) -> Response:
        """Answer a health check. Raises `ProtocolError` where the request is none, or names an unknown service."""
        message = b""
        with anyio.move_on_after(CHECK_SECONDS) as patience:
            async with aclosing(_messages(receive)) as messages:
                message = await anext(messages, b"")
        if patience.cancelled_caught:
            raise ProtocolError(ErrorKind.REQUEST_TIMEOUT)
        answer = services.health(message, serving=not self.unready(), versions=self.versions)
        return Response(200, grpc.framed(answer), grpc.HEADERS, trailers=grpc.OK)

    async def reflect(self, path: str, receive: Receive) -> AsyncGenerator[Frames]:
        """Yield the answers to what is asked of reflection."""
        failure: ProtocolError | None = None
        left = _MOST
        with anyio.move_on_after(REFLECTION_SECONDS):
            try:
                async with aclosing(_messages(receive)) as messages:
                    async for message in messages:
                        yield Frames(grpc.framed(services.reflection(path, message, self.versions)))
                        left -= 1
                        if not left:
                            break
            except ProtocolError as error:
                failure = error
        yield Frames(b"", last=True, failure=failure)


async def _messages(receive: Receive) -> AsyncGenerator[bytes]:
    """Yield the messages of a request as they come. Raises `ProtocolError` for what is none, or too large."""
    reader = grpc.MessageReader(services.LARGEST)
    while True:
        event = await receive()
        if event["type"] != "http.request":
            return
        for message in reader.feed(event.get("body", b"")):
            yield message
        if not event.get("more_body", False):
            reader.end()
            return
