"""Streams over WebSocket: many on one connection; one is left, resumed, or too slow, and the others go on."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.lowlevel
import pytest

from opencode_a2a.fake_opencode import HELLO, FakeOpenCode, Prompt, Say, Script
from opencode_a2a.fake_opencode.scripts import SCRIPTS
from opencode_a2a.server.websocket import room
from sansio.a2a.serving.websocket_call import WebSocketCall
from sansio.a2a.websocket.outbox import SHARE
from tests.shell.folding import text_of as whole_text
from tests.shell.harness import ALICE, DEADLINE, RPC_10, Serving
from tests.shell.server.websocket.client import connection
from tests.shell.server.websocket.test_operations import ON, short, started, text_of

pytestmark = pytest.mark.anyio


async def test_many_streams_and_answers_share_a_connection(serving: Serving) -> None:
    async with serving(short(), **ON) as agent, connection(agent.url) as client:
        for number in range(40):
            await client.send(
                id=number, method="SendStreamingMessage", params={"message": RPC_10.message(f"ECHO say {number}")}
            )
            await client.send(id=f"page {number}", method="ListTasks", params={"pageSize": 1})
        for number in range(40):
            assert text_of(await client.to_end(number)) == f"say {number}"
            await client.until(lambda: client.answers[f"page {number}"])  # noqa: B023 - it is over by then
        assert len(client.messages) == sum(map(len, client.answers.values()))


async def test_a_stream_that_is_left_ends_and_its_task_goes_on(serving: Serving) -> None:
    async with serving(short(), **ON) as agent, connection(agent.url) as client:
        left = await started(client, "SLOW", id="left")
        await started(client, "SLOW", id="kept")
        await client.send(id="left", cancelStream=True)
        assert (await client.to_end("left"))[-1] == {"jsonrpc": "2.0", "id": "left", "streamEnd": True}
        await client.send(id="left", cancelStream=True)  # it is over: nothing comes of that
        await client.send(id="other", cancelStream=True)
        await client.to_end("kept")
        assert sum("streamEnd" in one for one in client.answers["left"]) == 1
        assert not client.answers["other"]
        await client.until(lambda: True)
        task = await agent.caller().finished(left)
        assert task.status.state.value == "completed"


async def test_a_stream_can_be_left_before_it_begins(serving: Serving) -> None:
    async with serving(short(), **ON) as agent, connection(agent.url) as client:
        message = {"message": RPC_10.message("SLOW")}
        await client.send(id=1, method="SendStreamingMessage", params=message)
        await client.send(id=1, cancelStream=True)
        assert (await client.to_end(1))[-1]["streamEnd"] is True
        assert not any(
            "statusUpdate" in one.get("result", {})
            and one["result"]["statusUpdate"]["status"]["state"] == "TASK_STATE_COMPLETED"
            for one in client.answers[1]
        )


async def test_a_stream_that_fails_ends_with_an_error_and_the_connection_goes_on(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> bytes:
        raise RuntimeError("broken")

    async with serving(short(), **ON) as agent, connection(agent.url) as client:
        monkeypatch.setattr(WebSocketCall, "frame", broken)
        await client.send(id=1, method="SendStreamingMessage", params={"message": RPC_10.message("SLOW")})
        *_, error, end = await client.to_end(1)
        assert error["error"]["code"] == -32603
        assert end["streamEnd"] is True
        assert "result" in await client.ask("ListTasks", {}, id=2)


async def test_an_id_in_use_is_refused_and_can_be_used_again_later(serving: Serving) -> None:
    async with serving(short(), **ON) as agent, connection(agent.url) as client:
        await started(client, "SLOW", id=7)
        await client.send(id=7, method="ListTasks", params={})
        await client.until(lambda: client.answers[None])
        error = client.answers[None][0]["error"]
        assert (error["code"], "id" in error["message"]) == (-32600, True)
        await client.to_end(7)
        assert "result" in await client.ask("ListTasks", {}, id=7)


async def test_a_stream_is_resumed_after_the_last_event_that_came(serving: Serving) -> None:
    async with serving(short(), **ON) as agent:
        async with connection(agent.url) as client:
            task_id = await started(client, "SLOW", id=1)
            await client.until(lambda: len(client.answers[1]) > 3)
            seen = list(client.answers[1])
        async with connection(agent.url) as client:
            last = seen[-1]["eventId"]
            await client.send(
                id="on", method="SubscribeToTask", params={"id": task_id}, serviceParams={"last-event-id": last}
            )
            first, *events, end = await client.to_end("on")
        assert "streamEnd" in end
        assert first["eventId"] == last
        numbers = [int(one["eventId"]) for one in (*seen, *events)]
        assert numbers == sorted(set(numbers))
        task = await agent.caller().get(task_id)
        assert text_of([*seen, *events]) == whole_text(task)


async def test_a_bad_event_id_is_named(serving: Serving) -> None:
    async with serving(short(), **ON) as agent, connection(agent.url) as client:
        task = (await client.ask("SendMessage", {"message": RPC_10.message("hi")}, id=0))["result"]["task"]["id"]
        answer = await client.ask("SubscribeToTask", {"id": task}, serviceParams={"Last-Event-ID": "x"})
        assert "Last-Event-ID" in str(answer["error"])


def flood(prompt: Prompt) -> Script:
    return Script(((Say(tuple(f"w{n} " * 8000 for n in range(60))),),))


LARGEST = 8000 * 4 * 60 + 1000  # bytes of the last chunk, which has the whole text


async def test_streams_of_a_client_that_does_not_read_end_resumable_and_cost_no_memory(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "PATIENCE", 0.3)
    opencode = FakeOpenCode(pause=0, tick=0.001, scripts={**SCRIPTS, "FLOOD": flood})
    most = 0
    async with serving(opencode, **ON) as agent, connection(agent.url, window=4096) as client:
        for number in range(2):
            message = {"message": RPC_10.message("FLOOD")}
            await client.send(id=number, method="SendStreamingMessage", params=message)
        [one] = agent.running.a2a.websockets.open
        await agent.until(lambda: len(one.streams) == 2)
        with anyio.fail_after(DEADLINE):
            while one.streams:
                most = max(most, one.outbox.size)
                await anyio.sleep(0.005)
        ends = [(await client.to_end(number))[-1] for number in range(2)]
        assert most <= 2 * (SHARE + LARGEST)
        assert any(end.get("resumable") and "read" in end["reason"] for end in ends)
        task_id = client.answers[0][0]["result"]["task"]["id"]
        await agent.caller().finished(task_id)
        assert text_of(await started_and_read(client)) == HELLO


async def started_and_read(client: Any) -> list[dict[str, Any]]:
    await started(client, "hi", id="hi")
    found: list[dict[str, Any]] = await client.to_end("hi")
    return found


async def test_a_stream_beyond_a_limit_says_so_at_its_end(serving: Serving) -> None:
    async with serving(short(), stream_max_bytes=3000, **ON) as agent, connection(agent.url) as client:
        await started(client, "SLOW", id=1)
        end = (await client.to_end(1))[-1]
        assert end["resumable"] is True
        assert "3000 bytes" in end["reason"]


async def test_messages_that_come_at_once_leave_others_their_turns(serving: Serving) -> None:
    coming = [{"type": "websocket.connect"}, *[{"type": "websocket.receive", "text": "1"}] * 50]
    turns = 0

    async def receive() -> Any:
        return coming.pop(0) if coming else {"type": "websocket.disconnect"}

    async def send(_message: Any) -> None:
        """Take all, at once."""

    async def others(scope: anyio.CancelScope) -> None:
        nonlocal turns
        with scope:
            while True:
                await anyio.lowlevel.checkpoint()
                turns += 1

    async with serving(**ON) as agent:
        fields = {"host": "agent", "authorization": f"Bearer {ALICE}", "sec-websocket-protocol": "a2a.v1"}
        headers = [(name.encode(), value.encode()) for name, value in fields.items()]
        scope = {"type": "websocket", "path": "/websocket", "query_string": b"", "headers": headers}
        async with anyio.create_task_group() as tasks:
            beside = anyio.CancelScope()
            tasks.start_soon(others, beside)
            await agent.running.asgi(scope, receive, send)
            beside.cancel()

    assert (coming, turns >= 50) == ([], True)
