"""Tasks are kept as long, and as many, as settings say; what goes takes everything with it that is its own."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from attrs import evolve

from opencode_a2a.fake_opencode import Say
from opencode_a2a.server.store import Binding, SessionRow, Store, TaskQuery, TasksBeyond, TasksExpired, open_store
from opencode_a2a.server.store.rows import PRUNED_AT_ONCE
from sansio.a2a.model import TaskState
from tests.shell.harness import DEADLINE, RPC_10, Serving, quick
from tests.shell.store_cases import any_durable_url as any_durable_url
from tests.shell.store_cases import any_url as any_url
from tests.shell.store_cases import event_row, push_row, task_row
from tests.shell.store_cases import postgresql_url as postgresql_url

pytestmark = pytest.mark.anyio

_T = 1_700_000_000_000  # when the rows of `task_row` were made: epoch milliseconds


async def ids(store: Store, principal: str = "ada") -> list[str]:
    page = await store.tasks(TaskQuery(principal=principal, limit=1000))
    assert page.total == len(page.rows)
    return sorted(row.task_id for row in page.rows)


async def test_an_expired_task_goes_with_everything_that_is_its_own(url: str) -> None:
    async with open_store(url) as store:
        await store.commit([task_row("old", last_seq=1, finished=True), event_row(1, task_id="old")])
        await store.commit([push_row(task_id="old", finished=True)])
        new = task_row("new", last_seq=50, finished=True)
        await store.commit([new, event_row(1, task_id="new"), task_row("running", last_seq=2)])
        assert await store.expired(_T + 10)
        await store.commit([TasksExpired(_T + 10)])

        assert not await store.expired(_T + 10)
        assert await ids(store) == ["new", "running"]
        assert await store.task("old") is None
        assert (await store.events("old"), await store.push_configs("old")) == ((), ())
        assert len(await store.events("new")) == 1
        started = await store.started_by("ada", "context-1", "message-1")
        assert started is not None
        assert started.row.task_id == "running"
        assert "old" not in [row.task_id for row in await store.tasks_of_message("ada", "message-1", 10)]


async def test_a_task_stays_while_its_end_is_still_to_be_notified(url: str) -> None:
    async with open_store(url) as store:
        await store.commit([task_row("old", finished=True), push_row(task_id="old")])
        assert not await store.expired(_T + 10)
        await store.commit([TasksExpired(_T + 10)])
        assert await ids(store) == ["old"]
        await store.commit([push_row(task_id="old", finished=True), TasksExpired(_T + 10)])
        assert await ids(store) == []


async def test_a_binding_goes_with_the_last_task_of_its_context_and_the_owner_of_its_session_stays(url: str) -> None:
    async with open_store(url) as store:
        first = task_row("first", finished=True)
        second = task_row("second", last_seq=50, finished=True)
        unowned = evolve(first, task_id="third", context_id="context-2")
        await store.commit([first, second, unowned])
        await store.commit([Binding("ada", "context-1", "ses_1"), Binding("ada", "context-2", "ses_2")])
        await store.commit([SessionRow(session_id="ses_1", principal="ada")])
        await store.commit([TasksExpired(_T + 10)])
        assert await ids(store) == ["second"]
        assert await store.session_of("ada", "context-1") == "ses_1"

        await store.commit([TasksExpired(_T + 100)])

        assert await ids(store) == []
        assert await store.session_of("ada", "context-1") is None
        assert await store.owner_of("ses_1") == "ada"
        assert await store.session_of("ada", "context-2") == "ses_2"  # nothing else says whose session it is
        assert await store.owner_of("ses_2") == "ada"


async def test_what_a_principal_has_beyond_a_number_goes_the_first_to_end_first(url: str) -> None:
    async with open_store(url) as store:
        await store.commit([task_row(f"t{number}", last_seq=number, finished=number != 1) for number in range(6)])
        await store.commit([evolve(task_row("other", finished=True), principal="bob"), TasksBeyond("ada", 3)])
        assert await ids(store) == ["t1", "t4", "t5"]
        await store.commit([TasksBeyond("ada", 0)])
        assert await ids(store) == ["t1"]
        assert await ids(store, "bob") == ["other"]


async def test_very_many_tasks_go_in_batches(durable_url: str) -> None:
    async with open_store(durable_url) as store:
        many = 2 * PRUNED_AT_ONCE + 3
        await store.commit([task_row(f"t{number}", last_seq=number, finished=True) for number in range(many)])
        batches = 0
        while await store.expired(_T + many):
            await store.commit([TasksExpired(_T + many)])
            batches += 1
        assert batches == 3
        assert await ids(store) == []


async def test_the_size_of_a_store_is_known(url: str) -> None:
    async with open_store(url) as store:
        before = await store.size()
        await store.commit([task_row(f"t{number}", body=b'"%b"' % (b"x" * 9000)) for number in range(50)])
        after = await store.size()
    if url == "memory":
        assert before is after is None
    else:
        assert before is not None
        assert after is not None
        assert after > before > 0


async def test_a_server_removes_ended_tasks_and_lets_their_contexts_begin_anew(serving: Serving) -> None:
    async with serving(task_retention_seconds=0.05) as agent:
        caller = agent.caller(RPC_10)
        task = await caller.send("hi")
        with anyio.fail_after(DEADLINE), anyio.move_on_after(DEADLINE):
            async with anyio.create_task_group() as tasks:
                await anyio.sleep(0.06)
                tasks.start_soon(agent.running.tasks.maintenance.prune)
                while await agent.running.tasks.store.task(task.id) is not None:  # noqa: ASYNC110 - no event
                    await anyio.sleep(0.01)
                tasks.cancel_scope.cancel()
        error = await caller.refused("get", id=task.id)
        again = await caller.send("hi", contextId=task.context_id)

    assert error["code"] == -32001
    assert again.status.state is TaskState.COMPLETED


async def test_a_principal_has_so_many_tasks_at_most(serving: Serving) -> None:
    fake_opencode = quick()
    async with serving(fake_opencode, max_tasks_per_principal=2) as agent:
        caller = agent.caller(RPC_10)
        first, second = await caller.send("one"), await caller.send("two")
        third = await caller.send("three")
        listed = {task["id"] for task in (await caller.page())["tasks"]}
        fake_opencode.hold(Say)
        at_once: dict[str, Any] = {"configuration": RPC_10.at_once()}
        for text in ("four", "five"):
            await caller.send(text, **at_once)
        error = await caller.refused(text="six")
        other = await agent.caller(RPC_10, bob=True).send("mine", **at_once)
        fake_opencode.release()

    assert listed == {second.id, third.id}
    assert first.id not in listed
    assert "none of them has ended" in error["message"]
    assert error["data"][0]["reason"] == "RATE_LIMITED"
    assert other.id
