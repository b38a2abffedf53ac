"""A receiver of push notifications on a real socket, which answers as a test plans it, path by path.

Knows HTTP, and nothing of what is pushed.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import h11
import orjson
from anyio.abc import ByteStream
from attrs import define, field, frozen

from tests.listening import listening
from tests.shell.harness import DEADLINE
from tests.shell.raw_server import HANG_UP, SILENCE, Step


def answer(status: int, *headers: str, body: bytes = b"") -> Sequence[Step]:
    """A whole answer."""
    lines = "".join(f"{header}\r\n" for header in headers)
    return [f"HTTP/1.1 {status} Said\r\n{lines}content-length: {len(body)}\r\n\r\n".encode() + body]


OK = answer(204)


@frozen
class Received:
    """One request. Header names are lower-case."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def id(self) -> str:
        return self.headers["x-a2a-notification-id"]

    @property
    def number(self) -> int:
        """The event it tells of."""
        return int(self.id.rpartition("/")[2])


@define(eq=False)
class PushReceiver:
    """What came, in order, and what is answered: each plan once, its last one for ever; 204 where there is none."""

    port: int = 0
    received: list[Received] = field(factory=list)
    plans: dict[str, list[Sequence[Step]]] = field(factory=dict)
    connections: int = 0
    open: int = 0
    _changed: anyio.Event = field(factory=anyio.Event)

    def url(self, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def plan(self, path: str, *answers: Sequence[Step]) -> str:
        """Answer requests for the path like that; returns its URL."""
        self.plans[path] = list(answers)
        return self.url(path)

    def at(self, path: str) -> list[Received]:
        """What came for the path."""
        return [one for one in self.received if one.path == path]

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something that came makes it true."""
        with anyio.fail_after(DEADLINE):
            while not condition():
                await self._changed.wait()

    async def serve(self, stream: ByteStream) -> None:
        self.connections += 1
        self.open += 1
        try:
            async with stream:
                await self._answer(stream, await self._request(stream))
        except (anyio.BrokenResourceError, anyio.EndOfStream):
            pass  # the sender is gone, which is what some tests are about
        finally:
            self.open -= 1
            self._poke()

    async def _request(self, stream: ByteStream) -> Received:
        connection, body = h11.Connection(h11.SERVER), b""
        head: h11.Request | None = None
        while True:
            match event := connection.next_event():
                case h11.Request():
                    head = event
                case h11.Data():
                    body += event.data
                case h11.EndOfMessage():
                    break
                case _:
                    connection.receive_data(await stream.receive())
        assert head is not None
        assert head.method == b"POST"
        names = [name for name, _ in head.headers]
        assert len(names) == len(set(names))
        headers = {name.decode(): value.decode() for name, value in head.headers}
        return Received(head.target.decode(), headers, body)

    async def _answer(self, stream: ByteStream, request: Received) -> None:
        plans = self.plans.get(request.path, [OK])
        steps = plans.pop(0) if len(plans) > 1 else plans[0]
        self.received.append(request)
        self._poke()
        for step in steps:
            if step is HANG_UP:
                return
            if step is SILENCE:
                await stream.receive()
            elif isinstance(step, anyio.Event):
                await step.wait()
            else:
                await stream.send(step)

    def _poke(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()


@asynccontextmanager
async def receiving(tls: ssl.SSLContext | None = None) -> AsyncGenerator[PushReceiver]:
    """Runs a receiver on a free loopback port."""
    receiver = PushReceiver()
    async with listening(receiver.serve, tls) as receiver.port:
        yield receiver
