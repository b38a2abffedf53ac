"""Tasks outlive the server; a store that fails is an error to the caller, never a hang."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, closing, contextmanager
from pathlib import Path

import anyio
import pytest

from opencode_a2a.config.settings import Settings
from opencode_a2a.fake_opencode import HELLO, FakeOpenCode, Say
from sansio.a2a.model import Task, TaskState
from tests.shell.cases import every_codec
from tests.shell.folding import artifacts_of, text_of
from tests.shell.harness import (
    CREDENTIALS,
    REST_03,
    RPC_10,
    WIRES,
    Agent,
    Serving,
    Wire,
    agent_at,
    quick,
    served,
)

pytestmark = pytest.mark.anyio

Starting = Callable[[FakeOpenCode, str], AbstractAsyncContextManager[Agent]]


@pytest.fixture
def starting(anyio_backend: str, tmp_path: Path) -> Starting:
    """Starts the agent on one file, before an OpenCode that stays."""

    def start(fake_opencode: FakeOpenCode, url: str) -> AbstractAsyncContextManager[Agent]:
        store = f"sqlite:///{tmp_path / 'tasks.db'}"
        settings = Settings(
            rate_limit_enabled=False, opencode_url=url, credentials=CREDENTIALS, task_store_database_url=store
        )
        return agent_at(anyio_backend, fake_opencode, settings)

    return start


@contextmanager
def spoiled(path: Path) -> Iterator[None]:
    """Take the tables away under the server, for a while."""
    tables = ("opencode_a2a_task", "opencode_a2a_binding")

    def rename(ending: str, to: str) -> None:
        with closing(sqlite3.connect(path)) as database, database:
            for table in tables:
                database.execute(f"ALTER TABLE {table}{ending} RENAME TO {table}{to}")

    rename("", "_gone")
    try:
        yield
    finally:
        rename("_gone", "")


@every_codec
async def test_finished_tasks_survive_a_restart(serving_on_disk: Serving, wire: Wire) -> None:
    prompts = ("STEPS", "THINK", "SPACE", "FAIL401", "EMPTY", "LONG 300")
    async with serving_on_disk() as agent:
        before = [await agent.caller(wire).get((await agent.caller(wire).stream(one)).task.id) for one in prompts]
    async with serving_on_disk() as agent:
        after = [await agent.caller(wire).get(task.id) for task in before]

        assert after == before
        hidden = await agent.caller(wire, bob=True).refused("get", id=before[0].id)
    assert "Task not found" in str(hidden)


async def test_a_context_keeps_its_session_over_a_restart(anyio_backend: str, starting: Starting) -> None:
    fake_opencode = quick()
    async with served(anyio_backend, fake_opencode) as url:
        async with starting(fake_opencode, url) as agent:
            first = await agent.caller().send("COUNT")
        async with starting(fake_opencode, url) as agent:
            second = await agent.caller().send("COUNT", contextId=first.context_id)
            ours = (first.metadata or {})["shared"]["session"]
            refused = await agent.caller(bob=True).refused(metadata={"shared": {"session": ours}})

    assert text_of(second) == "You have said 2 things."
    assert refused["code"] == -32602


async def test_what_a_crash_left_unfinished_is_gone_on_with(anyio_backend: str, starting: Starting) -> None:
    fake_opencode = quick()
    async with served(anyio_backend, fake_opencode) as url:
        undisturbed = text_of(await said_undisturbed(starting, fake_opencode, url))
        fake_opencode.hold(Say, tokens=3)
        async with starting(fake_opencode, url) as agent:
            task = await agent.caller().send("STEPS", contextId="c", configuration=RPC_10.at_once())
            await fake_opencode.held()
            queued = await agent.caller().send("hi", contextId="c", configuration=RPC_10.at_once())
            waiting = await agent.caller().send("PERMISSION")
        async with starting(fake_opencode, url) as agent:
            going_on = [(await agent.caller().get(one.id)).status.state for one in (task, queued, waiting)]
            fake_opencode.release()
            first, second = [await agent.caller().finished(one.id) for one in (task, queued)]
            third = await agent.caller().get(waiting.id)
            prompts = agent.asked("POST", "/prompt_async")

    assert going_on == [TaskState.WORKING, TaskState.SUBMITTED, TaskState.INPUT_REQUIRED]
    assert (first.status.state, text_of(first)) == (TaskState.COMPLETED, undisturbed)
    assert (second.status.state, text_of(second)) == (TaskState.COMPLETED, HELLO)
    assert third.status == waiting.status
    assert prompts == 4  # each of the four went out once


async def said_undisturbed(starting: Starting, fake_opencode: FakeOpenCode, url: str) -> Task:
    async with starting(fake_opencode, url) as agent:
        return await agent.caller().send("STEPS")


async def test_what_was_said_before_a_crash_is_kept(anyio_backend: str, starting: Starting) -> None:
    fake_opencode = quick()
    async with served(anyio_backend, fake_opencode) as url:
        async with starting(fake_opencode, url) as agent:
            stream = await agent.caller().send("PERMISSION")  # the state that was told of is durable
            assert stream.status.state is TaskState.INPUT_REQUIRED
        async with starting(fake_opencode, url) as agent:
            task = await agent.caller().get(stream.id)

    assert [one.name for one in artifacts_of(task)] == ["bash"]
    assert len(task.history) == 1


async def test_a_store_that_fails_is_an_error_and_no_hang(serving_on_disk: Serving, tmp_path: Path) -> None:
    async with serving_on_disk() as agent:
        with spoiled(tmp_path / "tasks.db"):
            sent = [await agent.caller(wire).refused() for wire in WIRES]
            refused = await agent.caller(REST_03).refused("stream", contextId="known")
            errors = [await agent.caller(wire).refused("get", id="some-task") for wire in WIRES]
        await agent.until(lambda: not agent.running.tasks.active_tasks)
        after = await agent.caller().send("hi")
        listed = await agent.caller().page()

    assert refused["http"] == 503  # whether the message came before could not be looked up
    for answers in (sent, errors):
        assert [error.get("http", error.get("code")) for error in answers] == [-32603, -32603, 503, 503]
        assert all("store" in str(error) for error in answers)
    assert [one["id"] for one in listed["tasks"]] == [after.id]  # what was refused left no task, and never ran
    assert agent.asked("POST", "/prompt_async") == 1
    assert after.status.state is TaskState.COMPLETED


async def test_what_is_unfinished_when_the_server_is_stopped_is_gone_on_with(
    anyio_backend: str, starting: Starting
) -> None:
    fake_opencode = quick()
    async with served(anyio_backend, fake_opencode) as url:
        async with starting(fake_opencode, url) as agent:
            fake_opencode.hold(Say, tokens=2)
            async with agent.caller().open("LONG 9") as stream:
                await stream.until(lambda: stream.text)
                sent: list[Task] = []

                async def wait_for_another() -> None:
                    sent.append(await agent.caller().send("hi", contextId="other"))

                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(wait_for_another)
                    await agent.until(lambda: len(agent.running.tasks.active_tasks) == 2)
                    await agent.running.tasks.drain(0)
                    await stream.whole()
        async with starting(fake_opencode, url) as agent:
            fake_opencode.release()
            resumed = await agent.caller().subscribe(stream.task.id, after=stream.events[-1].number)
            task = await agent.caller().get(stream.task.id)
            other = await agent.caller().finished(sent[0].id)
            aborts = agent.asked("POST", "/abort")

    assert not sent[0].status.state.terminal
    assert (resumed.state, text_of(task)) == ("completed", "".join(f"w{index} " for index in range(9)))
    assert (other.status.state, text_of(other)) == (TaskState.COMPLETED, HELLO)
    assert aborts == 0
