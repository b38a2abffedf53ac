"""Connections from outside, byte by byte: what is refused, what ends by itself, what is left of those that left."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import anyio.lowlevel
import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings
import orjson
import pytest
from anyio.abc import SocketStream

from opencode_a2a.cli.connection_limits import connection_limits
from opencode_a2a.config.settings import Settings
from opencode_a2a.fake_opencode import Say
from opencode_a2a.server.http import asgi
from sansio import http
from sansio.guards.hosts import ServedHosts
from sansio.transport.connections import ConnectionLimits
from tests.shell.harness import ALICE, DEADLINE, REST_10, Serving, served, until

pytestmark = pytest.mark.anyio

CARD = b"GET /.well-known/agent-card.json HTTP/1.1\r\nHost: a\r\n\r\n"
PROOF = f"Authorization: Bearer {ALICE}\r\nA2A-Version: 1.0\r\n".encode()
POST = b"POST /message:send HTTP/1.1\r\nHost: a\r\n"
HEALTH = b"GET /health HTTP/1.1\r\nHost: a\r\n" + PROOF
FILE_DESCRIPTORS = Path("/proc/self/fd")
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


@asynccontextmanager
async def connected(url: str) -> AsyncGenerator[SocketStream]:
    where = urlsplit(url)
    assert where.hostname is not None
    assert where.port is not None
    async with await anyio.connect_tcp(where.hostname, where.port) as raw:
        yield raw


async def rest(raw: SocketStream) -> bytes:
    """Everything that comes until the server ends the connection, which has to be by its proper end."""
    found = b""
    with anyio.fail_after(DEADLINE):
        while True:
            try:
                found += await raw.receive()
            except anyio.EndOfStream:
                return found


async def until_closed(raw: SocketStream) -> None:
    """Until the server ends the connection, in whichever way."""
    with anyio.fail_after(DEADLINE):
        try:
            while True:
                await raw.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return


async def answered(raw: SocketStream, head: bytes = b"HTTP/1.1 200") -> bytes:
    """One answer with a known length; what comes behind it must not come yet."""
    found = b""
    with anyio.fail_after(DEADLINE):
        while b"\r\n\r\n" not in found:
            found += await raw.receive()
        assert found.startswith(head), found
        start, _, body = found.partition(b"\r\n\r\n")
        [length] = [line for line in start.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        while len(body) < int(length.split(b":")[1]):
            body += await raw.receive()
    return body


async def said_at_once(url: str, data: bytes) -> bytes:
    async with connected(url) as raw:
        await raw.send(data)
        return await rest(raw)


def unread(url: str) -> socket.socket:
    """A connection of a client that never reads, through as little buffer as the kernel grants."""
    where = urlsplit(url)
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
    raw.connect((where.hostname, where.port))
    raw.setblocking(False)
    return raw


# --- what ends ---------------------------------------------------------------------------------------------


@pytest.mark.skipif(not FILE_DESCRIPTORS.exists(), reason="file descriptors are counted in Linux's /proc")
async def test_connections_that_their_clients_closed_leave_no_file_descriptor(serving: Serving) -> None:
    async with serving() as agent:
        async with connected(agent.url) as raw:
            await raw.send(CARD)
            await answered(raw)
        await agent.caller().send("hi")  # after which the server has opened all of its own
        before = len(os.listdir(FILE_DESCRIPTORS))
        for _ in range(60):
            async with connected(agent.url) as raw:
                await raw.send(CARD)
                await answered(raw)
        await until(lambda: len(os.listdir(FILE_DESCRIPTORS)) <= before)


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET / HTTP/1.1\r\nHost: a\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"],
    ids=["nothing", "half a head", "preface"],
)
async def test_a_connection_without_a_request_ends(anyio_backend: str, sent: bytes) -> None:
    limits = ConnectionLimits(head=0.3, http2=True)
    async with served(anyio_backend, app, limits=limits) as url, connected(url) as raw:
        if sent:
            await raw.send(sent)
        await until_closed(raw)


async def test_a_head_that_drips_ends(anyio_backend: str) -> None:
    async with served(anyio_backend, app, limits=ConnectionLimits(head=0.3)) as url, connected(url) as raw:
        await raw.send(b"GET / HTTP/1.1\r\nX: ")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(drip, raw)
            await until_closed(raw)
            tasks.cancel_scope.cancel()


async def drip(raw: SocketStream) -> None:
    """Send a byte whenever the last one is gone and a little time has passed."""
    while True:
        try:
            await raw.send(b"x")
        except anyio.BrokenResourceError:
            return
        await anyio.sleep(0.02)


@pytest.mark.parametrize("more", [b"", b"GET /"], ids=["nothing", "half a head"])
async def test_a_connection_that_is_kept_alive_ends(anyio_backend: str, more: bytes) -> None:
    limits = ConnectionLimits(head=0.3, idle=0.3)
    async with served(anyio_backend, app, limits=limits) as url, connected(url) as raw:
        await raw.send(CARD)
        await answered(raw)
        if more:
            await raw.send(more)
        await until_closed(raw)


async def test_a_client_that_left_holds_its_connection_no_longer_than_its_answer_may_take(anyio_backend: str) -> None:
    limits = ConnectionLimits(gone=0.3)
    async with served(anyio_backend, app, limits=limits) as url:
        async with connected(url) as raw:  # its answer never comes
            await raw.send(b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n")
            await raw.send_eof()
            await until_closed(raw)
        async with connected(url) as raw:  # its answer comes in time
            await raw.send(CARD)
            await raw.send_eof()
            assert (await rest(raw)).endswith(b"answer")


async def test_a_client_of_http_2_that_left_holds_its_connection_no_longer(anyio_backend: str) -> None:
    limits = ConnectionLimits(gone=600, http2=True)
    async with served(anyio_backend, app, limits=limits) as url, connected(url) as raw:
        await raw.send(http2_get("/never"))
        await raw.send_eof()
        await until_closed(raw)


@pytest.mark.parametrize("http2", [False, True])
async def test_a_client_that_does_not_read_is_cut_off(anyio_backend: str, http2: bool) -> None:
    left = anyio.Event()

    async def endless(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await app(scope, receive, send)
            return

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            left.set()

        await send({"type": "http.response.start", "status": 200, "headers": []})
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch)
            while not left.is_set():
                await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
                await anyio.lowlevel.checkpoint()

    limits = ConnectionLimits(write=0.3, http2=True)
    async with served(anyio_backend, endless, limits=limits) as url:
        with unread(url) as raw:
            raw.send(http2_get() if http2 else CARD)
            with anyio.fail_after(DEADLINE):
                await left.wait()


def http2_get(path: str = "/") -> bytes:
    """A request over HTTP/2, from the first byte of the connection on."""
    client = h2.connection.H2Connection(h2.config.H2Configuration())
    client.initiate_connection()
    request = [(":method", "GET"), (":path", path), (":scheme", "http"), (":authority", "a")]
    client.send_headers(1, request, end_stream=True)
    return client.data_to_send()


async def test_unread_answers_do_not_keep_a_server_that_stops(anyio_backend: str, serving: Serving) -> None:
    async with serving() as agent:
        started = 0.0
        async with served(anyio_backend, agent.running.asgi, grace=0.2) as url:
            readers = [unread(url) for _ in range(10)]
            for raw in readers:
                raw.send(b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n" * 400)
            async with connected(url) as other:  # by its answer, the others' have begun
                await other.send(CARD)
                await answered(other)
            started = anyio.current_time()
        took = anyio.current_time() - started
        for raw in readers:
            raw.close()

    assert took < DEADLINE / 6


async def test_unread_streams_do_not_keep_a_server_that_stops(anyio_backend: str, serving: Serving) -> None:
    async with serving() as agent:
        async with served(anyio_backend, agent.running.asgi, grace=0.2) as url:
            readers = [unread(url) for _ in range(10)]
            for number, raw in enumerate(readers):
                raw.send(stream_request(f"LONG 1000 {number}"))
            await until(lambda: agent.running.tasks.open_streams == 10)
            started = anyio.current_time()
        took = anyio.current_time() - started
        for raw in readers:
            raw.close()
        await until(lambda: agent.running.tasks.open_streams == 0)

    assert took < DEADLINE / 6


def stream_request(text: str) -> bytes:
    body = orjson.dumps({"message": REST_10.message(text)})
    head = b"POST /message:stream HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n" + PROOF
    return head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


@pytest.mark.parametrize("limit", ["stream_max_duration_seconds", "stream_idle_timeout_seconds"])
async def test_the_limits_of_streams_bind_a_client_that_does_not_read(serving: Serving, limit: str) -> None:
    limits: dict[str, Any] = {limit: 0.4}
    async with serving(**limits) as agent:
        raw = unread(agent.url)
        with raw:
            raw.send(stream_request("LONG 3000"))
            await until(lambda: agent.running.tasks.open_streams == 1)
            await until(lambda: agent.running.tasks.open_streams == 0)


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: 1000\r\n\r\n{",
        b"Transfer-Encoding: chunked\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n5;x=",
    ],
    ids=["length", "no chunk", "half a chunk size"],
)
async def test_a_body_that_stalls_is_an_error_that_says_so(
    serving: Serving, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    monkeypatch.setattr(http, "BODY_SECONDS", 0.3)
    async with serving() as agent:
        said = await said_at_once(agent.url, POST + PROOF + b"Content-Type: application/json\r\n" + body)

    assert said.startswith(b"HTTP/1.1 408 ")
    assert b"did not arrive in time" in said


# --- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding:\r\n chunked\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Content-Length: 5\r\nContent-Length: 5\r\n",
        b"Content-Length: 5, 5\r\n",
        b"Content-Length: -1\r\n",
    ],
)
@pytest.mark.parametrize("before", [b"", CARD], ids=["first", "second"])
async def test_a_request_whose_end_is_doubtful_is_refused_and_nothing_behind_it_is_answered(
    serving: Serving, framing: bytes, before: bytes
) -> None:
    async with serving() as agent:
        said = await said_at_once(agent.url, before + POST + PROOF + framing + b"\r\n0\r\n\r\n" + CARD)

    assert said.count(b"HTTP/1.1 ") == (2 if before else 1)
    assert said[said.rindex(b"HTTP/1.1 ") :].startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("line", [b"X: a\nTransfer-Encoding: chunked\r\n", b"X: a\n", b"X: a\r\n\n"])
async def test_a_head_with_a_line_without_cr_is_refused(serving: Serving, line: bytes) -> None:
    async with serving() as agent:
        said = await said_at_once(agent.url, HEALTH + line + b"\r\n" + CARD)

    assert said.startswith(b"HTTP/1.1 400 ")
    assert said.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
@pytest.mark.parametrize("behind", [b"\r\n", CARD, b"x" * 200_000], ids=["empty line", "request", "much"])
@pytest.mark.parametrize("late", [False, True], ids=["at once", "later"])
async def test_what_follows_the_last_request_of_a_connection_is_ignored(
    serving: Serving, version: bytes, behind: bytes, late: bool
) -> None:
    request = stream_request("LONG 20")
    request = request.replace(b"HTTP/1.1\r\n", b"HTTP/%b\r\nConnection: close\r\n" % version, 1)
    async with serving() as agent, connected(agent.url) as raw:
        if late:
            agent.fake_opencode.hold(Say, tokens=5)
        await raw.send(request if late else request + behind)
        with anyio.fail_after(DEADLINE):
            said = await raw.receive()
        if late:
            await agent.fake_opencode.held()
            await raw.send(behind)
            agent.fake_opencode.release()
        said += await rest(raw)

    assert said.startswith(b"HTTP/1.1 200 ")
    assert said.count(b"HTTP/1.1 ") == 1
    assert b"TASK_STATE_COMPLETED" in said


async def test_empty_lines_ahead_of_a_request_are_ignored(serving: Serving) -> None:
    async with serving() as agent, connected(agent.url) as raw:
        await raw.send(b"\r\n" + CARD)
        await answered(raw)
        await raw.send(POST + PROOF + b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}\r\n")
        await answered(raw, b"HTTP/1.1 400")
        for part in (CARD, b"\r", b"\n" + CARD):
            await raw.send(part)
            if part.endswith(CARD):
                await answered(raw)


async def test_an_absolute_target_gives_path_and_host(serving: Serving) -> None:
    async with serving(allowed_hosts=ServedHosts.of(["a.example"])) as agent:
        for authority, host, status in (
            (b"a.example", b"other", b"200"),
            (b"other", b"a.example", b"400"),
            (b"x@a.example", b"a.example", b"400"),
        ):
            request = b"GET http://%b/health HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n" % (authority, host)
            said = await said_at_once(agent.url, request + PROOF + b"\r\n")
            assert said.startswith(b"HTTP/1.1 " + status)


async def test_a_host_header_that_is_no_host_is_refused(serving: Serving) -> None:
    async with serving() as agent:
        said = await said_at_once(agent.url, b"GET /health HTTP/1.1\r\nHost: a@b/c?d\r\nConnection: close\r\n\r\n")

    assert said.startswith(b"HTTP/1.1 400 ")


CHUNKED = POST + PROOF + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"


async def test_a_body_of_many_small_chunks_is_refused(serving: Serving) -> None:
    async with serving() as agent:
        said = await said_at_once(agent.url, CHUNKED + b"1\r\n \r\n" * 5000 + b"0\r\n\r\n")
        health = await agent.http.get("/health")

    assert said.startswith(b"HTTP/1.1 400 ")
    assert said.count(b"HTTP/1.1 ") == 1
    assert health.status_code == 200


async def test_pieces_of_a_body_that_came_together_are_given_together(anyio_backend: str) -> None:
    received: list[bytes] = []

    async def reading(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            more = True
            while more:
                message = await receive()
                received.append(message["body"])
                more = message["more_body"]
        await app(scope, receive, send)

    async with served(anyio_backend, reading) as url, connected(url) as raw:
        await raw.send(CHUNKED + b"1\r\n \r\n" * 900 + b"0\r\n\r\n")
        await answered(raw)

    assert b"".join(received) == b" " * 900
    assert len(received) < 30


@pytest.mark.parametrize("name", ["Authorization: Bearer wrong", "Content-Type: text/plain"])
async def test_a_header_that_decides_comes_once(serving: Serving, name: str) -> None:
    async with serving() as agent:
        for first, second in ((name, ""), ("", name)):
            lines = [first, f"Authorization: Bearer {ALICE}", "Content-Type: application/json", second, "Host: a"]
            head = "\r\n".join(["GET /health HTTP/1.1", *filter(None, lines), "Connection: close", "", ""])
            said = await said_at_once(agent.url, head.encode())

            assert said.startswith(b"HTTP/1.1 400 ")
            assert b"comes twice" in said


async def test_no_client_is_asked_for_a_body_that_will_not_be_read(serving: Serving) -> None:
    expecting = b"Expect: 100-continue\r\nContent-Length: "
    async with serving(max_request_body_bytes=1000) as agent:
        unknown = await said_at_once(agent.url, POST + expecting + b"10\r\n\r\n")
        large = await said_at_once(agent.url, POST + PROOF + expecting + b"9000\r\n\r\n")
        async with connected(agent.url) as raw:
            await raw.send(POST + PROOF + b"Content-Type: application/json\r\n" + expecting + b"2\r\n\r\n")
            with anyio.fail_after(DEADLINE):
                asked = await raw.receive()
            await raw.send(b"{}")
            answer = await answered(raw, b"HTTP/1.1 400")

    assert unknown.startswith(b"HTTP/1.1 401 ")
    assert large.startswith(b"HTTP/1.1 413 ")
    assert asked.startswith(b"HTTP/1.1 100 ")
    assert b"message" in answer


async def test_who_sends_on_after_a_refusal_reads_its_whole_body(serving: Serving) -> None:
    async with serving() as agent:
        for framing, more in (
            (b"Content-Length: 400000\r\n\r\n", b"x" * 300_000),
            (b"Content-Length: 2\r\n\r\n{}", b""),
        ):
            async with connected(agent.url) as raw:
                await raw.send(POST + framing + more)
                body = await answered(raw, b"HTTP/1.1 401")
                assert orjson.loads(body)["error"]["code"] == 401


@pytest.mark.parametrize("path", [b"/tasks/none:subscribe", b"/tasks/none", b"/health"])
async def test_a_body_that_means_nothing_is_read_over(serving: Serving, path: bytes) -> None:
    async with serving() as agent, connected(agent.url) as raw:
        for _ in range(3):
            await raw.send(b"GET %b HTTP/1.1\r\nHost: a\r\n%bContent-Length: 5\r\n\r\nhello" % (path, PROOF))
            await answered(raw, b"HTTP/1.1 200" if path == b"/health" else b"HTTP/1.1 404")


async def test_streams_whose_request_had_a_body_leave_no_connection(serving: Serving) -> None:
    async with serving() as agent:
        agent.fake_opencode.hold(Say, tokens=1)
        async with agent.caller(REST_10).open("hi") as stream:
            await stream.until(lambda: stream.text)
            path = f"/tasks/{stream.task.id}:subscribe".encode()
            request = b"GET %b HTTP/1.1\r\nHost: a\r\n%bContent-Length: 5\r\n\r\nhello" % (path, PROOF)
            for _ in range(5):
                async with connected(agent.url) as raw:
                    await raw.send(request)
                    await raw.receive()
            agent.fake_opencode.release()
            await stream.whole()
        await until(lambda: agent.running.tasks.open_streams == 0)


# --- HTTP/2 and other protocols -----------------------------------------------------------------------------

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


async def test_http2_is_refused_unless_it_is_on(serving: Serving) -> None:
    async with serving() as agent:
        said = await said_at_once(agent.url, PREFACE + b"\0\0\0\4\0\0\0\0\0" * 1000)

    assert said.startswith(b"HTTP/1.1 505 ")


@pytest.mark.parametrize("http2", [False, True])
@pytest.mark.parametrize("protocol", [b"h2c", b"websocket"])
async def test_no_connection_is_switched_to_another_protocol(serving: Serving, protocol: bytes, http2: bool) -> None:
    upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\nUpgrade: " + protocol + b"\r\n\r\n"
    async with serving(http2=http2) as agent, connected(agent.url) as raw:
        await raw.send(CARD.removesuffix(b"\r\n") + upgrade)
        first = await answered(raw)
        await raw.send(CARD)
        second = await answered(raw)

    assert first == second


@pytest.mark.parametrize("requests", [1, 100])
async def test_requests_over_http2_that_are_never_whole_end_with_their_connection(
    anyio_backend: str, serving: Serving, monkeypatch: pytest.MonkeyPatch, requests: int
) -> None:
    monkeypatch.setattr(asgi, "LINGER", 0.2)
    limits = ConnectionLimits(idle=0.3, http2=True)
    client = h2.connection.H2Connection(h2.config.H2Configuration())
    client.initiate_connection()
    head = [(":method", "POST"), (":path", "/"), (":scheme", "http"), (":authority", "a")]
    for number in range(requests):
        client.send_headers(2 * number + 1, head)
    async with (
        serving() as agent,
        served(anyio_backend, agent.running.asgi, limits=limits) as url,
        connected(url) as raw,
    ):
        await raw.send(client.data_to_send())
        await until_closed(raw)


async def test_answers_that_wait_for_room_over_http2_end_with_their_connection(
    anyio_backend: str, serving: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    limits = ConnectionLimits(write=0.3, http2=True)
    client = h2.connection.H2Connection(h2.config.H2Configuration())
    client.local_settings[h2.settings.SettingCodes.INITIAL_WINDOW_SIZE] = 0
    client.initiate_connection()
    head = [(":method", "GET"), (":path", "/openapi.json"), (":scheme", "http"), (":authority", "a")]
    for number in range(50):
        client.send_headers(2 * number + 1, head, end_stream=True)
    async with (
        serving() as agent,
        served(anyio_backend, agent.running.asgi, limits=limits) as url,
        connected(url) as raw,
    ):
        await raw.send(client.data_to_send())
        await until_closed(raw)

    assert "a connection failed" not in caplog.text


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    ("path", "field", "status"), [(b"/" + b"a" * 9000, b"b", b"414"), (b"/", b"b" * 17_000, b"431")]
)
async def test_a_head_that_is_too_large_is_refused_and_its_connection_ends(
    serving: Serving, path: bytes, field: bytes, status: bytes, whole: bool
) -> None:
    head = b"GET " + path + b" HTTP/1.1\r\nHost: a\r\nX: " + field
    async with serving() as agent:
        said = await said_at_once(agent.url, head + (b"\r\n\r\n" + CARD if whole else b""))

    assert said.startswith(b"HTTP/1.1 " + status)
    assert b"connection: close" in said.lower()
    assert said.count(b"HTTP/1.1 ") == 1


FIELDS = b"a:\r\n" * 4000
UPLOAD = POST + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "request_of_many_fields",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\n" + FIELDS + b"\r\n" + CARD,
        b"GET / HTTP/1.1\r\nHost: a\r\n" + FIELDS,
        b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n" + FIELDS + b"\r\n",
        UPLOAD + b"0\r\n" + FIELDS + b"\r\n",
        UPLOAD + b"0\r\n" + FIELDS,
        UPLOAD + b"5;a=b\r\n01234\r\n000\r\n" + FIELDS + b"\r\n" + CARD,
    ],
    ids=["whole", "no end", "empty lines", "trailers", "trailers without end", "trailers behind a chunk"],
)
async def test_a_request_with_too_many_fields_is_refused_and_its_connection_ends(
    anyio_backend: str, request_of_many_fields: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(anyio_backend, app_that_reads) as url:
        said = await said_at_once(url, request_of_many_fields)

    assert said.startswith(b"HTTP/1.1 431")
    assert b"connection: close" in said.lower()
    assert said.count(b"HTTP/1.1 ") == 1
    assert "a connection failed" not in caplog.text


async def test_what_comes_in_single_bytes_is_judged_the_same(
    anyio_backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    fields = b"a:\r\n" * 127
    good = b"\r\nPOST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n" + fields[4:] + b"\r\n"
    good += b"5\r\n0\r\n\r\n\r\n0\r\n" + fields + b"\r\n"
    async with served(anyio_backend, app_that_reads) as url, connected(url) as raw:
        raw.extra(anyio.abc.SocketAttribute.raw_socket).setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(2):
            for byte in good:
                await raw.send(bytes([byte]))
            assert await answered(raw) == b"0\r\n\r\n"
        await raw.send(good + good[:-2])
        assert await answered(raw) == b"0\r\n\r\n"
        for byte in b"a:\r\n" * 2:
            await raw.send(bytes([byte]))
        assert (await rest(raw)).startswith(b"HTTP/1.1 431")

    assert "a connection failed" not in caplog.text


async def app_that_reads(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    """Answers with the body, once it is whole."""
    if scope["type"] == "lifespan":
        await app(scope, receive, send)
        return
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
        if not message.get("more_body"):
            break
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def test_a_head_of_the_largest_size_is_answered(serving: Serving) -> None:
    head = b"GET /health?" + b"a" * 8160 + b" HTTP/1.1\r\nHost: a\r\nX: " + b"b" * 16_200 + b"\r\n"
    async with serving() as agent:
        said = await said_at_once(agent.url, head + PROOF + b"Connection: close\r\n\r\n")

    assert said.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(("path", "field", "status"), [("/" + "a" * 9000, "b", b"414"), ("/", "b" * 17_000, b"431")])
async def test_a_head_that_is_too_large_over_http2_is_refused_and_others_are_answered(
    anyio_backend: str, caplog: pytest.LogCaptureFixture, path: str, field: str, status: bytes
) -> None:
    client = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
    client.initiate_connection()
    head = [(":method", "POST"), (":scheme", "http"), (":authority", "a")]
    client.send_headers(1, [*head, (":path", path), ("x", field)])
    client.send_data(1, b"x" * 1000, end_stream=True)
    client.send_headers(3, [*head, (":path", "/")], end_stream=True)
    statuses: dict[int | None, bytes] = {}
    async with served(anyio_backend, app, limits=ConnectionLimits(http2=True)) as url, connected(url) as raw:
        await raw.send(client.data_to_send())
        with anyio.fail_after(DEADLINE):
            while len(statuses) < 2:
                for event in client.receive_data(await raw.receive()):
                    if isinstance(event, h2.events.ResponseReceived):
                        statuses[event.stream_id] = dict(event.headers)[b":status"]

    assert statuses == {1: status, 3: b"200"}
    assert "a connection failed" not in caplog.text


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """A frame of HTTP/2."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


@pytest.mark.parametrize(("count", "status"), [(100, b"200"), (129, b"431"), (250, b"431")])
async def test_a_head_of_too_many_fields_over_http2_is_refused(
    anyio_backend: str, count: int, status: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    client = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
    client.initiate_connection()
    head = [(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/")]
    client.send_headers(1, [*head, *[("x", "y")] * count], end_stream=True)
    found = b""
    async with served(anyio_backend, app, limits=ConnectionLimits(http2=True)) as url, connected(url) as raw:
        await raw.send(client.data_to_send())
        with anyio.fail_after(DEADLINE):
            while not found:
                for event in client.receive_data(await raw.receive()):
                    if isinstance(event, h2.events.ResponseReceived):
                        found = dict(event.headers)[b":status"]

    assert found == status
    assert "a connection failed" not in caplog.text


SIZES = b"\x20" * 16_000  # changes of the size of the decoder's table


@pytest.mark.parametrize(
    "frames",
    [
        frame(1, 5, 1, b"\x82\x86\x84\x41\x01a" + b"\x90" * 300),
        frame(1, 5, 1, SIZES),
        frame(1, 1, 1, SIZES) + frame(9, 0, 1, SIZES) * 20 + frame(9, 4, 1, SIZES),
        frame(1, 1, 1, b"\x00\x01a\x7f\x81\xf3\x01" + SIZES) + frame(9, 4, 1, SIZES),
    ],
    ids=["fields", "sizes", "continued", "one field"],
)
async def test_a_header_block_that_is_costly_to_decode_ends_its_connection(
    anyio_backend: str, caplog: pytest.LogCaptureFixture, frames: bytes
) -> None:
    client = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
    client.initiate_connection()
    async with served(anyio_backend, app, limits=ConnectionLimits(http2=True)) as url, connected(url) as raw:
        await raw.send(client.data_to_send() + frames)
        received = await rest(raw)

    events = client.receive_data(received)
    [ended] = [event for event in events if isinstance(event, h2.events.ConnectionTerminated)]
    assert ended.error_code is h2.errors.ErrorCodes.ENHANCE_YOUR_CALM
    assert "a connection failed" not in caplog.text


async def until_ended(client: h2.connection.H2Connection, raw: SocketStream, number: int) -> None:
    """Read until a stream has its whole answer."""
    with anyio.fail_after(DEADLINE):
        while True:
            for event in client.receive_data(await raw.receive()):
                if isinstance(event, h2.events.StreamEnded) and event.stream_id == number:
                    return


async def test_a_body_that_goes_on_after_its_answer_over_http2_is_thrown_away(
    anyio_backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = h2.connection.H2Connection(h2.config.H2Configuration())
    client.initiate_connection()
    head = [(":method", "POST"), (":path", "/"), (":scheme", "http"), (":authority", "a")]
    client.send_headers(1, head)
    async with served(anyio_backend, app, limits=ConnectionLimits(http2=True)) as url, connected(url) as raw:
        await raw.send(client.data_to_send())
        await until_ended(client, raw, 1)
        client.send_data(1, b"x" * 1000)
        client.send_headers(3, [(":method", "GET"), *head[1:]], end_stream=True)
        await raw.send(client.data_to_send())
        await until_ended(client, raw, 3)

    assert "a connection failed" not in caplog.text


async def test_the_head_of_an_answer_over_http2_does_not_wait_for_its_body(anyio_backend: str) -> None:
    async def slow(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await app(scope, receive, send)
        else:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await anyio.sleep_forever()

    client = h2.connection.H2Connection(h2.config.H2Configuration())
    client.initiate_connection()
    client.send_headers(1, [(":method", "GET"), (":path", "/"), (":scheme", "http"), (":authority", "a")])
    events: list[h2.events.Event] = []
    async with served(anyio_backend, slow, limits=ConnectionLimits(http2=True)) as url, connected(url) as raw:
        await raw.send(client.data_to_send())
        with anyio.fail_after(DEADLINE):
            while not any(isinstance(event, h2.events.ResponseReceived) for event in events):
                events += client.receive_data(await raw.receive())


async def test_priorities_over_http2_are_not_kept(anyio_backend: str, caplog: pytest.LogCaptureFixture) -> None:
    client = h2.connection.H2Connection(h2.config.H2Configuration())
    client.initiate_connection()
    head = [(":method", "GET"), (":path", "/"), (":scheme", "http"), (":authority", "a")]
    async with served(anyio_backend, app, limits=ConnectionLimits(http2=True)) as url, connected(url) as raw:
        for first in range(1, 600, 120):
            for number in range(first, first + 120, 2):
                client.send_headers(number, head, end_stream=True)
                for other in range(100_001 + 8 * number, 100_013 + 8 * number, 4):
                    client.prioritize(other, depends_on=other + 2)
            await raw.send(client.data_to_send())
            await until_all_ended(client, raw, 60)

    assert caplog.text == ""


async def until_all_ended(client: h2.connection.H2Connection, raw: SocketStream, left: int) -> None:
    """Read until so many streams have their whole answers."""
    with anyio.fail_after(DEADLINE):
        while left:
            events = client.receive_data(await raw.receive())
            left -= sum(isinstance(event, h2.events.StreamEnded) for event in events)


@pytest.mark.parametrize(
    "flood",
    [
        b"\0\0\x08\6\0\0\0\0\x0012345678",
        b"\0\0\0\4\0\0\0\0\0",
        b"\0\0\5\2\0\0\0\0\3\0\0\0\0\x10",
        b"\0\0\4\x08\0\0\0\0\0\0\0\0\1",
    ],
    ids=["ping", "settings", "priority", "window"],
)
async def test_a_flood_of_control_frames_ends_its_connection(serving: Serving, flood: bytes) -> None:
    config = h2.config.H2Configuration()
    async with serving(http2=True) as agent, connected(agent.url) as raw:
        client = h2.connection.H2Connection(config)
        client.initiate_connection()
        await raw.send(client.data_to_send() + flood * 2000)
        events: list[h2.events.Event] = []
        with anyio.fail_after(DEADLINE):
            while not any(isinstance(event, h2.events.ConnectionTerminated) for event in events):
                events += client.receive_data(await raw.receive())
        await until_closed(raw)
        health = await agent.http.get("/health")

    [end] = [event for event in events if isinstance(event, h2.events.ConnectionTerminated)]
    assert end.error_code == h2.errors.ErrorCodes.ENHANCE_YOUR_CALM
    assert health.status_code == 200


# --- how many -----------------------------------------------------------------------------------------------


async def test_beyond_the_total_idle_connections_make_room_and_busy_ones_do_not(anyio_backend: str) -> None:
    limits = ConnectionLimits(total=2)
    async with served(anyio_backend, app, limits=limits) as url, connected(url) as idle, connected(url) as busy:
        for raw in (busy, idle):
            await raw.send(CARD)
            await answered(raw)
        await busy.send(b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n")
        async with connected(url) as third:
            await third.send(CARD)
            await answered(third)
            await until_closed(idle)
            await third.send(b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n")
            refused = b""
            with anyio.fail_after(DEADLINE):
                while b" 503 " not in refused:  # until the server has seen that both are busy
                    async with connected(url) as fourth:
                        with anyio.move_on_after(0.5):
                            refused = await fourth.receive()

    assert refused.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"retry-after" in refused


def test_few_file_descriptors_are_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert connection_limits(Settings(max_connections=100), 1024).total == 100
        assert connection_limits(Settings(), 1024).total == 768
        assert caplog.text == ""

        assert connection_limits(Settings(max_connections=1000), 1024).total == 768
        assert connection_limits(Settings(), 256).total == 192

    assert caplog.text.count("RLIMIT_NOFILE") == 2
    assert "connections served at once: at most 768" in caplog.text


async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    """An application that answers, but never below `/never`, where it waits for its client's leaving alone."""
    if scope["type"] == "lifespan":
        for event in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{event}.complete"})
        return
    if scope["path"] == "/never":
        await anyio.sleep_forever()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"6")]})
    await send({"type": "http.response.body", "body": b"answer", "more_body": False})


async def test_requests_that_were_sent_ahead_are_all_answered(anyio_backend: str) -> None:
    count, found = 300, b""
    async with served(anyio_backend, app) as url, connected(url) as raw:
        await raw.send(CARD * count)
        with anyio.fail_after(DEADLINE):
            while found.count(b"HTTP/1.1 200") < count:
                found += await raw.receive()
