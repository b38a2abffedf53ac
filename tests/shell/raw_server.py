"""A TCP server that answers requests with the bytes a test gives it, whole or in pieces, and may hang up.

Knows just enough of HTTP to see where a request ends.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from types import EllipsisType
from typing import Final, TypeAlias

import anyio
from anyio.abc import ByteStream
from attrs import define, field

from tests.listening import listening

HANG_UP = None
SILENCE: Final = ...  # until the client goes
Step: TypeAlias = bytes | anyio.Event | EllipsisType | None


def ok(body: bytes, *headers: str) -> bytes:
    """A whole answer of a known length."""
    head = "".join(f"{header}\r\n" for header in headers)
    return f"HTTP/1.1 200 OK\r\n{head}content-length: {len(body)}\r\n\r\n".encode() + body


def chunked(*bodies: bytes, ends: bool = True) -> bytes:
    """An answer in chunks."""
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(body), body) for body in bodies)
    return b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + chunks + (b"0\r\n\r\n" if ends else b"")


@define(eq=False)
class RawServer:
    """Answers in turn: steps of bytes to send, events to wait for, `SILENCE` until the client goes, `HANG_UP`.

    The last answer serves all further requests. `requests` holds what was asked, `connections` counts.
    """

    answers: list[Sequence[Step]]
    port: int = 0
    requests: list[bytes] = field(factory=list)
    connections: int = 0
    open: int = 0

    async def serve(self, stream: ByteStream) -> None:
        self.connections += 1
        self.open += 1
        try:
            async with stream:
                while await self._exchange(stream):
                    pass
        except (anyio.BrokenResourceError, anyio.EndOfStream):
            pass  # the client is gone, which is what some tests are about
        finally:
            self.open -= 1

    async def _exchange(self, stream: ByteStream) -> bool:
        data = b""
        while (length := _length(data)) is None or len(data) < length:
            data += await stream.receive()
        self.requests.append(data)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        for step in answer:
            if step is HANG_UP:
                return False
            if step is SILENCE:
                await stream.receive()
            elif isinstance(step, anyio.Event):
                await step.wait()
            else:
                await stream.send(step)
        return True


def _length(data: bytes) -> int | None:
    head, end, _ = data.partition(b"\r\n\r\n")
    if not end:
        return None
    found = re.search(rb"content-length: (\d+)", head)
    return len(head) + 4 + (int(found[1]) if found else 0)


@asynccontextmanager
async def answering(*answers: Sequence[Step], tls: ssl.SSLContext | None = None) -> AsyncGenerator[RawServer]:
    """Runs a server on a free loopback port."""
    server = RawServer(list(answers))
    async with listening(server.serve, tls) as server.port:
        yield server
