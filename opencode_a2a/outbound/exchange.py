"""One request and its answer over a connection, whichever version of HTTP it speaks."""

from __future__ import annotations

import ssl
from select import poll
from typing import Any, Final, Protocol, TypeAlias

import anyio
import httpx
from anyio.abc import ByteStream, SocketAttribute
from attrs import field, frozen

from sansio.outbound import Target

Headers: TypeAlias = list[tuple[bytes, bytes]]

BROKEN: Final = (anyio.BrokenResourceError, anyio.ClosedResourceError, ssl.SSLError)
"""Exceptions of a stream that is of no use any more."""

PING_AFTER: Final = 305.0
"""Seconds of silence after which HTTP/2 probes a peer. Servers of gRPC take no more than one ping in five minutes."""

_NOT_SENT: Final = frozenset({b"host", b"accept-encoding", b"cookie", b"proxy-authorization"})
"""Headers that the transport sets itself, and those by which a client of httpx would bring in a login or a past."""

_READABLE: Final = 1  # POLLIN


@frozen
class Key:
    """Purpose of a connection: requests to one origin, with or without credentials, over one version of HTTP."""

    origin: str
    credentials: bool
    http2: bool = False


@frozen
class AnswerHead:
    """Head of an answer. `extensions`: those of httpx."""

    status: int
    headers: Headers = field(repr=False)
    extensions: dict[str, Any] = field(repr=False)


@frozen
class Switched:
    """A connection that speaks another protocol from now on. `ahead`: what has come of that already."""

    stream: ByteStream
    ahead: bytes = field(repr=False)


class Connection(Protocol):
    """A connection for one request after another. `idle_until`: how long it may be kept."""

    key: Key
    idle_until: float

    async def send(self, request: httpx.Request, target: Target, seconds: float) -> None:
        """Send a request; each piece may take some seconds. A failure may be left to `head`."""

    async def head(self) -> AnswerHead:
        """Return the head of the answer."""

    async def part(self) -> bytes | None:
        """Return what has come of the body; None at its end. An empty part is a sign of life."""

    def is_reusable(self) -> bool:
        """Return whether the exchange is over and another may follow; prepare it."""

    async def is_dead(self) -> bool:
        """Return whether an idle connection is of no use any more."""

    async def aclose(self) -> None:
        """Close it at once."""


def sent_headers(request: httpx.Request) -> Headers:
    """Return the headers of a request that are sent, without the host."""
    headers = [(name, value) for name, value in request.headers.raw if name.lower() not in _NOT_SENT]
    return [(b"Accept-Encoding", b"identity"), *headers]


def is_readable(stream: ByteStream) -> bool:
    """Return whether there is something to read from a stream, or its end."""
    poller = poll()
    try:
        poller.register(stream.extra(SocketAttribute.raw_socket).fileno(), _READABLE)
    except (AttributeError, ValueError):
        return True  # closed by the other end already: there is no socket any more, or none with a number
    return bool(poller.poll(0))
