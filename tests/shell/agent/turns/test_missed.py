"""What OpenCode did while nobody heard of it: subagents that ask, prompts whose answer was lost."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import anyio
import pytest
from attrs import define

from opencode_a2a.config.settings import Settings
from opencode_a2a.fake_opencode import AFTER_TOOL, FakeOpenCode, Say
from opencode_a2a.fake_opencode.app import Receive, Scope, Send
from sansio.a2a.model import TaskState
from tests.shell.folding import reason_of, text_of
from tests.shell.harness import CREDENTIALS, DEADLINE, RPC_10, Serving, agent_at, quick, served

pytestmark = pytest.mark.anyio


async def test_a_subagent_that_nobody_heard_of_is_heard_when_it_asks(serving: Serving) -> None:
    async with serving() as agent:
        caller = agent.caller()
        await agent.until(lambda: agent.running.bus.connected)
        with agent.fake_opencode.mute():
            started = await caller.send("SUBTASK PERMISSION", configuration=RPC_10.at_once())
            await agent.until(lambda: agent.fake_opencode.memory.permissions)
        agent.fake_opencode.drop_streams()
        with anyio.fail_after(DEADLINE):
            while (await caller.get(started.id)).status.state is not TaskState.INPUT_REQUIRED:
                pass
        answered = await caller.send("once", taskId=started.id)
        task = await caller.finished(started.id)

    assert answered.id == started.id
    assert (task.status.state, text_of(task)) == (TaskState.COMPLETED, AFTER_TOOL)


@define(eq=False)
class Losing:
    """A gateway before OpenCode that passes prompts on, loses the answers, and says so with a status."""

    fake_opencode: FakeOpenCode
    losing: bool = True
    passes: bool = True
    until_held: bool = False  # it answers once OpenCode waits in mid-turn

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not (self.losing and scope.get("path", "").endswith("/prompt_async")):
            await self.fake_opencode(scope, receive, send)
            return
        if self.passes:
            await self.fake_opencode(scope, receive, _into_nothing)
        if self.until_held:
            await self.fake_opencode.held()
        await send({"type": "http.response.start", "status": 502, "headers": []})
        await send({"type": "http.response.body", "body": b"lost"})


async def _into_nothing(_message: MutableMapping[str, Any]) -> None:
    pass


async def test_a_prompt_whose_answer_a_gateway_lost_is_followed_to_its_end(anyio_backend: str) -> None:
    gateway = Losing(quick())
    async with served(anyio_backend, gateway) as url:
        settings = Settings(
            rate_limit_enabled=False, opencode_url=url, credentials=CREDENTIALS, task_store_backend="memory"
        )
        async with agent_at(anyio_backend, gateway.fake_opencode, settings) as agent:
            task = await agent.caller().send("STEPS")
            prompts = agent.asked("POST", "/prompt_async")

    assert task.status.state is TaskState.COMPLETED
    assert text_of(task).endswith(AFTER_TOOL)
    assert prompts == 1


async def test_a_text_goes_on_as_it_comes_though_the_answer_to_its_prompt_was_lost(anyio_backend: str) -> None:
    gateway = Losing(quick(), until_held=True)
    gateway.fake_opencode.hold(Say, tokens=3)
    async with served(anyio_backend, gateway) as url:
        settings = Settings(
            rate_limit_enabled=False, opencode_url=url, credentials=CREDENTIALS, task_store_backend="memory"
        )
        async with (
            agent_at(anyio_backend, gateway.fake_opencode, settings) as agent,
            agent.caller().open("LONG 9") as stream,
        ):
            await agent.until(lambda: agent.asked("GET", "/message"))  # the session is read
            gateway.fake_opencode.release()
            gateway.fake_opencode.hold(Say, tokens=6)
            await stream.until(lambda: stream.text == "w0 w1 w2 w3 w4 w5 ")
            gateway.fake_opencode.release()
            await stream.whole()

    assert (stream.state, stream.text) == ("completed", "w0 w1 w2 w3 w4 w5 w6 w7 w8 ")


async def test_a_prompt_that_a_gateway_kept_fails_with_its_status(anyio_backend: str) -> None:
    gateway = Losing(quick(), passes=False)
    async with served(anyio_backend, gateway) as url:
        settings = Settings(
            rate_limit_enabled=False, opencode_url=url, credentials=CREDENTIALS, task_store_backend="memory"
        )
        async with agent_at(anyio_backend, gateway.fake_opencode, settings) as agent:
            refused = await agent.caller().send("hi", contextId="one")
            gateway.losing = False
            after = await agent.caller().send("hi", contextId="one")

    assert refused.status.state is TaskState.FAILED
    assert "502" in reason_of(refused)
    assert after.status.state is TaskState.COMPLETED


async def test_a_tool_call_missed_while_the_bus_was_away_is_in_the_task(serving: Serving) -> None:
    async with serving() as agent:
        await agent.until(lambda: agent.running.bus.connected)
        agent.fake_opencode.hold(Say)
        with agent.fake_opencode.mute():
            started = await agent.caller().send("TOOL", configuration=RPC_10.at_once())
            await agent.fake_opencode.held()
        agent.fake_opencode.drop_streams()
        agent.fake_opencode.release()
        task = await agent.caller().finished(started.id)

    assert [one.name for one in task.artifacts] == ["response", "bash"]
