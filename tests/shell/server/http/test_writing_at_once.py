"""A body may be written past the application's task, while there is room: whole, in order, over TLS as well."""

from __future__ import annotations

import ssl
from typing import Any

import anyio
import h11
import httpx
import pytest
import trustme
from attrs import define, field

from sansio.transport.connections import ConnectionLimits
from tests.shell.harness import DEADLINE, served

pytestmark = pytest.mark.anyio

PIECE = 4096
MOST = 16 * 1024 * 1024
"""More than a socket and the server take from one whose client does not read."""


@define
class Writing:
    """An application that writes at once until it cannot, waits for its client, and goes on in turn."""

    rounds: int = 1
    answers: list[bool] = field(factory=list)
    sent: list[bytes] = field(factory=list)
    full: anyio.Event = field(factory=anyio.Event)
    status: int = 200
    fields: list[tuple[bytes, bytes]] = field(factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while True:
                message = await receive()
                await send({"type": f"{message['type']}.complete"})
                if message["type"] == "lifespan.shutdown":
                    return
        write = scope["extensions"]["http.response.now"]["call"]
        assert not write(b"before the head")
        await send({"type": "http.response.start", "status": self.status, "headers": self.fields, "more": True})
        if write(b"with the head;"):  # as HTTP/2 can
            self.sent.append(b"with the head;")
        for _ in range(self.rounds):
            await self._send(send, b"begun;")
            while len(self.sent) * PIECE < MOST and self._write(write, b"%d;" % len(self.sent) * (PIECE // 8)):
                pass
            self.full.set()
            await self._send(send, b"waited for;")
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        assert not write(b"behind the end")

    async def _send(self, send: Any, data: bytes) -> None:
        await send({"type": "http.response.body", "body": data, "more_body": True})
        self.sent.append(data)

    def _write(self, write: Any, data: bytes) -> bool:
        self.answers.append(write(data))
        if self.answers[-1]:
            self.sent.append(data)
        return self.answers[-1]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.mark.parametrize("http2", [False, True])
@pytest.mark.parametrize("encrypted", [False, True])
async def test_what_is_written_at_once_comes_whole_and_in_order_also_to_a_slow_client(
    anyio_backend: str, authority: trustme.CA, encrypted: bool, http2: bool
) -> None:
    app = Writing(rounds=2)
    ours, theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.issue_cert("127.0.0.1").configure_cert(ours)
    authority.configure_trust(theirs)
    ours.set_alpn_protocols(["h2" if http2 else "http/1.1"])
    limits = ConnectionLimits(http2=http2)
    async with (
        served(anyio_backend, app, limits=limits, tls=(lambda: ours) if encrypted else None) as url,
        httpx.AsyncClient(verify=theirs, timeout=DEADLINE, http1=not http2, http2=http2) as http,
        http.stream("GET", url) as response,
    ):
        with anyio.fail_after(DEADLINE):
            await app.full.wait()
        body = await response.aread()

    assert body == b"".join(app.sent)
    assert app.answers.count(True) > 2
    assert app.answers.count(False) == 2


async def test_nothing_is_written_at_once_into_a_body_of_a_known_length(anyio_backend: str) -> None:
    app = Writing(fields=[(b"content-length", b"17")])
    async with served(anyio_backend, app) as url, httpx.AsyncClient(timeout=DEADLINE) as http:
        response = await http.get(url)

    assert response.content == b"begun;waited for;"
    assert app.answers == [False]


async def test_nothing_is_written_at_once_after_the_client_has_left(anyio_backend: str) -> None:
    app = Writing(rounds=1)
    async with served(anyio_backend, app) as url:
        host, port = url.removeprefix("http://").split(":")
        async with await anyio.connect_tcp(host, int(port)) as raw:
            connection = h11.Connection(h11.CLIENT)
            await raw.send(connection.send(h11.Request(method="GET", target="/", headers=[("host", "x")])) or b"")
            with anyio.fail_after(DEADLINE):
                await app.full.wait()
    assert app.answers[-1] is False
