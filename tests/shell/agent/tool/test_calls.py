"""The model calls other agents: answers, questions, progress, cancellation, and circles of agents."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from opencode_a2a.fake_opencode import FakeOpenCode
from opencode_a2a.fake_opencode.scripts import HELLO, Say
from sansio.a2a.model import TaskState
from sansio.a2a.tool.hops import HOP_LIMIT, hop_metadata
from tests.shell.agent.tool.conftest import Start
from tests.shell.folding import folded
from tests.shell.harness import RPC_03, RPC_10, Agent, Wire


async def asked(agent: Agent, text: str, wire: Wire = RPC_10) -> str:
    """What the agent answers."""
    return (await agent.caller(wire).stream(text)).text


@pytest.mark.parametrize("wire", [RPC_03, RPC_10], ids=str)
async def test_the_answer_of_the_agent_reaches_the_model(node: Start, wire: Wire) -> None:
    async with node() as peer, node() as agent:
        answer = await asked(agent, f"PEER {peer.url} hi", wire)

    assert answer.startswith(f"agent: {peer.url}\nstate: completed\ncontext_id: ")
    assert answer.endswith(f"The agent's own words:\n{HELLO}")


@pytest.mark.parametrize("binding", ["GRPC", "WEBSOCKET"])
async def test_an_agent_that_has_one_binding_alone_is_called_over_it(node: Start, binding: str) -> None:
    async with node(bindings=(binding,)) as peer, node() as agent:
        answer = await asked(agent, f"PEER {peer.url} hi")
        after_a_question = await asked(agent, f"PEERASK {peer.url} PERMISSION")

    assert answer.endswith(f"The agent's own words:\n{HELLO}")
    assert after_a_question.endswith("Now I know.")


async def test_the_agent_continues_the_trace_of_the_turn(node: Start) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    async with node() as peer, node() as agent:
        caller = agent.caller()
        params = caller.params(f"PEER {peer.url} hi", {})
        given = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01", "tracestate": "vendor=1"}
        await agent.http.send(caller.request("send", params, **given))

        [prompt] = [one for one in peer.fake_opencode.requests if one.path.endswith("/prompt_async")]

    assert (prompt.traceparent or "")[3:35] == trace
    assert prompt.tracestate == "vendor=1"


async def test_reasoning_and_tools_of_the_agent_are_not_its_answer(node: Start) -> None:
    async with node() as peer, node() as agent:
        thought = await asked(agent, f"PEER {peer.url} THINK")
        tool = await asked(agent, f"PEER {peer.url} TOOL")

    assert thought.endswith("own words:\nI have thought about it.")
    assert tool.endswith("own words:\nNow I know.")


async def test_the_model_answers_what_the_agent_asks(node: Start) -> None:
    async with node() as peer, node() as agent:
        answer = await asked(agent, f"PEERASK {peer.url} PERMISSION")

        [task] = (await peer.caller().page())["tasks"]

    assert "state: completed" in answer
    assert answer.endswith("Now I know.")
    assert task["status"]["state"] == "TASK_STATE_COMPLETED"


async def test_a_refusal_reaches_the_model_as_an_error(node: Start) -> None:
    async with node() as agent:
        stream = await agent.caller().stream("PEER http://169.254.169.254/ hi")

    assert stream.text.startswith("a2a_target_refused: ")
    [call] = [one for one in folded(stream.items) if one.name == "a2a_call"]
    assert call.data[-1]["status"] == "error"


async def test_an_agent_that_is_away_is_unavailable(node: Start) -> None:
    async with node() as agent:
        answer = await asked(agent, "PEER http://127.0.0.1:1 hi")

    assert answer.startswith("a2a_unavailable: ")


async def test_missing_credentials_are_named(node: Start) -> None:
    async with node() as peer, node(client_bearer_token=None) as agent:
        answer = await asked(agent, f"PEER {peer.url} hi")

    assert answer.startswith("a2a_peer_auth_failed: ")


async def test_progress_of_the_agent_shows_in_the_task(node: Start) -> None:
    slow = FakeOpenCode(pause=0, tick=0.05)
    async with node(slow) as peer, node() as agent:
        slow.hold(Say, tokens=3)
        async with agent.caller().open(f"PEER {peer.url} LONG 30") as stream:
            await stream.until(lambda: [one for one in stream.shared("progress") if one.get("type") == "tool"])
            slow.release()
            await stream.whole()

    progress = [one for one in stream.shared("progress") if one.get("type") == "tool"]
    assert progress[0]["tool"] == "a2a_call"
    assert progress[0]["call_id"]
    assert progress[0]["message"]
    assert stream.state == "completed"
    servers = agent.fake_opencode.memory.tool_servers["/workspace"]
    assert servers["a2a"].progress


async def test_cancelling_the_task_cancels_the_agents_task(node: Start) -> None:
    slow = FakeOpenCode(tick=0.05)
    async with node(slow) as peer, node() as agent:
        caller = agent.caller()
        async with caller.open(f"PEER {peer.url} SLOW") as stream:
            await peer.until(lambda: peer.running.tasks.active_tasks)
            await stream.until(lambda: [one for one in stream.shared("progress") if one.get("type") == "tool"])
            await caller.cancel(stream.task.id)
            await stream.whole()
        await peer.until(lambda: not peer.running.tasks.active_tasks)
        [task] = (await peer.caller().page())["tasks"]
        await agent.until(lambda: agent.running.tool and agent.running.tool.calls.running == 0)

    assert stream.state == "canceled"
    assert task["status"]["state"] == "TASK_STATE_CANCELED"


async def test_a_subagent_may_call(node: Start) -> None:
    async with node() as peer, node() as agent:
        task = await agent.caller().send(f"SUBTASK PEER {peer.url} hi")
        called = (await peer.caller().page())["tasks"]

    assert task.status.state is TaskState.COMPLETED
    assert len(called) == 1


@pytest.mark.parametrize("size", [1, 2, 3])
async def test_a_circle_of_agents_comes_to_an_end(node: Start, size: int) -> None:
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(node()) for _ in range(size)]
        around = [nodes[number % size].url for number in range(1, 12)]
        text = "".join(f"PEER {url} " for url in around) + "hi"

        answer = await asked(nodes[0], text)
        asked_in_all = sum([len((await one.caller().page())["tasks"]) for one in nodes])

    assert "a2a_too_many_hops: " in answer
    assert HELLO not in answer
    assert asked_in_all == 1 + HOP_LIMIT


async def test_a_number_of_hops_goes_on_with_the_call(node: Start) -> None:
    async with node() as peer, node() as agent:
        text = f"PEER {peer.url} hi"
        last = await agent.caller().stream(text, metadata=hop_metadata(HOP_LIMIT - 1))
        beyond = await agent.caller().stream(text, metadata=hop_metadata(HOP_LIMIT))

    assert last.text.endswith(HELLO)
    assert beyond.text.startswith("a2a_too_many_hops: ")


async def test_a_number_of_hops_that_is_none_is_refused(node: Start) -> None:
    async with node() as agent:
        error = await agent.caller().refused(metadata={"shared": {"a2a_call": {"hops": -1}}})

    assert error["code"] == -32602


async def test_two_turns_that_ask_the_same_are_not_taken_for_each_other(node: Start) -> None:
    slow = FakeOpenCode(tick=0.05)
    async with node(slow) as peer, node() as agent:
        text = f"PEER {peer.url} LONG 5"
        first = await agent.caller().send(text, configuration={"returnImmediately": True})
        second = await agent.caller().stream(text, metadata=hop_metadata(2))
        ended = await agent.caller().finished(first.id)

    assert second.state == "completed"
    assert ended.status.state is TaskState.COMPLETED


async def test_somebody_elses_call_goes_one_agent_far(node: Start) -> None:
    async with node() as peer, node() as agent:
        await agent.caller().send("hi")
        server = agent.fake_opencode.memory.tool_servers["/workspace"]["a2a"]

        output = await server.call("call", {"url": peer.url, "message": f"PEER {peer.url} hi"})

    assert "a2a_too_many_hops" in output.text
