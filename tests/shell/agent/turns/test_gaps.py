"""The event bus breaks, falls silent, or lies: what a task says in the end is what OpenCode said."""

from __future__ import annotations

import anyio
import pytest

from opencode_a2a.agent.upstream import event_bus
from opencode_a2a.fake_opencode import AFTER_TOOL, Say
from opencode_a2a.fake_opencode.scripts import TOOL_OUTPUT
from sansio.a2a.backoff import Backoff
from sansio.a2a.model import DataPart, TaskState
from tests.shell.cases import one_codec
from tests.shell.folding import artifacts_of, folded, text_of
from tests.shell.harness import DEADLINE, REST_03, RPC_10, Agent, Serving, Wire

pytestmark = pytest.mark.anyio
LONG = "".join(f"w{index} " for index in range(30))


async def at_rest(agent: Agent) -> None:
    """Wait until the stand-in works on nothing."""
    with anyio.fail_after(DEADLINE):
        while (await agent.opencode.get("/session/status")).json() != {}:
            pass


async def test_of_many_turns_that_missed_events_some_look_at_their_sessions_at_once(serving: Serving) -> None:
    async with serving() as agent:
        caller = agent.caller(RPC_10)
        agent.fake_opencode.hold(Say, tokens=1)
        started = [await caller.send("LONG 3", configuration=RPC_10.at_once()) for _ in range(20)]
        await agent.fake_opencode.held(20)
        answer = agent.fake_opencode.answer_late("GET", "/session/status")
        agent.fake_opencode.drop_streams()
        await agent.until(lambda: agent.asked("GET", "/children") >= 16)
        await agent.until(lambda: agent.asked("GET", "/session/status"))
        for _ in range(4):  # by then there would be more
            await agent.http.get("/health")
        looks, shared = agent.asked("GET", "/children"), agent.asked("GET", "/session/status")
        agent.fake_opencode.release()
        answer.set()
        ended = [await caller.finished(task.id) for task in started]

    assert (looks, shared) == (16, 1)
    assert {text_of(task) for task in ended} == {"w0 w1 w2 "}


@one_codec
async def test_a_bus_that_breaks_in_mid_turn_costs_nothing(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        agent.fake_opencode.hold(Say, tokens=5)
        async with agent.caller(wire).open("LONG 30") as stream:
            await stream.until(lambda: stream.text.startswith("w0 w1 w2 w3 w4 "))
            agent.fake_opencode.drop_streams()
            agent.fake_opencode.release()
            await stream.whole()
        task = await agent.caller(wire).get(stream.task.id)

        assert agent.running.bus.reconnects == 2
    assert (stream.state, stream.text, text_of(task)) == ("completed", LONG, LONG)
    assert folded(stream.items) == artifacts_of(task)


async def test_a_bus_that_breaks_again_and_again_costs_nothing(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_bus, "BACKOFF", Backoff((0.01,)))
    async with serving() as agent:
        for tokens in (1, 3, 7):
            agent.fake_opencode.hold(Say, tokens=tokens)
            async with agent.caller().open("LONG 30") as stream:
                for _ in range(3):
                    await agent.fake_opencode.held()
                    await drop(agent)
                agent.fake_opencode.release()
                await stream.whole()
            assert (stream.state, stream.text) == ("completed", LONG)


async def test_what_was_said_while_nobody_heard_is_read_afterwards(serving: Serving) -> None:
    async with serving() as agent:
        agent.fake_opencode.hold(Say, tokens=5)
        async with agent.caller(REST_03).open("LONG 30") as stream:
            await stream.until(lambda: stream.text.startswith("w0 w1 w2 w3 w4 "))
            with agent.fake_opencode.mute():
                agent.fake_opencode.release()
                await at_rest(agent)
            agent.fake_opencode.drop_streams()
            await stream.whole()
        task = await agent.caller(REST_03).get(stream.task.id)

    assert (stream.state, stream.text, text_of(task)) == ("completed", LONG, LONG)


async def test_a_whole_turn_nobody_heard_is_read_afterwards(serving: Serving) -> None:
    async with serving() as agent:
        await agent.until(lambda: agent.running.bus.connected)
        with agent.fake_opencode.mute():
            task = await agent.caller().send("TOOL", configuration=RPC_10.at_once())
            await agent.until(lambda: agent.asked("POST", "/prompt_async"))
            await at_rest(agent)
        agent.fake_opencode.drop_streams()
        done = await agent.caller().finished(task.id)

    calls = [part.data for one in done.artifacts for part in one.parts if isinstance(part, DataPart)]
    assert text_of(done) == AFTER_TOOL
    assert [(call["status"], call["output"]) for call in calls] == [("completed", TOOL_OUTPUT)]


async def test_a_gap_while_the_client_is_asked_leaves_the_question_open(serving: Serving) -> None:
    async with serving() as agent, agent.caller(stays_open=True).open("PERMISSION") as stream:
        await stream.until(lambda: stream.shared("interrupt"))
        await drop(agent)
        assert stream.statuses[-1].status.state.interrupted

        request_id = stream.shared("interrupt")[0]["request_id"]
        await agent.opencode.post(f"/permission/{request_id}/reply", json={"reply": "once"})
        await stream.whole()

    assert (stream.state, stream.text) == ("completed", AFTER_TOOL)


async def test_a_question_asked_while_nobody_heard_is_asked_afterwards(serving: Serving) -> None:
    async with serving() as agent:
        await agent.until(lambda: agent.running.bus.connected)
        with agent.fake_opencode.mute():
            task = await agent.caller().send("PERMISSION", configuration=RPC_10.at_once())
            [asked] = await pending(agent)
        agent.fake_opencode.drop_streams()
        state = ""
        with anyio.fail_after(DEADLINE):
            while state != "input-required":
                state = (await agent.caller().get(task.id)).status.state.value
        await agent.opencode.post(f"/permission/{asked['id']}/reply", json={"reply": "once"})
        done = await agent.caller().finished(task.id)

    assert text_of(done) == AFTER_TOOL


async def test_a_question_answered_while_nobody_heard_is_no_longer_open(serving: Serving) -> None:
    async with serving() as agent:
        agent.fake_opencode.hold(Say)
        task = await agent.caller().send("PERMISSION")
        assert task.status.state is TaskState.INPUT_REQUIRED
        with agent.fake_opencode.mute():
            [asked] = await pending(agent)
            await agent.opencode.post(f"/permission/{asked['id']}/reply", json={"reply": "once"})
            with anyio.fail_after(DEADLINE):
                await agent.fake_opencode.held()
        agent.fake_opencode.drop_streams()
        with anyio.fail_after(DEADLINE):
            while (await agent.caller().get(task.id)).status.state is not TaskState.WORKING:
                pass
        agent.fake_opencode.release()
        done = await agent.caller().finished(task.id)

    assert text_of(done) == AFTER_TOOL


async def drop(agent: Agent) -> None:
    """Break the bus, and wait until it is back."""
    connections = agent.running.bus.reconnects
    agent.fake_opencode.drop_streams()
    await agent.until(lambda: agent.running.bus.reconnects > connections)


async def pending(agent: Agent) -> list[dict[str, str]]:
    """The permissions that OpenCode waits for, once there are any."""
    with anyio.fail_after(DEADLINE):
        while True:
            found: list[dict[str, str]] = (await agent.opencode.get("/permission")).json()
            if found:
                return found
