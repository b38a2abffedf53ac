"""Agents over WebSocket that mean harm, or are broken: each ends in the error of its row, and in time."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.lowlevel
import orjson
import pytest

from opencode_a2a.client import ClientOptions, connect, websocket_channel
from opencode_a2a.outbound.transport import CheckedTransport
from sansio.a2a.client.client_errors import (
    AuthenticationError,
    BusyAgentError,
    ClientError,
    InvalidAnswerError,
    RefusedTargetError,
    TimedOutError,
    UnavailableError,
    UsageError,
)
from sansio.a2a.model import Task
from sansio.outbound import PEER_RULES, OutboundPolicy
from sansio.redact import Secret
from tests.shell.client.hostile import head, whole
from tests.shell.client.hostile_rows import Case, each_case, outcome
from tests.shell.client.hostile_websocket import CASES, WORKING, Peer, answered, misbehaving
from tests.shell.harness import DEADLINE

pytestmark = pytest.mark.anyio

QUICK = ClientOptions(timeout=0.4, patience=0.5, bearer=Secret("s3cret"))
CALM = ClientOptions(timeout=5.0, patience=5.0)


@each_case(CASES)
async def test_the_outcome_is_that_of_the_row(case: Case[Peer], anyio_backend: str) -> None:
    options = QUICK if case.error is TimedOutError else ClientOptions(timeout=5.0, bearer=Secret("s3cret"))
    with anyio.fail_after(DEADLINE):
        async with misbehaving(case.script) as server, connect(server.url, options) as remote:
            assert "s3cret" not in await outcome(case, remote)


HANDSHAKES: list[tuple[dict[str, Any], type[ClientError], str]] = [
    ({"answer": whole(b'{"error":{"message":"no"}}', status="401 Unauthorized")}, AuthenticationError, "no"),
    ({"answer": whole(b"full", "retry-after: 9", status="503 Busy")}, BusyAgentError, "full; try again in 9 s"),
    ({"answer": head("302 Found", "location: http://127.0.0.2:9/")}, InvalidAnswerError, "redirects"),
    ({"answer": whole(b"{}")}, InvalidAnswerError, "does not switch"),
    ({"answer": b"HTTP/1.1 101 X\r\nupgrade: h2c\r\n\r\n"}, InvalidAnswerError, "does not switch"),
    ({"answer": b"SSH-2.0\r\n\r\n"}, UnavailableError, "broke"),
    ({"accept": "x"}, InvalidAnswerError, "wrong Sec-WebSocket-Accept"),
    ({"protocol": ""}, InvalidAnswerError, "the subprotocol that was offered"),
    ({"extra": ("sec-websocket-extensions: permessage-deflate",)}, InvalidAnswerError, "was not offered"),
]


@pytest.mark.parametrize("row", range(len(HANDSHAKES)))
async def test_a_handshake_that_is_none_is_an_error(row: int) -> None:
    more, error, text = HANDSHAKES[row]
    with anyio.fail_after(DEADLINE):
        async with misbehaving(answered, **more) as server, connect(server.url, CALM) as remote:
            with pytest.raises(error) as caught:
                await remote.send("hi")
            assert text in caught.value.message


async def test_the_handshake_has_the_credential_and_each_request_its_own_parameters(anyio_backend: str) -> None:
    async with misbehaving(answered) as server, connect(server.url, QUICK) as remote:
        with anyio.fail_after(DEADLINE):
            await remote.send("hi")
            await remote.get_task("t")
            async with remote.subscribe("t", last_event_id="3") as events:
                assert isinstance(await anext(aiter(events)), Task)

    [handshake], [peer] = server.heads, server.peers
    assert "authorization: bearer s3cret" in handshake
    assert "sec-websocket-protocol: a2a.v1" in handshake
    assert "last-event-id" not in handshake
    first, second, third = (one["serviceParams"] for one in peer.requests[:3])
    assert {"a2a-version", "traceparent"} == set(first) == set(second)
    assert first["traceparent"] != second["traceparent"]
    assert third["last-event-id"] == "3"
    assert "s3cret" not in str(peer.requests)
    assert peer.closed == 1000


async def test_the_policy_decides_about_the_address_of_the_handshake(anyio_backend: str) -> None:
    transport = CheckedTransport(OutboundPolicy(rules=PEER_RULES, allow_private=True))
    async with (
        misbehaving(answered, leads_to="ws://169.254.169.254/x") as server,
        connect(server.url, CALM, transport=transport) as remote,
    ):
        with pytest.raises(RefusedTargetError, match="metadata"):
            await remote.send("hi")


async def test_a_stream_that_is_cut_is_resumed_after_its_last_event(anyio_backend: str) -> None:
    seen: list[dict[str, Any]] = []

    async def script(peer: Peer) -> None:
        seen.append(peer.request)
        if len(seen) == 1:
            await peer.answer(result=WORKING, eventId="4")
            return  # the connection is closed
        await answered(peer)

    broken: list[Exception] = []
    async with misbehaving(script) as server, connect(server.url, CALM) as remote:
        with anyio.fail_after(DEADLINE):
            async with remote.stream("hi", on_break=broken.append) as events:
                states = [item.status.state.value async for item in events if hasattr(item, "status")]
    assert states == ["working", "completed"]
    assert [one["method"] for one in seen] == ["SendStreamingMessage", "SubscribeToTask"]
    assert seen[1]["serviceParams"]["last-event-id"] == "4"
    assert [type(one) for one in broken] == [UnavailableError]


async def test_a_connection_that_ends_is_an_error_for_all_and_opened_again(anyio_backend: str) -> None:
    async def script(peer: Peer) -> None:
        if len(server.peers) == 1:
            while len(peer.requests) < 3:
                await peer.read()
            return
        await answered(peer)

    found: list[str] = []

    async def send() -> None:
        with pytest.raises(UnavailableError, match="broke"):
            await remote.send("hi")
        found.append("lost")

    with anyio.fail_after(DEADLINE):
        async with misbehaving(script) as server, connect(server.url, CALM) as remote:
            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(send)
            assert found == ["lost"] * 3
            assert isinstance(await remote.send("hi"), Task)
            assert len(server.peers) == 2


async def test_a_connection_that_the_server_closes_while_nobody_reads_is_opened_again(anyio_backend: str) -> None:
    left = anyio.Event()

    async def script(peer: Peer) -> None:
        await peer.answer()
        await peer.stream.aclose()
        left.set()

    with anyio.fail_after(DEADLINE):
        async with misbehaving(script) as server, connect(server.url, CALM) as remote:
            for count in (1, 2):
                assert isinstance(await remote.send("hi"), Task)
                assert len(server.peers) == count
                await left.wait()


async def test_what_comes_while_nobody_reads_is_taken_before_the_next_request(anyio_backend: str) -> None:
    sent = anyio.Event()
    more = {"statusUpdate": {**WORKING["statusUpdate"], "metadata": {"x": "y" * 30_000}}}

    async def script(peer: Peer) -> None:
        await peer.answer(result=WORKING)
        for number in range(5):
            await peer.answer(result=more, eventId=str(number))
        sent.set()
        await peer.next_request()
        await answered(peer)

    with anyio.fail_after(DEADLINE):
        async with misbehaving(script) as server, connect(server.url, CALM) as remote, remote.stream("hi") as events:
            items = [await anext(events)]
            await sent.wait()
            assert (await remote.get_task("t")).id == "t"
            items += [await anext(events) for _ in range(5)]
    assert len(items) == 6
    assert events.last_event_id == "4"
    assert len(server.peers) == 1


async def test_a_request_that_is_cancelled_at_any_step_leaves_the_connection_to_the_others(
    anyio_backend: str,
) -> None:
    async def ask(task_status: anyio.abc.TaskStatus[anyio.CancelScope]) -> None:
        with anyio.CancelScope() as scope:
            task_status.started(scope)
            await remote.get_task("t")

    with anyio.fail_after(DEADLINE):
        async with misbehaving(answered) as server, connect(server.url, CALM) as remote:
            await remote.send("hi")
            for steps in range(20):
                async with anyio.create_task_group() as tasks:
                    scope = await tasks.start(ask)
                    for _ in range(steps):
                        await anyio.lowlevel.checkpoint()
                    scope.cancel()
                assert (await remote.get_task("t")).id == "t"
            assert len(server.peers) == 1


async def test_who_leaves_hands_the_reading_on(anyio_backend: str) -> None:
    """The one that reads is cancelled, and the other still gets its answer, and the stream is cancelled."""

    async def script(peer: Peer) -> None:
        ids = {peer.request["method"]: peer.request["id"]}
        while len(ids) < 2:
            request = await peer.next_request()
            ids[request["method"]] = request["id"]
        waiting.set()
        cancelled.append(await peer.next_request())
        message = {"jsonrpc": "2.0", "id": ids["GetTask"], "result": {"id": "t", "contextId": "c"}}
        message["result"]["status"] = {"state": "TASK_STATE_WORKING"}
        await peer.text(orjson.dumps(message).decode())
        await peer.until_gone()

    async def read() -> None:
        found.append(await remote.get_task("t"))

    async def stream(task_status: anyio.abc.TaskStatus[anyio.CancelScope]) -> None:
        with anyio.CancelScope() as scope:
            task_status.started(scope)
            async with remote.stream("hi") as events:
                await anext(aiter(events))

    waiting, cancelled, found = anyio.Event(), list[Any](), list[Task]()
    with anyio.fail_after(DEADLINE):
        async with (
            misbehaving(script) as server,
            connect(server.url, CALM) as remote,
            anyio.create_task_group() as tasks,
        ):
            scope = await tasks.start(stream)
            tasks.start_soon(read)
            await waiting.wait()
            scope.cancel()
    assert [one.id for one in found] == ["t"]
    assert cancelled[0]["cancelStream"] is True
    assert len(server.peers) == 1


@pytest.mark.parametrize("lives", [True, False])
async def test_a_silent_stream_is_probed(monkeypatch: pytest.MonkeyPatch, anyio_backend: str, lives: bool) -> None:
    monkeypatch.setattr(websocket_channel, "LOOK", 0.1)

    async def script(peer: Peer) -> None:
        if peer.request["method"] == "SendStreamingMessage":
            peer.answers_pings = lives
            await peer.answer(result=WORKING, eventId="1")
            with anyio.move_on_after(0.5):
                await peer.until_gone()
                return
        await answered(peer)

    broken: list[Exception] = []
    options = ClientOptions(timeout=0.25, patience=5.0)
    async with misbehaving(script) as server, connect(server.url, options) as remote:
        with anyio.fail_after(DEADLINE):
            async with remote.stream("hi", on_break=broken.append) as events:
                states = [item.status.state.value async for item in events if hasattr(item, "status")]
    assert states[-1] == "completed"
    assert [type(one) for one in broken] == ([] if lives else [TimedOutError])


async def test_a_task_that_does_not_change_is_given_up_though_its_server_lives(
    monkeypatch: pytest.MonkeyPatch, anyio_backend: str
) -> None:
    monkeypatch.setattr(websocket_channel, "LOOK", 0.05)

    async def script(peer: Peer) -> None:
        await peer.answer(result=WORKING)
        await peer.until_gone()

    options = ClientOptions(timeout=5.0, patience=0.2)
    with anyio.fail_after(DEADLINE):
        async with (
            misbehaving(script) as server,
            connect(server.url, options) as remote,
            remote.stream("hi") as events,
        ):
            with pytest.raises(TimedOutError, match=r"has not changed for 0\.2 s"):
                async for _ in events:
                    pass


async def test_a_request_that_is_not_taken_ends_in_time(anyio_backend: str) -> None:
    with anyio.fail_after(DEADLINE):
        async with misbehaving(answered, stalls=True) as server, connect(server.url, QUICK) as remote:
            with pytest.raises(TimedOutError):
                await remote.send("hi" * 8_000_000)


async def test_only_so_many_requests_wait_at_once(monkeypatch: pytest.MonkeyPatch, anyio_backend: str) -> None:
    monkeypatch.setattr(websocket_channel, "REQUESTS", 1)

    async def script(peer: Peer) -> None:
        if peer.request["method"] == "SendStreamingMessage":
            await peer.answer(result=WORKING)
            await peer.next_request()  # the cancellation
            await peer.next_request()
        await answered(peer)

    with anyio.fail_after(DEADLINE):
        async with misbehaving(script) as server, connect(server.url, ClientOptions(timeout=0.5)) as remote:
            async with remote.stream("hi") as events:
                await anext(aiter(events))
                with pytest.raises(TimedOutError, match="No connection"):
                    await remote.get_task("t")
            assert isinstance(await remote.send("hi"), Task)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_transport_that_cannot_switch_is_named() -> None:
    class Other(CheckedTransport):
        async def handle_async_request(self, request: Any) -> Any:
            response = await super().handle_async_request(request)
            response.extensions.pop("switched", None)
            return response

    transport = Other(OutboundPolicy(rules=PEER_RULES, allow_private=True))
    async with misbehaving(answered) as server, connect(server.url, CALM, transport=transport) as remote:
        with pytest.raises(UsageError, match="cannot carry WebSocket"):
            await remote.send("hi")


async def test_a_large_answer_is_parsed_beside_the_event_loop(anyio_backend: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.answer(result={"task": {**_done(), "metadata": {"x": "y" * 200_000}}})
        await peer.answer(error={"code": -32603, "message": "no"})
        await peer.until_gone()

    with anyio.fail_after(DEADLINE):
        async with misbehaving(script) as server, connect(server.url, CALM) as remote:
            task = await remote.send("hi")
            assert isinstance(task, Task)
            assert len((task.metadata or {})["x"]) == 200_000


def _done() -> dict[str, Any]:
    return {"id": "t", "contextId": "c", "status": {"state": "TASK_STATE_COMPLETED"}}
