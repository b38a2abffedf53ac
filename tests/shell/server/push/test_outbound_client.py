"""The checked client: it connects to the addresses that were looked at, and nothing else leads it anywhere."""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import anyio
import pytest
import trustme
from attrs import define, field

from opencode_a2a.server.push.outbound_client import Answer, CheckedClient, UndeliveredError
from sansio.a2a.errors import ProtocolError
from sansio.outbound import OutboundPolicy, parse_allowed_hosts
from tests.shell.cases import each_value
from tests.shell.harness import DEADLINE
from tests.shell.push_receiver import PushReceiver, answer, receiving
from tests.shell.raw_server import HANG_UP, SILENCE, Step

pytestmark = pytest.mark.anyio

NAME = "hooks.example.org"
PRIVATE = OutboundPolicy(allow_private=True)
HEADERS = [("X-A2A-Notification-Id", "t/c/1")]


@define(eq=False)
class Names:
    """A resolver: what each look-up finds, the last for ever."""

    answers: list[Sequence[str]]
    asked: list[tuple[str, int]] = field(factory=list)

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append((host, port))
        await anyio.lowlevel.checkpoint()
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@asynccontextmanager
async def client_and_receiver(
    *found: Sequence[str],
    policy: OutboundPolicy = PRIVATE,
    timeout: float = DEADLINE,
    tls: ssl.SSLContext | None = None,
) -> AsyncGenerator[tuple[CheckedClient, PushReceiver]]:
    names = Names(list(found) or [["127.0.0.1"]])
    async with receiving(tls) as receiver, CheckedClient(policy, timeout=timeout, resolve=names) as client:
        yield client, receiver


async def undelivered(client: CheckedClient, url: str) -> str:
    with pytest.raises(UndeliveredError) as caught:
        await client.post(url, HEADERS, [b"{", b"}"])
    return str(caught.value)


async def test_post_goes_to_the_resolved_address_in_the_name_of_the_host() -> None:
    async with client_and_receiver() as (client, receiver):
        got = await client.post(f"http://{NAME}:{receiver.port}/hook?key=1", HEADERS, [b'{"a"', b":1}"])

        (request,) = receiver.received
        assert got == Answer(204)
        assert (request.path, request.body) == ("/hook?key=1", b'{"a":1}')
        assert request.headers["host"] == f"{NAME}:{receiver.port}"
        assert request.headers["content-length"] == "7"
        assert request.headers["x-a2a-notification-id"] == "t/c/1"


async def test_the_system_resolves_names_where_nobody_else_does() -> None:
    async with receiving() as receiver, CheckedClient(PRIVATE, timeout=DEADLINE) as client:
        await client.check(f"http://localhost:{receiver.port}/", ("url",))

        assert (await client.post(f"http://localhost:{receiver.port}/", HEADERS, [b"{", b"}"])).status == 204


async def test_one_forbidden_address_among_many_is_enough_to_connect_to_none() -> None:
    async with client_and_receiver(["127.0.0.1", "169.254.169.254"]) as (client, receiver):
        reason = await undelivered(client, f"http://{NAME}:{receiver.port}/")
        with pytest.raises(ProtocolError) as caught:
            await client.check(f"http://{NAME}:{receiver.port}/?token=s3cret", ("push", "url"))

        assert "metadata" in reason
        assert [violation.field for violation in caught.value.violations] == ["push.url"]
        assert "s3cret" not in caught.value.message
        assert receiver.connections == 0


async def test_name_that_is_bound_to_another_address_after_the_check_is_refused_when_it_is_used() -> None:
    async with client_and_receiver(["93.184.216.34"], ["127.0.0.1"], policy=OutboundPolicy()) as (client, receiver):
        await client.check(f"https://{NAME}:{receiver.port}/", ("url",))

        assert "loopback" in await undelivered(client, f"https://{NAME}:{receiver.port}/")
        assert receiver.connections == 0


@pytest.mark.parametrize("found", [[], ["not an address"]])
async def test_name_that_leads_nowhere_is_refused(found: Sequence[str]) -> None:
    async with client_and_receiver(found) as (client, receiver):
        with pytest.raises(ProtocolError, match="cannot be resolved"):
            await client.check(f"http://{NAME}:{receiver.port}/", ("url",))


async def test_resolver_that_fails_or_never_answers_is_a_refusal_in_bounded_time() -> None:
    async def fails(host: str, port: int) -> Sequence[str]:
        raise OSError("no such name")

    async def hangs(host: str, port: int) -> Sequence[str]:
        await anyio.sleep_forever()
        return []

    for resolve in (fails, hangs):
        async with CheckedClient(PRIVATE, timeout=0.2, resolve=resolve) as client:
            with anyio.fail_after(DEADLINE):
                with pytest.raises(ProtocolError, match="cannot be resolved"):
                    await client.check(f"https://{NAME}/", ("url",))
                assert await undelivered(client, f"https://{NAME}/")


async def test_next_address_is_tried_where_the_first_takes_no_connection() -> None:
    async with client_and_receiver(["127.0.0.2", "127.0.0.1"]) as (client, receiver):
        assert (await client.post(f"http://{NAME}:{receiver.port}/", HEADERS, [b"{", b"}"])).status == 204


async def test_nobody_listening_is_told_without_the_path() -> None:
    async with client_and_receiver() as (client, receiver):
        port = receiver.port
    async with CheckedClient(PRIVATE, timeout=DEADLINE) as client:
        reason = await undelivered(client, f"http://127.0.0.1:{port}/s3cret")

    assert "could not be connected to" in reason
    assert "s3cret" not in reason


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ([HANG_UP], "broke"),
        ([b"HTTP/1.1 2", HANG_UP], "broke"),
        ([b"nonsense\r\n\r\n"], "broke"),
        ([SILENCE], "no answer"),
    ],
    ids=["cut", "cut in the head", "nonsense", "silence"],
)
async def test_what_is_no_answer_is_told(steps: Sequence[Step], reason: str) -> None:
    patient = 1.0 if SILENCE in steps else DEADLINE
    async with client_and_receiver(timeout=patient) as (client, receiver):
        receiver.plan("/", steps)

        assert reason in await undelivered(client, receiver.url())


@each_value("status", [301, 302, 303, 307, 308])
async def test_redirect_is_an_answer_and_not_followed(status: int) -> None:
    async with client_and_receiver() as (client, receiver):
        receiver.plan("/", answer(status, f"location: {receiver.url('/elsewhere')}"))

        assert (await client.post(receiver.url(), HEADERS, [b"{", b"}"])).status == status
        assert [request.path for request in receiver.received] == ["/"]


async def test_cookies_proxies_and_logins_of_the_environment_play_no_part(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with client_and_receiver() as (client, receiver):
        receiver.plan("/", answer(200, "set-cookie: a=b; Path=/", "retry-after: 7"))

        for _ in range(2):
            assert await client.post(receiver.url(), HEADERS, [b"{", b"}"]) == Answer(200, "7")

        assert not {"cookie", "authorization"} & set(receiver.received[1].headers)
        assert receiver.connections == 2


@pytest.mark.parametrize(
    "steps",
    [
        [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n", SILENCE],
        [b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\nhello", SILENCE],
        [b"HTTP/1.1 200 OK\r\n\r\nhello", SILENCE],
        [b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello", SILENCE],
        [b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello", HANG_UP],
        [b"HTTP/1.1 103 Early\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"],
    ],
    ids=["chunked", "huge", "unbounded", "stalled", "cut", "early hints"],
)
async def test_status_stands_whatever_becomes_of_the_body(steps: Sequence[Step]) -> None:
    async with client_and_receiver(timeout=3 * DEADLINE) as (client, receiver):
        receiver.plan("/", steps)

        with anyio.fail_after(DEADLINE):
            assert (await client.post(receiver.url(), HEADERS, [b"{", b"}"])).status == 200
            await receiver.until(lambda: receiver.open == 0)


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
        async with client_and_receiver(tls=server_side(authority, NAME)) as (client, receiver):
            assert (await client.post(f"https://{NAME}:{receiver.port}/", HEADERS, [b"{", b"}"])).status == 204
            # the same address under another name: no connection of the first is good enough for it
            told = [
                await undelivered(client, f"https://{host}:{receiver.port}/")
                for host in ("evil.example", "127.0.0.1")
            ]

            assert all("certificate" in reason for reason in told)
            assert len(receiver.received) == 1


async def test_certificate_for_an_address_proves_it(authority: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> None:
    with authority.cert_pem.tempfile() as trusted:
        monkeypatch.setenv("SSL_CERT_FILE", trusted)
        policy = OutboundPolicy(allowed=parse_allowed_hosts("127.0.0.0/8"))
        async with client_and_receiver(policy=policy, tls=server_side(authority, "127.0.0.1")) as (client, receiver):
            assert (await client.post(f"https://127.0.0.1:{receiver.port}/", HEADERS, [b"{", b"}"])).status == 204


async def test_trusted_certificates_that_are_not_there_are_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", os.devnull + ".missing")
    async with client_and_receiver() as (client, receiver):
        assert "SSL_CERT_FILE" in await undelivered(client, receiver.url().replace("http:", "https:"))
        assert (await client.post(receiver.url(), HEADERS, [b"{", b"}"])).status == 204
