"""Connections over TLS, byte by byte: what is served, what is refused, and what ends by itself."""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx
import pytest
import trustme
from anyio.abc import SocketStream
from anyio.streams.tls import TLSStream
from attrs import evolve

from opencode_a2a.agent.application import application
from opencode_a2a.cli.connection_limits import connection_limits
from opencode_a2a.config.settings import Settings
from opencode_a2a.fake_opencode import HELLO
from opencode_a2a.server.certificates import ServedCertificate
from runtime_http.tls import PLAIN_HTTP
from sansio.transport.connections import ConnectionLimits
from tests.shell.cases import each_value
from tests.shell.harness import ALICE, CREDENTIALS, DEADLINE, REST_10, Caller, quick, served
from tests.shell.server.websocket.client import connection
from tests.shell.server.websocket.test_operations import started, text_of

pytestmark = pytest.mark.anyio

LARGE = b"x" * 3_000_000
GET = b"GET /%b HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    return context


@pytest.fixture
def settings(authority: trustme.CA, tmp_path: Path) -> Settings:
    """Settings with the certificate and key of localhost, in one file."""
    pem = tmp_path / "server.pem"
    authority.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(pem)
    pem.chmod(0o600)
    return Settings(tls_cert_file=str(pem), credentials=CREDENTIALS)


@pytest.fixture
def certificate(settings: Settings) -> ServedCertificate:
    made = ServedCertificate.of(evolve(settings, http2=True))
    assert made is not None
    return made


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the scheme; with much below `/large`; with the length of the body that it got to a POST."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    size, more = 0, scope["method"] == "POST"
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    body = LARGE if scope["path"] == "/large" else f"{scope['scheme']} {size}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


Connect = Callable[[], Any]


@asynccontextmanager
async def connected(url: str) -> AsyncGenerator[SocketStream]:
    where = urlsplit(url)
    assert where.hostname is not None
    async with await anyio.connect_tcp(where.hostname, where.port or 0) as raw:
        yield raw


async def wrapped(raw: SocketStream, context: ssl.SSLContext) -> TLSStream:
    with anyio.fail_after(DEADLINE):
        return await TLSStream.wrap(raw, hostname="localhost", ssl_context=context, standard_compatible=True)


async def rest(stream: SocketStream | TLSStream) -> bytes:
    """Everything that comes until the server ends the connection."""
    found = b""
    with anyio.fail_after(DEADLINE):
        while True:
            try:
                found += await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return found


def client(url: str, context: ssl.SSLContext, **more: Any) -> httpx.AsyncClient:
    headers = {"authorization": f"Bearer {ALICE}"}
    return httpx.AsyncClient(base_url=url, headers=headers, timeout=DEADLINE, verify=context, **more)


@pytest.mark.parametrize("http2", [False, True])
async def test_a_turn_is_streamed_and_the_card_names_https(
    anyio_backend: str, settings: Settings, certificate: ServedCertificate, trusting: ssl.SSLContext, http2: bool
) -> None:
    limits = ConnectionLimits(http2=http2)
    async with (
        served(anyio_backend, quick()) as opencode,
        application(_at(settings, opencode)) as running,
        served(anyio_backend, running.asgi, limits=limits, tls=certificate.context) as url,
        client(url, trusting, http1=not http2, http2=http2) as http,
    ):
        stream = await Caller(http, REST_10).stream("STEPS")
        card = await http.get("/.well-known/agent-card.json")

    assert stream.state == "completed"
    assert stream.text
    assert card.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
    assert {one["url"].partition(":")[0] for one in card.json()["supportedInterfaces"]} == {"https"}


async def test_websocket_over_tls_is_on_the_card_as_wss(
    anyio_backend: str, settings: Settings, certificate: ServedCertificate, authority: trustme.CA
) -> None:
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # of its own: clients of HTTP/2 change theirs
    authority.configure_trust(trusting)
    async with served(anyio_backend, quick()) as opencode:
        given = evolve(_at(settings, opencode), bindings=("JSONRPC", "WEBSOCKET"))
        async with (
            application(given) as running,
            served(anyio_backend, running.asgi, limits=connection_limits(given), tls=certificate.context) as url,
            connection(url, tls=trusting) as websocket,
            client(url, trusting) as http,
        ):
            await started(websocket, "hi")
            events = await websocket.to_end("s")
            card = await http.get("/.well-known/agent-card.json")

    assert text_of(events) == HELLO
    assert {one["url"].partition(":")[0] for one in card.json()["supportedInterfaces"]} == {"https", "wss"}


def _at(settings: Settings, opencode: str) -> Settings:
    return Settings(
        tls_cert_file=settings.tls_cert_file,
        credentials=CREDENTIALS,
        opencode_url=opencode,
        task_store_backend="memory",
        tool_enabled=False,
    )


@pytest.mark.parametrize("http2", [False, True])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
async def test_large_bodies_pass_in_both_directions(
    anyio_backend: str, authority: trustme.CA, certificate: ServedCertificate, http2: bool, version: ssl.TLSVersion
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = context.maximum_version = version
    authority.configure_trust(context)
    limits = ConnectionLimits(http2=http2)
    async with (
        served(anyio_backend, app, limits=limits, tls=certificate.context) as url,
        client(url, context, http1=not http2, http2=http2) as http,
    ):
        answers = [await http.get("/large"), await http.post("/", content=LARGE), await http.get("/")]

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert answers[0].content == LARGE
    assert answers[1].text == f"https {len(LARGE)}"
    assert {answer.http_version for answer in answers} == {"HTTP/2" if http2 else "HTTP/1.1"}


async def test_older_versions_than_1_2_are_refused(
    anyio_backend: str, authority: trustme.CA, certificate: ServedCertificate
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with served(anyio_backend, app, tls=certificate.context) as url, connected(url) as raw:
        with pytest.raises(ssl.SSLError, match=r"(?i)version|protocol"):
            await wrapped(raw, context)


async def test_a_client_that_speaks_plain_http_is_told_so_and_ends_at_once(
    anyio_backend: str, certificate: ServedCertificate
) -> None:
    async with served(anyio_backend, app, tls=certificate.context) as url, connected(url) as raw:
        await raw.send(GET % b"" + b"x" * 100_000)
        began = time.monotonic()
        found = await rest(raw)

    assert found == PLAIN_HTTP
    assert time.monotonic() - began < 9  # the handshake has 10


@each_value("data", [b"\x00" * 50, b"SSH-2.0-OpenSSH_9\r\n", b"\x16\x03\x01\x00\x05hello" * 9])
async def test_what_is_no_handshake_ends_at_once(
    anyio_backend: str, certificate: ServedCertificate, data: bytes
) -> None:
    async with served(anyio_backend, app, tls=certificate.context) as url, connected(url) as raw:
        await raw.send(data)
        began = time.monotonic()
        found = await rest(raw)

    assert len(found) < 20
    assert time.monotonic() - began < 9  # the handshake has 10


@each_value("sent", [b"", b"\x16\x03\x01\x02\x00\x01"])
async def test_a_client_that_stalls_in_the_handshake_is_ended(
    anyio_backend: str, certificate: ServedCertificate, trusting: ssl.SSLContext, sent: bytes
) -> None:
    limits = ConnectionLimits(head=0.3)
    async with served(anyio_backend, app, limits=limits, tls=certificate.context) as url, connected(url) as raw:
        if sent:
            await raw.send(sent)
        assert await rest(raw) == b""
        async with client(url, trusting) as http:
            assert (await http.get("/")).text == "https 0"


async def test_a_client_that_stalls_after_the_handshake_is_ended(
    anyio_backend: str, certificate: ServedCertificate, trusting: ssl.SSLContext
) -> None:
    limits = ConnectionLimits(head=3.0)
    async with served(anyio_backend, app, limits=limits, tls=certificate.context) as url, connected(url) as raw:
        stream = await wrapped(raw, trusting)
        await stream.send(b"GET / HTTP/1.1\r\n")
        assert await rest(stream) == b""


async def test_connections_in_the_handshake_are_counted(
    anyio_backend: str, certificate: ServedCertificate, trusting: ssl.SSLContext
) -> None:
    limits = ConnectionLimits(total=2)
    async with (
        served(anyio_backend, app, limits=limits, tls=certificate.context) as url,
        connected(url) as first,
        connected(url) as second,
        client(url, trusting) as http,
    ):
        assert (await http.get("/")).text == "https 0"
        assert await rest(first) == b""  # it made room
        await second.aclose()


async def test_a_connection_that_is_one_too_many_is_closed_without_a_handshake(
    anyio_backend: str, certificate: ServedCertificate, trusting: ssl.SSLContext
) -> None:
    began, go_on = anyio.Event(), anyio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            began.set()
            await go_on.wait()
        await app(scope, receive, send)

    limits = ConnectionLimits(total=1)
    async with (
        served(anyio_backend, slow, limits=limits, tls=certificate.context) as url,
        client(url, trusting) as http,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(http.get, "/")
        await began.wait()
        async with connected(url) as raw:
            assert await rest(raw) == b""
        go_on.set()


async def test_a_client_that_ends_its_side_gets_its_answer_and_the_proper_end(
    anyio_backend: str, certificate: ServedCertificate, trusting: ssl.SSLContext
) -> None:
    async with served(anyio_backend, app, tls=certificate.context) as url, connected(url) as raw:
        stream = await wrapped(raw, trusting)
        await stream.send(b"GET /large HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        await raw.send_eof()
        found = b""
        with anyio.fail_after(DEADLINE):
            while not found.endswith(LARGE):
                found += await stream.receive()
            with pytest.raises(anyio.EndOfStream):  # without the proper end, it would be a broken resource
                await stream.receive()


async def test_a_record_that_was_changed_ends_the_connection(
    anyio_backend: str, certificate: ServedCertificate, trusting: ssl.SSLContext
) -> None:
    async with served(anyio_backend, app, tls=certificate.context) as url, connected(url) as raw:
        await wrapped(raw, trusting)
        await raw.send(b"\x17\x03\x03\x00\x20" + b"x" * 32)
        began = time.monotonic()
        await rest(raw)

    assert time.monotonic() - began < 9  # the handshake has 10


async def test_a_client_that_does_not_read_is_cut_off(
    anyio_backend: str, certificate: ServedCertificate, trusting: ssl.SSLContext
) -> None:
    ended = anyio.Event()

    async def endless(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while (await _now(receive)) is None:
                await send({"type": "http.response.body", "body": LARGE, "more_body": True})
        finally:
            ended.set()

    async def _now(receive: Any) -> Any:
        with anyio.move_on_after(0.001):
            while (message := await receive())["type"] != "http.disconnect":
                pass
            return message
        return None

    limits = ConnectionLimits(write=0.3)
    async with served(anyio_backend, endless, limits=limits, tls=certificate.context) as url, connected(url) as raw:
        stream = await wrapped(raw, trusting)
        await stream.send(GET % b"")
        with anyio.fail_after(DEADLINE):
            await ended.wait()
