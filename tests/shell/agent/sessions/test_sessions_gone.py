"""A session that is deleted in OpenCode, or a directory that is removed: the task ends, the conversation goes on."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import anyio
import pytest

from opencode_a2a.fake_opencode import FakeOpenCode, Say
from sansio.a2a.model import Task, TaskState
from tests.shell.cases import one_codec
from tests.shell.folding import reason_of, text_of
from tests.shell.harness import DEADLINE, Agent, Serving, Wire
from tests.shell.method_calls import Methods

pytestmark = pytest.mark.anyio


def session_of(task: Task) -> str:
    return str((task.metadata or {})["shared"]["session"]["id"])


async def delete(agent: Agent, session_id: str) -> None:
    (await agent.opencode.delete(f"/session/{session_id}")).raise_for_status()


@one_codec
async def test_a_session_that_is_deleted_at_work_ends_its_task_and_the_next_message_has_a_new_one(
    serving: Serving, wire: Wire
) -> None:
    async with serving() as agent:
        caller = agent.caller(wire)
        agent.fake_opencode.hold(Say, tokens=2)
        task = await caller.send("LONG 9", configuration=wire.at_once())
        with anyio.fail_after(DEADLINE):
            await agent.fake_opencode.held()
        [session_id] = agent.fake_opencode.sessions
        await delete(agent, session_id)
        ended = await caller.finished(task.id)
        agent.fake_opencode.release()
        following = await caller.send("COUNT", contextId=task.context_id)
        again = await caller.send("COUNT", contextId=task.context_id)

    assert ended.status.state is TaskState.FAILED
    assert "deleted" in reason_of(ended)
    assert (text_of(following), text_of(again)) == ("You have said 1 things.", "You have said 2 things.")
    assert session_of(following) == session_of(again) != session_id


@one_codec
async def test_a_session_that_is_deleted_while_its_task_waits_asks_nothing_any_more(
    serving: Serving, wire: Wire
) -> None:
    async with serving() as agent:
        caller = agent.caller(wire)
        task = await caller.send("PERMISSION")
        await delete(agent, session_of(task))
        ended = await caller.finished(task.id)
        listed = await Methods(agent.http, wire.version).result("opencode.permissions.list", {})

    assert ended.status.state is TaskState.FAILED
    assert "deleted" in reason_of(ended)
    assert listed == {"items": []}


@one_codec
async def test_a_session_that_is_deleted_at_rest_is_replaced(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        caller = agent.caller(wire)
        first = await caller.send("COUNT")
        await delete(agent, session_of(first))
        second = await caller.stream("COUNT", contextId=first.context_id)
        third = await caller.send("COUNT", contextId=first.context_id)

        assert second.state == "completed"
        assert text_of(third) == "You have said 2 things."
        assert session_of(third) != session_of(first)
        assert "NotFoundError" not in str(second.items)


async def test_a_session_that_a_message_names_is_not_replaced(serving: Serving) -> None:
    async with serving() as agent:
        first = await agent.caller().send("COUNT")
        await delete(agent, session_of(first))
        named = {"shared": {"session": {"id": session_of(first)}}}
        task = await agent.caller().send("COUNT", metadata=named)

        assert task.status.state is TaskState.FAILED
        assert agent.fake_opencode.sessions == {}


@pytest.mark.parametrize("at_work", [True, False])
async def test_a_directory_that_is_removed(serving: Serving, tmp_path: Path, at_work: bool) -> None:
    root = tmp_path
    (root / "sub").mkdir()
    at: dict[str, Any] = {"opencode": {"directory": "sub"}}
    async with serving(FakeOpenCode(pause=0, directory=str(root)), workspace_root=str(root)) as agent:
        caller = agent.caller()
        if at_work:
            agent.fake_opencode.hold(Say, tokens=2)
            task = await caller.send("LONG 9", metadata=at, configuration={"returnImmediately": True})
            with anyio.fail_after(DEADLINE):
                await agent.fake_opencode.held()
        else:
            task = await caller.send("COUNT", metadata=at)
        shutil.rmtree(root / "sub")
        ended = await caller.finished(task.id)
        agent.fake_opencode.release()
        following = await caller.send("COUNT", contextId=task.context_id)

        assert (ended.status.state is TaskState.FAILED) is at_work
        assert not at_work or "removed" in reason_of(ended)
        assert text_of(following) == "You have said 1 things."
        assert agent.fake_opencode.sessions[session_of(following)].directory == str(root)
