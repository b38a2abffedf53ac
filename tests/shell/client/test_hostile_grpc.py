"""Agents over HTTP/2 that mean harm, or are broken: each ends in the error of its row, and in time."""

from __future__ import annotations

import anyio
import pytest

from opencode_a2a.client import ClientOptions, connect, web
from opencode_a2a.outbound import http2
from sansio.a2a.client.client_errors import InvalidAnswerError, TimedOutError
from sansio.a2a.model import Task
from tests.shell.client.hostile_grpc import CASES, DONE, WORKING, Peer, misbehaving
from tests.shell.client.hostile_rows import Case, each_case, outcome
from tests.shell.harness import DEADLINE

pytestmark = pytest.mark.anyio

QUICK = ClientOptions(timeout=0.3, patience=0.4)


@each_case(CASES)
async def test_the_outcome_is_that_of_the_row(case: Case[Peer], anyio_backend: str) -> None:
    with anyio.fail_after(DEADLINE):
        async with misbehaving(case.script) as server, connect(server.url, QUICK) as remote:
            await outcome(case, remote)


async def test_a_message_larger_than_the_limit_is_refused_by_its_prefix(anyio_backend: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        peer.protocol.send_data(peer.stream_id, b"\0\x7f\xff\xff\xff")
        await peer.flush()
        await peer.until_gone()

    async with misbehaving(script) as server, connect(server.url, QUICK) as remote, remote.stream("hi") as events:
        with anyio.fail_after(DEADLINE), pytest.raises(InvalidAnswerError, match="larger than"):
            await anext(aiter(events))


async def test_a_request_that_is_not_taken_ends_in_time(anyio_backend: str) -> None:
    async with misbehaving(Peer.answer, initial_window_size=0) as server, connect(server.url, QUICK) as remote:
        with anyio.fail_after(DEADLINE), pytest.raises(TimedOutError):
            await remote.send("hi" * 100_000)


async def test_a_request_larger_than_the_window_is_sent_as_it_opens(anyio_backend: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.answer()
        await peer.until_gone()

    async with misbehaving(script) as server, connect(server.url, QUICK) as remote:
        with anyio.fail_after(DEADLINE):
            assert isinstance(await remote.send("hi" * 100_000), Task)


async def test_a_connection_is_used_again(anyio_backend: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.answer()
        while True:
            await peer.next_request()
            await peer.answer()

    async with misbehaving(script) as server, connect(server.url, QUICK) as remote:
        for _ in range(3):
            assert isinstance(await remote.send("hi"), Task)
        assert server.connections == 1


async def test_a_stream_that_is_cut_is_resumed(anyio_backend: str) -> None:
    seen: list[str] = []

    async def script(peer: Peer) -> None:
        seen.append(peer.path)
        await peer.head()
        if len(seen) == 1:
            await peer.message(WORKING, "StreamResponse")
            return  # the connection is closed
        await peer.message(DONE, "StreamResponse")
        await peer.trailers()

    broken: list[Exception] = []
    async with misbehaving(script) as server, connect(server.url, ClientOptions(timeout=2.0)) as remote:
        with anyio.fail_after(DEADLINE):
            async with remote.stream("hi", on_break=broken.append) as events:
                states = [item.status.state.value async for item in events if hasattr(item, "status")]
    assert states == ["working", "completed"]
    assert [path.rpartition("/")[2] for path in seen][:2] == ["SendStreamingMessage", "SubscribeToTask"]
    assert len(broken) == 1


async def test_a_stream_that_is_left_is_reset(anyio_backend: str) -> None:
    gone = anyio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.message(WORKING, "StreamResponse")
        await peer.until_reset()
        gone.set()

    async with misbehaving(script) as server, connect(server.url, ClientOptions(timeout=5.0)) as remote:
        async with remote.stream("hi") as events:
            await anext(aiter(events))
        with anyio.fail_after(DEADLINE):
            await gone.wait()


@pytest.mark.parametrize("lives", [True, False])
async def test_a_silent_stream_is_probed(monkeypatch: pytest.MonkeyPatch, anyio_backend: str, lives: bool) -> None:
    monkeypatch.setattr(http2, "PING_AFTER", 0.05)
    monkeypatch.setattr(web, "QUIET", 0.3)

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.message(WORKING, "StreamResponse")
        if peer.path.endswith("SendStreamingMessage"):
            with anyio.move_on_after(0.7):
                if lives:
                    await peer.until_gone()  # which answers pings
                await anyio.sleep(5)
        await peer.message(DONE, "StreamResponse")
        await peer.trailers()

    broken: list[Exception] = []
    options = ClientOptions(timeout=0.2, patience=5.0)
    async with misbehaving(script) as server, connect(server.url, options) as remote:
        with anyio.fail_after(DEADLINE):
            async with remote.stream("hi", on_break=broken.append) as events:
                states = [item.status.state.value async for item in events if hasattr(item, "status")]
    assert states[-1] == "completed"
    assert len(broken) == (0 if lives else 1)


async def test_a_server_that_has_left_is_connected_to_again(anyio_backend: str) -> None:
    left = anyio.Event()

    async def script(peer: Peer) -> None:
        await peer.answer()
        peer.protocol.close_connection()
        await peer.flush()
        left.set()

    async with misbehaving(script) as server, connect(server.url, QUICK) as remote:
        for count in (1, 2):
            assert isinstance(await remote.send("hi"), Task)
            assert server.connections == count
            await left.wait()
