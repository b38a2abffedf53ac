"""The client for OpenCode against servers that behave well, badly, or not at all."""

from __future__ import annotations

import base64
import ssl

import anyio
import pytest
import trustme

from opencode_a2a.agent.upstream import upstream as upstream_module
from opencode_a2a.agent.upstream.upstream import Piece, Upstream, UpstreamError, WithheldError
from sansio.opencode.upstream.requests import TimeoutClass, UpstreamCall
from tests.shell.cases import each_value
from tests.shell.harness import DEADLINE, until
from tests.shell.ports import free_port
from tests.shell.raw_server import HANG_UP, SILENCE, RawServer, Step, answering, chunked, ok

pytestmark = pytest.mark.anyio

READ = UpstreamCall(method="GET", target="/thing?a=b")
WRITE = UpstreamCall(method="POST", target="/thing", body=b'{"a":1}', repeatable=False)
STREAM = UpstreamCall(method="GET", target="/events")


def client(server: RawServer, timeout: float = DEADLINE) -> Upstream:
    return Upstream(f"http://127.0.0.1:{server.port}", timeout=timeout)


async def failure(upstream: Upstream, call: UpstreamCall) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught, anyio.fail_after(DEADLINE):
        await upstream.request(call)
    return caught.value


async def test_requests_say_what_they_must() -> None:
    async with answering([ok(b"1")]) as server, client(server) as upstream:
        await upstream.request(READ)
        await upstream.request(WRITE)

    first, second = server.requests
    assert first.startswith(b"GET /thing?a=b HTTP/1.1\r\n")
    assert f"host: 127.0.0.1:{server.port}\r\n".encode() in first.lower()
    assert b"content-length: 7\r\n" in second.lower()
    assert b"content-type: application/json\r\n" in second.lower()
    assert second.endswith(b'\r\n\r\n{"a":1}')


async def test_a_login_goes_along_and_is_not_shown() -> None:
    async with answering([ok(b"1")]) as server:
        url = f"http://127.0.0.1:{server.port}/base/"
        async with Upstream(url, username="me", password="pass-5d2f") as upstream:
            await upstream.request(READ)
            assert "pass-5d2f" not in repr(upstream)

    proof = base64.b64encode(b"me:pass-5d2f")
    assert b"authorization: basic " + proof.lower() in server.requests[0].lower()
    assert server.requests[0].startswith(b"GET /base/thing?a=b ")


async def test_a_connection_is_used_again() -> None:
    async with answering([ok(b"1")]) as server, client(server) as upstream:
        for _ in range(5):
            assert (await upstream.request(WRITE)).body == b"1"
        assert server.connections == 1


async def test_a_call_that_may_not_be_sent_any_more_once_it_is_connected_leaves_its_connection_to_the_next() -> None:
    asked = iter([False, True])
    async with answering([ok(b"1")]) as server, client(server) as upstream:
        with pytest.raises(WithheldError):
            await upstream.request(WRITE, may_send=lambda: next(asked))
        assert (await upstream.request(WRITE, may_send=lambda: next(asked))).body == b"1"
        assert (server.connections, len(server.requests)) == (1, 1)


async def test_calls_at_once_have_connections_of_their_own_which_are_closed_at_the_end() -> None:
    gate = anyio.Event()
    async with answering([gate, ok(b"1")]) as server:
        async with client(server) as upstream, anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(upstream.request, READ)
            await until(lambda: len(server.requests) == 5)
            gate.set()
        assert server.connections == 5
        await until(lambda: server.open == 0)


@each_value(
    "answer, body",
    [
        ([ok(b"hello")], b"hello"),
        ([ok(b"")], b""),
        ([chunked(b"hel", b"lo")], b"hello"),
        ([chunked()], b""),
        ([b"HTTP/1.1 204 No Content\r\n\r\n"], b""),
        ([b"HTTP/1.1 200 OK\r\n\r\nto the end", HANG_UP], b"to the end"),
        ([b"HTTP/1.0 200 OK\r\n\r\nold", HANG_UP], b"old"),
        ([b"HTTP/1.1 100 Continue\r\n\r\n", ok(b"x")], b"x"),
        ([ok(b"bye", "connection: close"), HANG_UP], b"bye"),
        ([bytes([byte]) for byte in ok(b"by byte")], b"by byte"),
        ([ok(b"z" * 300_000)], b"z" * 300_000),
    ],
)
async def test_every_way_to_end_a_body_is_understood(answer: list[Step], body: bytes) -> None:
    async with answering(answer) as server, client(server) as upstream:
        for _ in range(2):
            with anyio.fail_after(DEADLINE):
                assert (await upstream.request(READ)).body == body


async def test_a_connection_closed_while_idle_is_not_used_again() -> None:
    async with answering([ok(b"1"), HANG_UP], [ok(b"2")]) as server, client(server) as upstream:
        await upstream.request(WRITE)
        await until(lambda: server.open == 0)

        assert (await upstream.request(WRITE)).body == b"2"


@pytest.mark.parametrize("call", [READ, WRITE], ids=["read", "write"])
async def test_a_connection_closed_under_our_hands_is_tried_again_only_where_it_may_be(call: UpstreamCall) -> None:
    async with answering([ok(b"1")], [HANG_UP], [ok(b"3")]) as server, client(server) as upstream:
        await upstream.request(READ)

        if call.repeatable:
            assert (await upstream.request(call)).body == b"3"
        else:
            error = await failure(upstream, call)
            assert (error.failure.type, error.sent) == ("UPSTREAM_UNREACHABLE", True)
        assert len(server.requests) == (3 if call.repeatable else 2)


async def test_a_fresh_connection_that_is_closed_is_not_tried_again() -> None:
    async with answering([HANG_UP]) as server, client(server) as upstream:
        error = await failure(upstream, READ)

        assert error.failure.type == "UPSTREAM_UNREACHABLE"
        assert server.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        [b"\x00\x01\x02 no http\r\n\r\n"],
        [b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n"],
        [b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort", HANG_UP],
        [chunked(b"cut", ends=False), HANG_UP],
        [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"],
        [b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000],
        [b"HTTP/1.1 200 OK\r\ncont", HANG_UP],
    ],
)
async def test_an_answer_that_breaks_the_protocol_is_one_error(answer: list[Step]) -> None:
    async with answering(answer) as server, client(server) as upstream:
        error = await failure(upstream, READ)

        assert error.failure.type in ("UPSTREAM_PAYLOAD_ERROR", "UPSTREAM_UNREACHABLE")
        assert error.sent
        await until(lambda: server.open == 0)


async def test_an_answer_too_large_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream_module, "BODY_LIMIT", 100_000)  # more than one read
    async with answering([ok(b"x" * 100_001)], [ok(b"x" * 100_000)]) as server, client(server) as upstream:
        error = await failure(upstream, READ)

        assert (error.failure.type, "100000 bytes" in error.failure.text) == ("UPSTREAM_PAYLOAD_ERROR", True)
        assert len((await upstream.request(READ)).body) == 100_000


@pytest.mark.parametrize("answer", [ok(b"x"), ok(b"x" * 100_000)])
async def test_a_connection_with_more_behind_an_answer_is_not_used_again(answer: bytes) -> None:
    async with answering([answer + ok(b"not asked for")], [ok(b"2")]) as server, client(server) as upstream:
        await upstream.request(READ)

        assert (await upstream.request(READ)).body == b"2"
        assert server.connections == 2


@pytest.mark.parametrize(("status", "type"), [(404, "UPSTREAM_RESOURCE_NOT_FOUND"), (503, "UPSTREAM_SERVER_ERROR")])
async def test_an_error_status_is_an_error_and_keeps_the_connection(status: int, type: str) -> None:
    answer = ok(b'{"why":"so"}').replace(b"200 OK", b"%d No" % status)
    async with answering([answer], [ok(b"1")]) as server, client(server) as upstream:
        error = await failure(upstream, READ)
        await upstream.request(READ)

        assert (error.failure.type, error.failure.status, error.sent) == (type, status, False)
        # a document of OpenCode's is for the log alone
        assert "so" not in error.failure.text
        assert '{"why":"so"}' in error.failure.detail
        assert error.failure.reference in error.failure.text
        assert server.connections == 1


async def test_an_answer_that_never_comes_is_not_waited_for() -> None:
    async with answering([SILENCE]) as server, client(server, timeout=1.5) as upstream:
        error = await failure(upstream, READ)

        assert (error.failure.type, error.sent) == ("UPSTREAM_TIMEOUT", True)
        await until(lambda: server.open == 0)


async def test_a_read_that_is_not_answered_is_asked_again_within_the_same_patience() -> None:
    async with answering([SILENCE], [SILENCE], [ok(b"3")]) as server, client(server, timeout=3.0) as upstream:
        with anyio.fail_after(DEADLINE):
            assert (await upstream.request(READ)).body == b"3"

        assert len(server.requests) == 3
        await until(lambda: server.open == 1)


async def test_a_write_that_is_not_answered_is_not_sent_again() -> None:
    async with answering([SILENCE], [ok(b"2")]) as server, client(server, timeout=1.0) as upstream:
        error = await failure(upstream, WRITE)

        assert (error.failure.type, error.sent, len(server.requests)) == ("UPSTREAM_TIMEOUT", True, 1)


async def test_an_answer_that_has_begun_may_take_all_of_the_patience() -> None:
    head, gate = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", anyio.Event()
    call = UpstreamCall(method="GET", target="/big", timeout=TimeoutClass.PROBE)
    async with answering([head, gate, b"large"]) as server, client(server, timeout=3 * DEADLINE) as upstream:
        bodies: list[bytes] = []

        async def read() -> None:
            bodies.append((await upstream.request(call)).body)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await until(lambda: server.requests)
            bound_is_over = anyio.current_time() + upstream.bounds(call)[0] + 0.1
            await until(lambda: anyio.current_time() > bound_is_over)
            gate.set()

        assert (bodies, len(server.requests)) == ([b"large"], 1)


async def test_several_reads_have_a_bound_together() -> None:
    async with answering([ok(b"1")], [SILENCE]) as server, client(server, timeout=DEADLINE) as upstream:
        await upstream.request(READ)
        with pytest.raises(UpstreamError) as caught, upstream.within(0.2):
            await upstream.request(READ)

        assert caught.value.failure.type == "UPSTREAM_TIMEOUT"
        await until(lambda: server.open == 0)


async def test_nobody_there_is_told_with_where() -> None:
    port = free_port()
    async with Upstream(f"http://127.0.0.1:{port}") as upstream:
        error = await failure(upstream, READ)

    assert (error.failure.type, error.sent) == ("UPSTREAM_UNREACHABLE", False)
    assert f"127.0.0.1:{port}" in error.failure.text


async def test_one_call_too_many_is_refused_at_once() -> None:
    gate = anyio.Event()
    async with answering([gate, ok(b"1")]) as server:
        url = f"http://127.0.0.1:{server.port}"
        async with Upstream(url, max_requests=1) as upstream, anyio.create_task_group() as tasks:
            tasks.start_soon(upstream.request, READ)
            await until(lambda: server.requests)
            assert (await failure(upstream, READ)).failure.type == "UPSTREAM_BACKPRESSURE"
            gate.set()
        assert "running=0" in repr(upstream)


async def test_a_call_that_is_cancelled_leaves_nothing_behind() -> None:
    async with answering([SILENCE], [ok(b"1")]) as server, client(server) as upstream:
        async with anyio.create_task_group() as calls:
            calls.start_soon(upstream.request, READ)
            await until(lambda: server.requests)
            calls.cancel_scope.cancel()

        assert "running=0 idle=0" in repr(upstream)
        await until(lambda: server.open == 0)
        assert (await upstream.request(READ)).body == b"1"


@each_value("url", ["ftp://x", "127.0.0.1:80", "http://", ""])
async def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="http"):
        Upstream(url)


async def read_all(upstream: Upstream) -> bytes:
    async with upstream.stream(STREAM) as pieces:
        return b"".join([piece.data async for piece in pieces])


# --- streams ----------------------------------------------------------------------------------------------


@each_value(
    "answer, body",
    [
        ([chunked(b"one", b"two")], b"onetwo"),
        ([bytes([byte]) for byte in chunked(b"one", b"two")], b"onetwo"),
        ([ok(b"known")], b"known"),
        ([b"HTTP/1.1 200 OK\r\n\r\nto the end", HANG_UP], b"to the end"),
        ([chunked(b"in one go").replace(b"transfer-encoding", b"Transfer-Encoding")], b"in one go"),
    ],
)
async def test_a_stream_is_handed_out_as_it_comes(answer: list[Step], body: bytes) -> None:
    async with answering(answer) as server, client(server) as upstream:
        with anyio.fail_after(DEADLINE):
            found = await read_all(upstream)

        assert found == body
        await until(lambda: server.open == 0)


async def test_what_a_stream_said_is_there_before_it_says_more() -> None:
    gate = anyio.Event()
    start, rest = chunked(b"one", ends=False), b"3\r\ntwo\r\n0\r\n\r\n"
    async with (
        answering([start, gate, rest]) as server,
        client(server) as upstream,
        upstream.stream(STREAM) as pieces,
    ):
        with anyio.fail_after(DEADLINE):
            assert await anext(pieces) == Piece(b"one", more=False)
            gate.set()
            assert await anext(pieces) == Piece(b"two", more=False)


async def test_nothing_more_of_a_stream_is_there_behind_its_end() -> None:
    ended = chunked(b"x" * 40_000)
    async with answering([ended + b"y" * 40_000, SILENCE]) as server, client(server) as upstream:
        with anyio.fail_after(DEADLINE):
            async with upstream.stream(STREAM) as pieces:
                found = [piece async for piece in pieces]

    assert b"".join(piece.data for piece in found) == b"x" * 40_000
    assert not found[-1].more


async def test_a_stream_says_whether_more_of_it_is_there() -> None:
    body = bytes(range(256)) * 4096
    parts = [body[at : at + 10_000] for at in range(0, len(body), 10_000)]
    async with answering([chunked(*parts, ends=False), SILENCE]) as server, client(server) as upstream:
        with anyio.fail_after(DEADLINE):
            async with upstream.stream(STREAM) as pieces:
                found = [await anext(pieces)]
                while sum(len(piece.data) for piece in found) < len(body):
                    found.append(await anext(pieces))

    assert b"".join(piece.data for piece in found) == body
    assert max(len(piece.data) for piece in found) <= 65536
    assert [piece.more for piece in found].count(True) > 0
    assert not found[-1].more


@pytest.mark.parametrize(
    ("answer", "type"),
    [
        ([HANG_UP], "UPSTREAM_UNREACHABLE"),
        ([b"garbage\r\n\r\n"], "UPSTREAM_PAYLOAD_ERROR"),
        ([chunked(b"cut", ends=False), HANG_UP], "UPSTREAM_UNREACHABLE"),
        ([b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\ncut", HANG_UP], "UPSTREAM_UNREACHABLE"),
        ([ok(b"no").replace(b"200", b"401")], "UPSTREAM_UNAUTHORIZED"),
        ([SILENCE], "UPSTREAM_TIMEOUT"),
    ],
)
async def test_a_stream_that_does_not_open_or_breaks_is_one_error(answer: list[Step], type: str) -> None:
    timeout = 1.5 if type == "UPSTREAM_TIMEOUT" else DEADLINE
    async with answering(answer) as server, client(server, timeout=timeout) as upstream:
        with pytest.raises(UpstreamError) as caught, anyio.fail_after(DEADLINE):
            await read_all(upstream)

        assert caught.value.failure.type == type
        await until(lambda: server.open == 0)


# --- TLS --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_side(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


async def test_https_is_spoken_to_a_server_that_proves_itself(
    authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    with authority.cert_pem.tempfile() as trusted:
        monkeypatch.setenv("SSL_CERT_FILE", trusted)
        async with answering([ok(b"safe")], tls=server_side(authority, "127.0.0.1")) as server:
            async with Upstream(f"https://127.0.0.1:{server.port}") as upstream:
                for _ in range(3):
                    assert (await upstream.request(READ)).body == b"safe"
                assert await read_all(upstream) == b"safe"
            assert server.connections == 2


@pytest.mark.parametrize("trusts", [True, False])
async def test_https_is_not_spoken_to_a_server_that_does_not(
    authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, trusts: bool
) -> None:
    name = "elsewhere.example" if trusts else "127.0.0.1"
    with authority.cert_pem.tempfile() as trusted:
        if trusts:
            monkeypatch.setenv("SSL_CERT_FILE", trusted)
        async with answering([ok(b"unsafe")], tls=server_side(authority, name)) as server:
            async with Upstream(f"https://127.0.0.1:{server.port}") as upstream:
                error = await failure(upstream, READ)
            assert server.requests == []

    assert error.failure.type == "UPSTREAM_UNREACHABLE"
