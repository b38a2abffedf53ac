"""Whatever a crash of the agent meets, its next run goes on: prompts go out once, tasks end as they would have."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import anyio
import pytest

from opencode_a2a.config.settings import Settings
from opencode_a2a.fake_opencode import (
    AFTER_TOOL,
    HELLO,
    CallTool,
    Delegate,
    FakeOpenCode,
    Permission,
    Say,
    Script,
)
from opencode_a2a.fake_opencode.scripts import REFUSAL, SCRIPTS, TOOL_OUTPUT
from sansio.a2a.model import DataPart, Task, TaskState
from tests.shell.cases import each_value
from tests.shell.folding import artifacts_of, reason_of, text_of
from tests.shell.harness import CREDENTIALS, DEADLINE, REST_03, RPC_10, Agent, Wire, agent_at, served

pytestmark = pytest.mark.anyio
Starting = Callable[..., AbstractAsyncContextManager[Agent]]
ASKED_BELOW = Script(
    (
        (
            CallTool(
                tool="bash",
                input={"command": "ls"},
                title="ls",
                output="it",
                permission=Permission(
                    permission="bash", patterns=("ls",), metadata={"command": "ls"}, always=("ls",)
                ),
            ),
        ),
        (Say(("said below",)),),
    )
)


def scripted() -> FakeOpenCode:
    """A stand-in whose subagent asks before it runs a tool; it never pauses."""
    below = {
        "BELOW": lambda prompt: ASKED_BELOW,
        "ABOVE": lambda prompt: Script(((Delegate("BELOW"),), (Say(("Done",)),))),
    }
    return FakeOpenCode(pause=0, tick=0.001, retry_wait=0.01, scripts={**below, **SCRIPTS})


@pytest.fixture
def starting(anyio_backend: str, tmp_path: Path) -> Starting:
    """Starts the agent on one file, before an OpenCode that stays."""

    def start(fake_opencode: FakeOpenCode, url: str, **more: Any) -> AbstractAsyncContextManager[Agent]:
        store = f"sqlite:///{tmp_path / 'tasks.db'}"
        settings = Settings(
            rate_limit_enabled=False, opencode_url=url, credentials=CREDENTIALS, task_store_database_url=store, **more
        )
        return agent_at(anyio_backend, fake_opencode, settings)

    return start


async def held(fake_opencode: FakeOpenCode) -> None:
    with anyio.fail_after(DEADLINE):
        await fake_opencode.held()


async def waiting(agent: Agent, kind: str) -> str:
    """The id of the one request OpenCode waits for, once it does."""
    with anyio.fail_after(DEADLINE):
        while not (found := (await agent.opencode.get(f"/{kind}")).json()):
            pass
    [asked] = found
    return str(asked["id"])


async def in_state(agent: Agent, task_id: str, state: TaskState) -> Task:
    with anyio.fail_after(DEADLINE):
        while (task := await agent.caller().get(task_id)).status.state is not state:
            pass
    return task


@each_value(
    "prompt, at, tokens",
    [
        ("hi", Say, 0),
        ("hi", Say, 4),
        ("THINK", Say, 2),
        ("STEPS", CallTool, 0),
        ("TOOL", Say, 1),
        ("WRITE", CallTool, 0),
        ("BADTOOL", Say, 0),
        ("SPACE", Say, 3),
        ("SUBTASK", Say, 2),
        ("LONG 50", Say, 30),
    ],
    wire=True,
)
async def test_a_turn_ends_as_if_there_had_been_no_crash(
    anyio_backend: str, starting: Starting, wire: Wire, prompt: str, at: type[Say] | type[CallTool], tokens: int
) -> None:
    fake_opencode = scripted()
    async with served(anyio_backend, fake_opencode) as url:
        async with starting(fake_opencode, url) as agent:
            undisturbed = await agent.caller(wire).send(prompt)
            fake_opencode.hold(at, tokens=tokens)
            task = await agent.caller(wire).send(prompt, configuration=wire.at_once())
            await held(fake_opencode)
        async with starting(fake_opencode, url) as agent:
            fake_opencode.release()
            done = await agent.caller(wire).finished(task.id)
            prompts = agent.asked("POST", "/prompt_async")

    assert picture(done) == picture(undisturbed)
    assert [one.message_id for one in done.history] == [one.message_id for one in task.history]
    assert prompts == 2


def picture(task: Task) -> tuple[TaskState, str, list[Any]]:
    """What must not depend on crashes."""
    said = []
    for one in artifacts_of(task):
        data = [
            {name: value for name, value in each.items() if name in ("tool", "status", "input")} for each in one.data
        ]
        said.append((one.name or "", one.text, data))
    return task.status.state, reason_of(task), sorted(said, key=str)


async def test_a_turn_that_went_on_without_the_agent_is_told_whole(anyio_backend: str, starting: Starting) -> None:
    fake_opencode = scripted()
    async with served(anyio_backend, fake_opencode) as url:
        fake_opencode.hold(CallTool)
        async with starting(fake_opencode, url) as agent:
            task = await agent.caller().send("STEPS", configuration=RPC_10.at_once())
            await held(fake_opencode)
        fake_opencode.release()
        async with starting(fake_opencode, url) as agent:
            done = await agent.caller().finished(task.id)

    calls = [part.data for one in done.artifacts for part in one.parts if isinstance(part, DataPart)]
    assert [(call["status"], call["output"]) for call in calls] == [("completed", TOOL_OUTPUT)]
    assert text_of(done).endswith(AFTER_TOOL)


async def test_a_prompt_that_never_left_goes_out_after_the_crash(anyio_backend: str, starting: Starting) -> None:
    fake_opencode = scripted()
    async with served(anyio_backend, fake_opencode) as url:
        fake_opencode.stall_next("POST", "/session")
        async with starting(fake_opencode, url) as agent:
            task = await agent.caller(REST_03).send("hi", configuration=REST_03.at_once())
            await agent.until(lambda: agent.asked("POST", "/session"))
        async with starting(fake_opencode, url) as agent:
            done = await agent.caller(REST_03).finished(task.id)
            prompts = agent.asked("POST", "/prompt_async")

    assert (text_of(done), prompts) == (HELLO, 1)


@pytest.mark.parametrize("late", [False, True], ids=["lost on the way", "whose answer was lost"])
async def test_a_prompt_under_way_runs_once(anyio_backend: str, starting: Starting, late: bool) -> None:
    fake_opencode = scripted()
    async with served(anyio_backend, fake_opencode) as url:
        async with starting(fake_opencode, url) as agent:
            context = (await agent.caller().send("COUNT")).context_id
            fake_opencode.stall_next("POST", "/session/", late=late)
            task = await agent.caller().send("COUNT", contextId=context, configuration=RPC_10.at_once())
            await agent.until(lambda: agent.asked("POST", "/prompt_async") == 2)
        async with starting(fake_opencode, url) as agent:
            done = await agent.caller().finished(task.id)
            after = await agent.caller().send("COUNT", contextId=context)

    assert text_of(done) == "You have said 2 things."
    assert text_of(after) == "You have said 3 things."


@pytest.mark.parametrize(("prompt", "kind"), [("PERMISSION", "permission"), ("QUESTION", "question")])
@pytest.mark.parametrize("meanwhile", [False, True], ids=["answered afterwards", "answered meanwhile"])
async def test_what_is_asked_stays_asked_until_it_is_answered(
    anyio_backend: str, starting: Starting, prompt: str, kind: str, meanwhile: bool
) -> None:
    fake_opencode = scripted()
    body = {"reply": "once"} if kind == "permission" else {"answers": [["A"]]}
    async with served(anyio_backend, fake_opencode) as url:
        async with starting(fake_opencode, url) as agent:
            task = await agent.caller().send(prompt)
            request_id = await waiting(agent, kind)
            opencode = agent.opencode
            if meanwhile:
                fake_opencode.hold(Say)
                with fake_opencode.mute():
                    await opencode.post(f"/{kind}/{request_id}/reply", json=body)
                    await held(fake_opencode)
        async with starting(fake_opencode, url) as agent:
            if meanwhile:
                await in_state(agent, task.id, TaskState.WORKING)
                fake_opencode.release()
            else:
                again = await agent.caller().get(task.id)
                assert again.status == task.status
                await agent.opencode.post(f"/{kind}/{request_id}/reply", json=body)
            done = await agent.caller().finished(task.id)

    assert (done.status.state, text_of(done)) == (TaskState.COMPLETED, AFTER_TOOL)


@pytest.mark.parametrize("before", [False, True], ids=["asks afterwards", "has asked before"])
async def test_a_subagent_is_heard_after_a_crash(anyio_backend: str, starting: Starting, before: bool) -> None:
    fake_opencode = scripted()
    async with served(anyio_backend, fake_opencode) as url:
        if not before:
            fake_opencode.hold(CallTool)
        async with starting(fake_opencode, url) as agent:
            task = await agent.caller().send("ABOVE", configuration=RPC_10.at_once())
            if before:
                await in_state(agent, task.id, TaskState.INPUT_REQUIRED)
            else:
                await held(fake_opencode)
        async with starting(fake_opencode, url) as agent:
            if not before:
                await agent.until(lambda: agent.asked("GET", "/message"))
                fake_opencode.release()
            request_id = await waiting(agent, "permission")
            asked = await in_state(agent, task.id, TaskState.INPUT_REQUIRED)
            await agent.opencode.post(f"/permission/{request_id}/reply", json={"reply": "once"})
            done = await agent.caller().finished(task.id)

    assert "bash: ls" in reason_of(asked)
    assert (done.status.state, text_of(done)) == (TaskState.COMPLETED, "Done")


async def test_a_task_taken_up_can_be_cancelled(anyio_backend: str, starting: Starting) -> None:
    fake_opencode = scripted()
    async with served(anyio_backend, fake_opencode) as url:
        fake_opencode.hold(Say, tokens=3)
        async with starting(fake_opencode, url) as agent:
            task = await agent.caller().send("LONG 9", configuration=RPC_10.at_once())
            await held(fake_opencode)
        async with starting(fake_opencode, url) as agent:
            done = await agent.caller().cancel(task.id)
            await agent.until(lambda: agent.asked("POST", "/abort"))
            fake_opencode.release()
            after = await agent.caller().send("hi", contextId=task.context_id)

    assert done.status.state is TaskState.CANCELED
    assert (after.status.state, text_of(after)) == (TaskState.COMPLETED, HELLO)


@pytest.mark.usefixtures("hasty")
async def test_a_session_that_is_gone_ends_the_task(anyio_backend: str, starting: Starting) -> None:
    async with served(anyio_backend, scripted()) as url:
        fake_opencode = scripted()
        async with served(anyio_backend, fake_opencode) as first:
            fake_opencode.hold(Say, tokens=3)
            async with starting(fake_opencode, first) as agent:
                task = await agent.caller().send("LONG 9", configuration=RPC_10.at_once())
                await held(fake_opencode)
        async with starting(fake_opencode, url) as agent:  # another OpenCode, which knows nothing of it
            done = await agent.caller().finished(task.id)

    assert done.status.state is TaskState.FAILED


async def test_a_refusal_while_nobody_heard_ends_the_task(anyio_backend: str, starting: Starting) -> None:
    scripts = {"LATE": lambda prompt: Script(((Say(("a", "b")),), *SCRIPTS["FAIL401"](prompt).steps)), **SCRIPTS}
    fake_opencode = FakeOpenCode(pause=0, scripts=scripts)
    async with served(anyio_backend, fake_opencode) as url:
        fake_opencode.hold(Say, tokens=1)
        async with starting(fake_opencode, url) as agent:
            task = await agent.caller().send("LATE", configuration=RPC_10.at_once())
            await held(fake_opencode)
            session = fake_opencode.requests[-1].path
        fake_opencode.release()
        async with starting(fake_opencode, url) as agent:
            with anyio.fail_after(DEADLINE):
                while (done := await agent.caller().get(task.id)).status.state is TaskState.WORKING:
                    pass

    assert session
    assert done.status.state in (TaskState.FAILED, TaskState.AUTH_REQUIRED)
    assert REFUSAL in reason_of(done)
    assert text_of(done) == "ab"


async def test_many_tasks_are_taken_up_at_once(anyio_backend: str, starting: Starting) -> None:
    fake_opencode = scripted()
    async with served(anyio_backend, fake_opencode) as url:
        fake_opencode.hold(Say, tokens=10)
        async with starting(fake_opencode, url) as agent:
            caller = agent.caller()
            tasks = [await caller.send("LONG 20", configuration=RPC_10.at_once()) for _ in range(20)]
            queued = [
                await caller.send("COUNT", contextId=task.context_id, configuration=RPC_10.at_once())
                for task in tasks[:5]
            ]
            with anyio.fail_after(DEADLINE):
                await fake_opencode.held(20)
        async with starting(fake_opencode, url) as agent:
            fake_opencode.release()
            done = [await agent.caller().finished(task.id) for task in tasks]
            after = [await agent.caller().finished(task.id) for task in queued]

    assert {text_of(task) for task in done} == {"".join(f"w{index} " for index in range(20))}
    assert {text_of(task) for task in after} == {"You have said 2 things."}
