"""Answers that nobody reads: a connection holds a few of them, however many it asks for."""

from __future__ import annotations

from collections import Counter
from typing import Any

import anyio
import pytest

from opencode_a2a.fake_opencode import FakeOpenCode
from opencode_a2a.fake_opencode.scripts import SCRIPTS
from opencode_a2a.server.websocket import room
from sansio.a2a.serving.websocket_call import WebSocketCall
from sansio.a2a.tasks.presentation import Presentation
from sansio.a2a.websocket.outbox import MOST
from tests.shell.harness import DEADLINE, RPC_10, Agent, Serving
from tests.shell.server.websocket.client import Client, connection
from tests.shell.server.websocket.test_operations import ON
from tests.shell.server.websocket.test_streams import LARGEST, flood

pytestmark = pytest.mark.anyio

ASKED = 40
READ = 12
FEW = 4 * room.MAKING
"""Those that are made, the one that waits to be sent, the one that is being sent, and those that the kernel has."""
METHODS: dict[str, tuple[type, str, int]] = {
    "GetTask": (Presentation, "task", 1),
    "SendMessage": (Presentation, "send_result", 1),
    "SubscribeToTask": (WebSocketCall, "frame", 70),
}
"""Operations whose answers are large, each with what renders them, and how often for one answer at most."""


def _large() -> FakeOpenCode:
    return FakeOpenCode(pause=0, tick=0.001, scripts={**SCRIPTS, "FLOOD": flood})


async def _task_with_large_answers(agent: Agent) -> dict[str, Any]:
    """Run a task; return its message."""
    message = RPC_10.message("FLOOD")
    async with connection(agent.url) as client:
        assert "result" in await client.ask("SendMessage", {"message": message})
    return message


async def _ask_unread(client: Client, method: str, message: dict[str, Any], task_id: str, times: int) -> None:
    params = {"message": message} if method == "SendMessage" else {"id": task_id}
    for number in range(times):
        more = {"serviceParams": {"last-event-id": "1"}} if method == "SubscribeToTask" else {}
        await client.send(id=number, method=method, params=params, **more)


async def _id_of(agent: Agent, message: dict[str, Any]) -> str:
    async with connection(agent.url) as client:
        answer = await client.ask("SendMessage", {"message": message})
        return str(answer["result"]["task"]["id"])


@pytest.mark.parametrize("method", METHODS)
async def test_answers_that_nobody_reads_are_few_and_the_others_are_not_made(
    serving: Serving, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    made = Counter[str]()
    owner, name, times = METHODS[method]
    rendered = getattr(owner, name)

    def counted(self: Any, *arguments: Any) -> Any:
        made[method] += 1
        return rendered(self, *arguments)

    async with serving(_large(), **ON) as agent:
        message = await _task_with_large_answers(agent)
        task_id = await _id_of(agent, message)
        monkeypatch.setattr(owner, name, counted)
        async with connection(agent.url, window=4096) as client:
            [one] = agent.running.a2a.websockets.open
            await _ask_unread(client, method, message, task_id, ASKED)
            await agent.until(lambda: one.outbox.is_full)
            async with connection(agent.url) as other:
                for _ in range(ASKED):  # by then those would be made too that may not be
                    assert "result" in await other.ask("ListTasks", {"pageSize": 1})
            assert one.outbox.size < MOST + LARGEST
            assert made[method] <= FEW * times
        async with connection(agent.url) as other:
            assert "result" in await other.ask("ListTasks", {"pageSize": 1})


async def test_an_answer_that_finds_no_room_in_time_is_an_error_of_its_request(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "PATIENCE", 0.0)
    async with serving(_large(), **ON) as agent:
        message = await _task_with_large_answers(agent)
        task_id = await _id_of(agent, message)
        async with connection(agent.url, window=4096) as client:
            [one] = agent.running.a2a.websockets.open
            await _ask_unread(client, "GetTask", message, task_id, READ)
            waiting = len("The client did not read")
            await agent.until(lambda: one.outbox.size > MOST + waiting)
            for number in range(READ):
                await client.until(lambda: client.answers[number])  # noqa: B023 - it is over by then
            assert "result" in await client.ask("GetTask", {"id": task_id}, id="again")
        answers = [client.answers[number][0] for number in range(READ)]
        refused = [one["error"] for one in answers if "error" in one]
        assert refused
        assert all(error["code"] == -32603 and "did not read" in error["message"] for error in refused)
        assert any("result" in one for one in answers)


async def test_a_stream_that_is_left_makes_room_for_others(serving: Serving) -> None:
    async with serving(_large(), **ON) as agent, connection(agent.url, window=4096) as client:
        [one] = agent.running.a2a.websockets.open
        for number in range(room.MAKING + 2):
            params = {"message": RPC_10.message("FLOOD")}
            await client.send(id=number, method="SendStreamingMessage", params=params)
        await agent.until(lambda: one.outbox.is_full)
        for number in range(room.MAKING + 1):
            await client.send(id=number, cancelStream=True)
        last = room.MAKING + 1
        await client.send(id="task", method="ListTasks", params={"pageSize": 1})
        await client.until(lambda: client.answers["task"])
        with anyio.fail_after(3 * DEADLINE):
            assert "streamEnd" in (await client.to_end(last))[-1]
