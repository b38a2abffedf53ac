"""A commit that takes its time: what happens meanwhile is seen afterwards, all of it, and the turn ends."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import anyio
import pytest

from opencode_a2a.fake_opencode import AFTER_TOOL, Say
from sansio.a2a.model import TaskState
from tests.shell.harness import Agent, Serving, Stream

pytestmark = pytest.mark.anyio


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let no commit through; those that are tried wait."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            database.execute("ROLLBACK")


async def idle(agent: Agent) -> bool:
    """Whether OpenCode has nothing more to do."""
    return not (await agent.opencode.get("/session/status")).json()


async def until_idle(agent: Agent) -> None:
    while not await idle(agent):
        pass


async def test_a_turn_that_ends_while_a_state_is_committed_has_its_end(
    serving_on_disk: Serving, tmp_path: Path
) -> None:
    async with serving_on_disk() as agent, agent.caller(stays_open=True).open("PERMISSION") as stream:
        await stream.until(lambda: stream.shared("interrupt"))
        [asked] = stream.shared("interrupt")
        with locked(tmp_path / "tasks.db"):
            reply = await agent.opencode.post(f"/permission/{asked['request_id']}/reply", json={"reply": "once"})
            assert reply.status_code == 200
            await until_idle(agent)
        await stream.whole()
        task = await agent.caller().get(stream.task.id)

    assert (stream.state, stream.text) == ("completed", AFTER_TOOL)
    assert task.status.state is TaskState.COMPLETED


async def test_what_is_said_while_a_state_is_committed_is_seen_without_more_being_said(
    serving_on_disk: Serving, tmp_path: Path
) -> None:
    async with serving_on_disk() as agent, agent.caller(stays_open=True).open("PERMISSION") as stream:
        await stream.until(lambda: stream.shared("interrupt"))
        [asked] = stream.shared("interrupt")
        agent.fake_opencode.hold(Say, tokens=1)
        with locked(tmp_path / "tasks.db"):
            reply = await agent.opencode.post(f"/permission/{asked['request_id']}/reply", json={"reply": "once"})
            assert reply.status_code == 200
            await agent.fake_opencode.held()
        await stream.until(lambda: stream.text)
        assert AFTER_TOOL.startswith(stream.text)
        assert stream.text != AFTER_TOOL
        agent.fake_opencode.release()
        await stream.whole()

    assert (stream.state, stream.text) == ("completed", AFTER_TOOL)


async def test_a_stream_that_begins_while_the_last_state_is_committed_has_the_task(
    serving_on_disk: Serving, tmp_path: Path
) -> None:
    async with serving_on_disk() as agent:
        caller = agent.caller()
        agent.fake_opencode.hold(Say, tokens=1)
        joined: list[Stream] = []

        async def join() -> None:
            joined.append(await caller.stream("hi", contextId="c", messageId="m"))

        async with caller.open("hi", contextId="c", messageId="m") as first:
            await agent.fake_opencode.held()
            await first.until(lambda: first.text)
            async with anyio.create_task_group() as tasks:
                with locked(tmp_path / "tasks.db"):
                    agent.fake_opencode.release()
                    [active] = agent.running.tasks.active_tasks.values()
                    await agent.until(lambda: active.log.state.terminal)
                    tasks.start_soon(join)
                    await agent.until(lambda: agent.running.tasks.open_streams == 2)
                    assert active.visible < active.log.last
            await first.whole()

    assert [(one.task.id, one.task.status.state) for one in joined] == [(first.task.id, TaskState.COMPLETED)]
