"""The checked transport: requests go to addresses that were looked at, and hostile answers end at a limit."""

from __future__ import annotations

import gzip
import ssl
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress

import anyio
import httpx
import pytest
import trustme
from attrs import define, field

from opencode_a2a.outbound.outbound_errors import (
    AnswerTooLargeError,
    CertificatesError,
    EncodedAnswerError,
    TargetRefusedError,
)
from opencode_a2a.outbound.transport import CheckedTransport, OutboundLimits
from sansio.outbound import PEER_RULES, OutboundPolicy, parse_allowed_hosts
from tests.listening import listening
from tests.shell.cases import each_value
from tests.shell.harness import DEADLINE, until
from tests.shell.raw_server import HANG_UP, SILENCE, RawServer, Step, answering, chunked, ok

pytestmark = pytest.mark.anyio

NAME = "peer.example.org"
PUBLIC = "93.184.216.34"
OPEN = OutboundPolicy(rules=PEER_RULES, allow_private=True)
STRICT = OutboundPolicy(rules=PEER_RULES)
LISTED = OutboundPolicy(rules=PEER_RULES, allow_private=True, allowed=parse_allowed_hosts(NAME))
LIMITS = OutboundLimits()
TOKEN = {"authorization": "Bearer s3cret"}


@define(eq=False)
class Names:
    """A resolver: what each look-up finds, the last for ever."""

    answers: list[Sequence[str]]
    asked: list[tuple[str, int]] = field(factory=list)

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append((host, port))
        await anyio.lowlevel.checkpoint()
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@define(eq=False)
class Web:
    """A client of httpx over a checked transport, and the server that its names lead to."""

    client: httpx.AsyncClient
    transport: CheckedTransport
    server: RawServer
    names: Names

    def url(self, path: str = "/", host: str = NAME, scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.server.port}{path}"

    async def refusal(self, url: str, **headers: str) -> str:
        with pytest.raises(TargetRefusedError) as caught:
            await self.client.get(url, headers=headers)
        assert [violation.field for violation in caught.value.refusal.violations] == ["url"]
        return str(caught.value)


@asynccontextmanager
async def web(
    *answers: Sequence[Step],
    policy: OutboundPolicy = OPEN,
    limits: OutboundLimits = LIMITS,
    found: Sequence[Sequence[str]] = (("127.0.0.1",),),
    tls: ssl.SSLContext | None = None,
) -> AsyncGenerator[Web]:
    names = Names(list(found))
    transport = CheckedTransport(policy, limits, resolve=names)
    async with answering(*(answers or ([ok(b"fine")],)), tls=tls) as server:
        with anyio.fail_after(DEADLINE):
            async with httpx.AsyncClient(transport=transport, timeout=DEADLINE) as client:
                yield Web(client, transport, server, names)
            assert transport.open_connections == 0


# --- where a request goes ---------------------------------------------------------------------------------


async def test_request_goes_to_the_resolved_address_in_the_name_of_the_host() -> None:
    async with web() as net:
        answer = await net.client.post(net.url("/a?b=c"), content=b"{}")

        (request,) = net.server.requests
        assert (answer.status_code, answer.content) == (200, b"fine")
        assert request.startswith(b"POST /a?b=c HTTP/1.1\r\n")
        assert b"host: %b:%d\r\n" % (NAME.encode(), net.server.port) in request.lower()
        assert request.endswith(b"\r\n\r\n{}")
        assert net.names.asked == [(NAME, net.server.port)]


async def test_every_new_connection_is_resolved_once_and_checked_again() -> None:
    async with web([ok(b"1"), HANG_UP], found=[["127.0.0.1"], [PUBLIC, "169.254.169.254"], ["127.0.0.1"]]) as net:
        assert (await net.client.get(net.url())).status_code == 200
        await until(lambda: net.server.open == 0)

        assert "metadata" in await net.refusal(net.url())
        assert (await net.client.get(net.url())).status_code == 200
        assert len(net.names.asked) == net.server.connections + 1 == 3


async def test_name_that_was_public_when_it_was_checked_is_checked_again_before_the_connection() -> None:
    async with web(policy=STRICT, found=[[PUBLIC], ["127.0.0.1"]]) as net:
        await net.transport.check(net.url(), ("url",))

        assert "loopback" in await net.refusal(net.url("/s3cret?key=s3cret"))
        assert net.server.connections == 0


async def test_look_up_after_the_check_does_not_lead_the_connection_elsewhere() -> None:
    async with web(found=[["127.0.0.1"], ["127.0.0.2"]]) as net:
        for _ in range(3):
            assert (await net.client.get(net.url())).text == "fine"

        assert len(net.names.asked) == net.server.connections == 1


@pytest.mark.parametrize(
    "found",
    [
        *([PUBLIC, "127.0.0.1"], ["127.0.0.1", PUBLIC], [PUBLIC, "10.0.0.1"], ["::ffff:127.0.0.1"]),
        *(["64:ff9b::7f00:1"], ["64:ff9b:1::7f00:1"], ["2002:7f00:1::1"], ["::7f00:1"], ["::"], ["0.0.0.0"]),
    ],
    ids=" ".join,
)
async def test_one_address_that_is_not_public_is_enough_to_connect_to_none(found: Sequence[str]) -> None:
    async with web(policy=STRICT, found=[found]) as net:
        assert "not allowed" in await net.refusal(net.url())
        assert net.server.connections == 0


@each_value("host", ["127.0.0.1", "127.1", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "localhost", "metadata.goog"])
async def test_host_that_is_no_public_one_by_itself_is_refused(host: str) -> None:
    async with web(policy=STRICT) as net:
        assert await net.refusal(net.url(host=host))
        assert net.server.connections == 0


async def test_refusal_repeats_neither_path_nor_login() -> None:
    async with web(policy=STRICT) as net:
        for url in (f"http://ada:s3cret@{NAME}/", "http://127.0.0.1/s3cret?s3cret", f"ftp://{NAME}/s3cret"):
            assert "s3cret" not in await net.refusal(url)


@pytest.mark.parametrize("found", [[], ["not an address"]], ids=["nothing", "nonsense"])
async def test_name_that_leads_nowhere_is_refused(found: Sequence[str]) -> None:
    async with web(found=[found]) as net:
        assert "cannot be resolved" in await net.refusal(net.url())


async def test_resolver_that_hangs_is_left_in_time() -> None:
    async def hangs(host: str, port: int) -> Sequence[str]:
        await anyio.sleep_forever()
        return []

    transport = CheckedTransport(OPEN, OutboundLimits(connect_seconds=0.1), resolve=hangs)
    async with httpx.AsyncClient(transport=transport, timeout=None) as client:
        with anyio.fail_after(DEADLINE), pytest.raises((TargetRefusedError, httpx.ConnectTimeout)):
            await client.get(f"http://{NAME}/")


async def test_next_address_is_tried_where_the_first_takes_no_connection() -> None:
    async with web(found=[["127.0.0.2", "127.0.0.1"]]) as net:
        assert (await net.client.get(net.url())).status_code == 200


async def test_nobody_listening_is_reported_with_the_systems_reason() -> None:
    async with web(found=[["127.0.0.2"]]) as net:
        with pytest.raises(httpx.ConnectError, match=r"refused|failed"):
            await net.client.get(net.url())


# --- redirects, cookies, proxies, logins ------------------------------------------------------------------


@each_value("status", [301, 302, 303, 307, 308])
async def test_redirect_is_an_answer(status: int) -> None:
    redirect = f"HTTP/1.1 {status} Elsewhere\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n".encode()
    async with web([redirect]) as net:
        assert (await net.client.get(net.url())).status_code == status
        assert len(net.server.requests) == 1


async def test_redirect_that_a_client_follows_all_the_same_is_judged_like_any_url() -> None:
    redirect = b"HTTP/1.1 302 Elsewhere\r\nlocation: http://169.254.169.254/latest\r\ncontent-length: 0\r\n\r\n"
    async with web([redirect]) as net:
        with pytest.raises(TargetRefusedError, match="metadata"):
            await net.client.get(net.url(), follow_redirects=True)


async def test_cookies_and_proxies_play_no_part(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with web([ok(b"", "set-cookie: a=b; Path=/")]) as net:
        for _ in range(2):
            assert "set-cookie" not in (await net.client.get(net.url(), headers={"cookie": "c=d"})).headers

        assert not any(b"cookie" in request.lower() for request in net.server.requests)
        assert all(request.lower().count(b"\nhost:") == 1 for request in net.server.requests)


# --- credentials ------------------------------------------------------------------------------------------


async def test_credentials_go_to_listed_hosts_alone() -> None:
    async with web(policy=LISTED) as net:
        assert (await net.client.get(net.url(), headers=TOKEN)).status_code == 200
        assert b"authorization: bearer s3cret" in net.server.requests[0].lower()
    async with web() as net:
        assert "gets no credentials" in await net.refusal(net.url(), **TOKEN)
        assert (await net.client.get(net.url())).status_code == 200
        assert net.server.connections == 1


async def test_credentials_do_not_go_to_a_public_address_over_http_and_no_open_connection_lets_them() -> None:
    async with web(policy=LISTED, found=[["127.0.0.1"], [PUBLIC]]) as net:
        assert (await net.client.get(net.url())).status_code == 200

        assert "credentials" in await net.refusal(net.url(), **TOKEN)
        assert net.server.connections == 1


# --- connections ------------------------------------------------------------------------------------------


async def test_connection_is_kept_for_its_origin_and_no_other_name() -> None:
    async with web() as net:
        for host in (NAME, NAME, "other.example.org", NAME, "other.example.org"):
            await net.client.get(net.url(host=host))

        assert net.server.connections == 2
        assert [host for host, _ in net.names.asked] == [NAME, "other.example.org"]


@pytest.mark.parametrize("seconds", [0.0, 0.05])
async def test_connection_is_kept_no_longer_than_the_limit(seconds: float) -> None:
    async with web(limits=OutboundLimits(idle_seconds=seconds)) as net:
        await net.client.get(net.url())
        began = anyio.current_time()
        await until(lambda: anyio.current_time() > began + seconds)
        await net.client.get(net.url())

        assert net.server.connections == len(net.names.asked) == 2


async def test_no_more_connections_are_open_than_the_limit_and_a_request_waits_no_longer_than_it_may() -> None:
    go_on = anyio.Event()
    held: Sequence[Step] = [b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", go_on, b"ok"]
    async with web(held, limits=OutboundLimits(connections=2, pool_seconds=0.1)) as net:
        patience = httpx.Timeout(DEADLINE, pool=None)
        async with anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(net.client.get, net.url())
            await until(lambda: len(net.server.requests) == 2)
            with pytest.raises(httpx.PoolTimeout):
                await net.client.get(net.url(), timeout=patience)
            go_on.set()
        for host in ("b.example", "c.example", "d.example"):
            assert (await net.client.get(net.url(host=host))).text == "ok"
            assert net.transport.open_connections == 2
        await until(lambda: net.server.open == 2)


async def test_place_is_given_back_whatever_becomes_of_a_request() -> None:
    async with web([HANG_UP], limits=OutboundLimits(connections=1, connect_seconds=0.2)) as net:
        for _ in range(3):
            with pytest.raises(httpx.RemoteProtocolError):
                await net.client.get(net.url())
            with anyio.CancelScope() as scope:
                scope.cancel()
                await net.client.get(net.url())
            assert await net.refusal("http://169.254.169.254/")
            assert net.transport.open_connections == 0


async def test_bound_holds_among_many_requests_for_many_hosts_some_of_which_are_cancelled() -> None:
    most, done = 0, 0
    async with web([ok(b"fine")], [HANG_UP], [ok(b"fine")], limits=OutboundLimits(connections=3)) as net:

        async def one(number: int) -> None:
            nonlocal most, done
            with anyio.CancelScope() as scope:
                if number % 5 == 0:
                    scope.cancel()
                for path in ("/a", "/b"):
                    with suppress(httpx.RemoteProtocolError):  # the one that the server hangs up on
                        await net.client.get(net.url(path, host=f"host{number % 7}.example"))
                    most = max(most, net.transport.open_connections)
            done += 1

        async with anyio.create_task_group() as group:
            for number in range(60):
                group.start_soon(one, number)

        assert (done, most) == (60, 3)
        await until(lambda: net.server.open == net.transport.open_connections <= 3)


# --- answers ----------------------------------------------------------------------------------------------


async def failing(net: Web, error: type[Exception], *, accept: str = "*/*", silence: float = DEADLINE) -> None:
    timeout = httpx.Timeout(DEADLINE, read=silence)
    with pytest.raises(error):
        await net.client.get(net.url(), timeout=timeout, headers={"accept": accept})
    await until(lambda: net.server.open == 0)
    assert net.transport.open_connections == 0


@pytest.mark.parametrize(
    ("steps", "error"),
    [
        ([ok(b"x" * 2000)], AnswerTooLargeError),
        ([chunked(*[b"x" * 100] * 20)], AnswerTooLargeError),
        ([b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 2000, HANG_UP], AnswerTooLargeError),
        ([b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n", SILENCE], AnswerTooLargeError),
        ([ok(gzip.compress(b"x" * 100_000), "content-encoding: gzip")], EncodedAnswerError),
        ([b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000, SILENCE], httpx.RemoteProtocolError),
        ([b"HTTP/1.1 103 Early\r\n\r\n" * 100, SILENCE], httpx.RemoteProtocolError),
        ([b"HTTP/1.1 101 Switch\r\nupgrade: x\r\n\r\n", SILENCE], httpx.RemoteProtocolError),
        ([b"nonsense\r\n\r\n", SILENCE], httpx.RemoteProtocolError),
        ([b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello", HANG_UP], httpx.RemoteProtocolError),
        ([b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", SILENCE], httpx.RemoteProtocolError),
        ([HANG_UP], httpx.RemoteProtocolError),
    ],
    ids=[
        *("large", "large in chunks", "large to the end", "large as announced", "compressed", "endless head"),
        *("endless hints", "another protocol", "nonsense", "cut", "no chunk", "nothing"),
    ],
)
async def test_hostile_answer_ends_in_its_error_and_its_connection_is_closed(
    steps: Sequence[Step], error: type[Exception]
) -> None:
    async with web(steps, limits=OutboundLimits(answer_bytes=1000)) as net:
        await failing(net, error)


BODY = b"x" * 20_000_000  # more than sockets hold


@asynccontextmanager
async def not_reading() -> AsyncGenerator[int]:
    """A server that reads no more than the beginning of a request."""

    async def serve(stream: anyio.abc.ByteStream) -> None:
        async with stream:
            await stream.receive(10)
            await anyio.sleep_forever()

    async with listening(serve) as port:
        yield port


async def test_request_that_nobody_takes_is_given_up() -> None:
    async with not_reading() as port, client_alone() as client:
        with anyio.fail_after(DEADLINE), pytest.raises(httpx.WriteTimeout):
            await client.post(f"http://127.0.0.1:{port}/", content=BODY, timeout=httpx.Timeout(DEADLINE, write=0.2))


async def test_answer_before_the_end_of_the_request_is_the_answer() -> None:
    refusal = b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno"
    async with web() as net:

        async def refuse(stream: anyio.abc.ByteStream) -> None:
            async with stream:
                await stream.receive(10)
                await stream.send(refusal)
                with anyio.move_on_after(DEADLINE):
                    async for _ in stream:
                        pass

        async with listening(refuse) as port:
            answer = await net.client.post(f"http://127.0.0.1:{port}/", content=BODY)
            assert (answer.status_code, answer.content) == (413, b"no")


@pytest.mark.parametrize("value", ["a\x00b", "a\r\nx: y", " "])
async def test_request_that_is_no_http_is_refused_without_what_it_holds(value: str) -> None:
    async with web() as net:
        request = net.client.build_request("GET", net.url())
        request.headers["x-s3cret"] = f"s3cret{value}s3cret" if value.strip() else "s3cret "
        with pytest.raises(httpx.LocalProtocolError) as caught:
            await net.client.send(request)
        assert "s3cret" not in str(caught.value)
        assert net.transport.open_connections == 0


@pytest.mark.parametrize("whole", [ok(b"fine", "x: y"), chunked(b"fi", b"ne")], ids=["length", "chunks"])
async def test_answer_that_is_cut_anywhere_is_an_error_and_never_a_shorter_answer(whole: bytes) -> None:
    cuts = [[whole[:end], HANG_UP] for end in range(len(whole))]
    async with web(*cuts, [whole]) as net:
        for _ in cuts:
            with pytest.raises(httpx.RemoteProtocolError):
                await net.client.get(net.url())
            assert net.transport.open_connections == 0
        assert (await net.client.get(net.url())).content == b"fine"


@pytest.mark.parametrize("whole", [ok(b"fine", "x: y"), chunked(b"fi", b"ne")], ids=["length", "chunks"])
async def test_answer_that_comes_byte_by_byte_is_whole(whole: bytes) -> None:
    async with web([whole[number : number + 1] for number in range(len(whole))]) as net:
        assert (await net.client.get(net.url())).content == b"fine"
        assert (await net.client.get(net.url())).content == b"fine"
        assert net.server.connections == 1


async def test_what_follows_an_answer_is_not_the_next_one() -> None:
    async with web([ok(b"fine") + ok(b"poison")], [ok(b"right")]) as net:
        assert (await net.client.get(net.url())).text == "fine"
        assert (await net.client.get(net.url())).text == "right"
        assert net.server.connections == 2


@pytest.mark.parametrize(
    ("steps", "accept"),
    [
        ([SILENCE], "*/*"),
        ([b"HTTP/1.1 200 OK\r\n", SILENCE], "*/*"),
        ([b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello", SILENCE], "*/*"),
        ([b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n: hi\n\n", SILENCE], "text/event-stream"),
    ],
    ids=["nothing", "half a head", "half a body", "stream"],
)
async def test_silence_ends_an_answer(steps: Sequence[Step], accept: str) -> None:
    async with web(steps) as net:
        await failing(net, httpx.ReadTimeout, accept=accept, silence=0.2)


def client_alone(limits: OutboundLimits = LIMITS) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=CheckedTransport(OPEN, limits))


@asynccontextmanager
async def dripping(head: bytes, drop: bytes) -> AsyncGenerator[int]:
    """A server that goes on sending a little, so that it is never silent for long."""

    async def serve(stream: anyio.abc.ByteStream) -> None:
        try:
            async with stream:
                await stream.receive()
                await stream.send(head)
                while True:
                    await anyio.sleep(0.02)
                    await stream.send(drop)
        except (anyio.BrokenResourceError, anyio.EndOfStream):
            pass  # the client is gone

    async with listening(serve) as port:
        yield port


@pytest.mark.parametrize(
    ("head", "accept"),
    [
        (b"HTTP/1.1 200 OK\r\nx: ", "*/*"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n", "*/*"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "text/event-stream"),
        (b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n", "application/json"),
    ],
    ids=["head", "body", "no stream", "stream nobody asked for"],
)
async def test_answer_that_is_never_silent_and_never_ends_is_left_in_time(head: bytes, accept: str) -> None:
    limits = OutboundLimits(answer_seconds=0.3)
    async with dripping(head, b"x") as port, client_alone(limits) as client:
        with anyio.fail_after(DEADLINE), pytest.raises(httpx.ReadTimeout):
            await client.get(f"http://127.0.0.1:{port}/", headers={"accept": accept}, timeout=0.5)


async def test_stream_that_was_asked_for_lasts_longer_than_other_answers_and_may_be_left() -> None:
    limits = OutboundLimits(answer_seconds=0.1)
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n\r\n"
    async with dripping(head, b"data: x\n\n") as port:
        transport = CheckedTransport(OPEN, limits)
        async with httpx.AsyncClient(transport=transport) as client:
            request = client.build_request(
                "GET", f"http://127.0.0.1:{port}/", headers={"accept": "text/event-stream"}, timeout=DEADLINE
            )
            response = await client.send(request, stream=True)
            began, size = anyio.current_time(), 0
            assert isinstance(response.stream, httpx.AsyncByteStream)
            with anyio.CancelScope() as scope:
                async for part in response.aiter_raw():
                    size += len(part)
                    if anyio.current_time() > began + 0.4:
                        scope.cancel()
            await response.aclose()

            assert size > 100
            assert transport.open_connections == 0


# --- TLS --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_side(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


async def test_certificate_is_held_against_the_name_and_not_the_address(
    authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    with authority.cert_pem.tempfile() as trusted:
        monkeypatch.setenv("SSL_CERT_FILE", trusted)
        async with web(tls=server_side(authority, NAME)) as net:
            for _ in range(2):
                assert (await net.client.get(net.url(scheme="https"))).text == "fine"
            # the right address and an open connection to it, under another name
            for host in ("evil.example", "127.0.0.1"):
                with pytest.raises(httpx.ConnectError, match="certificate"):
                    await net.client.get(net.url(scheme="https", host=host))

            assert len(net.server.requests) == 2
            assert net.transport.open_connections == 1


async def test_server_that_speaks_no_tls_or_is_silent_is_no_connection() -> None:
    async with web() as net:
        with pytest.raises(httpx.ConnectTimeout):
            await net.client.get(net.url(scheme="https"), timeout=httpx.Timeout(DEADLINE, connect=0.2))
        await until(lambda: net.server.open == 0)
    async with dripping(b"HTTP/1.1 400 Bad Request\r\n\r\n", b"x") as port, client_alone() as client:
        with pytest.raises(httpx.ConnectError, match="SSL"):
            await client.get(f"https://127.0.0.1:{port}/", timeout=DEADLINE)


async def test_trusted_certificates_that_are_not_there_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/at.all")
    async with web() as net:
        with pytest.raises(CertificatesError, match="SSL_CERT_FILE"):
            await net.client.get(net.url(scheme="https"))
        assert (await net.client.get(net.url())).status_code == 200
