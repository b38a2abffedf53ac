"""What the store tells of tasks beside one task: pages of them, what started them, their events, their pushes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import anyio
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event
from sqlalchemy.pool import Pool

from opencode_a2a.server.store import (
    EventsPruned,
    PushDropped,
    StoredTask,
    TaskQuery,
    TaskRow,
    TaskRows,
    open_store,
)
from opencode_a2a.server.store.rows import PRUNED_AT_ONCE
from tests.shell.store_cases import any_durable_url as any_durable_url
from tests.shell.store_cases import any_url as any_url
from tests.shell.store_cases import event_row, paged, push_row, sqlite_rows, task_row
from tests.shell.store_cases import postgresql_url as postgresql_url

pytestmark = pytest.mark.anyio


def changed(task_id: str, at: int, *, state: str = "working", principal: str = "ada", context: str = "c") -> TaskRow:
    return evolve(task_row(task_id), updated_at=at, state=state, principal=principal, context_id=context)


def finished(task_id: str, at: int) -> TaskRow:
    return evolve(task_row(task_id, finished=True), updated_at=at)


def ids(page: TaskRows) -> list[str]:
    return [row.task_id for row in page.rows]


async def test_tasks_are_listed_newest_change_first(url: str) -> None:
    rows = [changed("a", 2), changed("b", 3), changed("c", 1)]
    async with open_store(url) as store:
        await store.commit(rows)

        assert await store.tasks(TaskQuery(principal="ada", limit=9)) == TaskRows((rows[1], rows[0], rows[2]), 3)


async def test_tasks_of_one_moment_are_in_the_order_of_their_code_points(url: str) -> None:
    async with open_store(url) as store:
        await store.commit([changed(task_id, 1) for task_id in ("b", "B", "a", "ä", "A-", "A")])

        assert ids(await paged(store, TaskQuery(principal="ada", limit=1))) == ["ä", "b", "a", "B", "A-", "A"]


async def test_a_page_goes_on_after_the_last_row_of_the_page_before(url: str) -> None:
    async with open_store(url) as store:
        await store.commit([changed("a", 1), changed("b", 2), changed("c", 2), changed("d", 3)])

        first = await store.tasks(TaskQuery(principal="ada", limit=2))
        second = await store.tasks(TaskQuery(principal="ada", limit=2, after=(2, "c")))
        third = await store.tasks(TaskQuery(principal="ada", limit=2, after=(1, "a")))

    assert [ids(page) for page in (first, second, third)] == [["d", "c"], ["b", "a"], []]
    assert [page.total for page in (first, second, third)] == [4, 4, 4]


async def test_a_page_may_go_on_after_a_task_that_is_elsewhere_by_now(url: str) -> None:
    async with open_store(url) as store:
        await store.commit([changed("a", 1), changed("b", 2), changed("c", 3)])
        await store.commit([changed("b", 4)])

        assert ids(await store.tasks(TaskQuery(principal="ada", limit=2, after=(2, "b")))) == ["a"]


async def test_a_page_of_no_rows_tells_how_many_there_are(url: str) -> None:
    async with open_store(url) as store:
        await store.commit([changed("a", 1)])

        assert await store.tasks(TaskQuery(principal="ada", limit=0)) == TaskRows((), 1)
        assert await store.tasks(TaskQuery(principal="bob", limit=5)) == TaskRows((), 0)


async def test_tasks_are_narrowed_by_owner_context_state_and_time(url: str) -> None:
    async with open_store(url) as store:
        await store.commit(
            [
                changed("a", 1),
                changed("b", 2, state="failed"),
                changed("c", 3, context="other"),
                changed("d", 4, state="failed", context="other"),
                changed("theirs", 5, principal="bob"),
            ]
        )
        everything = TaskQuery(principal="ada", limit=9)

        assert ids(await paged(store, everything)) == ["d", "c", "b", "a"]
        assert ids(await paged(store, evolve(everything, context_id="c"))) == ["b", "a"]
        assert ids(await paged(store, evolve(everything, state="failed"))) == ["d", "b"]
        assert ids(await paged(store, evolve(everything, state="failed", context_id="other"))) == ["d"]
        assert ids(await paged(store, evolve(everything, changed_after=2))) == ["d", "c"]
        assert ids(await paged(store, evolve(everything, changed_after=1, state="failed", limit=1))) == ["d", "b"]
        assert await store.tasks(evolve(everything, changed_after=2, after=(4, "d"))) == TaskRows(
            (changed("c", 3, context="other"),), 2
        )


async def test_what_identifies_a_task_is_taken_from_its_first_row(url: str) -> None:
    first = task_row()

    def theirs(row: TaskRow) -> TaskRow:
        return evolve(row, context_id="context-2", principal="bob", message_id="message-2", created_at=1)

    async with open_store(url) as store:
        await store.commit((first, theirs(task_row(body=b"2"))))
        assert await store.task("task-1") == StoredTask(task_row(body=b"2"), ())

        await store.commit((theirs(task_row(last_seq=3, body=b"3")),))
        await store.commit((theirs(task_row(last_seq=3, body=b"4")),))

        assert await store.task("task-1") == StoredTask(task_row(last_seq=3, body=b"4"), ())
        assert (await store.tasks(TaskQuery(principal="bob", limit=1))).total == 0
        assert await store.started_by("bob", "context-2", "message-2") is None


async def test_a_task_is_found_by_the_message_that_started_it(url: str) -> None:
    older, newer = evolve(task_row("b"), created_at=1), evolve(task_row("a"), created_at=2, last_seq=1)
    async with open_store(url) as store:
        await store.commit((older, newer, event_row(1, task_id="a"), event_row(2, task_id="a")))
        await store.commit((evolve(older, updated_at=9_000_000_000_000),))

        found = StoredTask(newer, (event_row(2, task_id="a"),))
        assert await store.started_by("ada", "context-1", "message-1") == found
        assert await store.started_by("ada", "context-1", "message-2") is None
        assert await store.started_by("ada", "context-2", "message-1") is None
        assert await store.started_by("bob", "context-1", "message-1") is None


async def test_tasks_are_found_by_the_id_of_their_message_alone(url: str) -> None:
    rows = [
        evolve(task_row(task_id), created_at=created_at, context_id=f"context-{task_id}")
        for task_id, created_at in (("c", 1), ("a", 3), ("B", 2), ("d", 3))
    ]
    async with open_store(url) as store:
        await store.commit((*rows, evolve(task_row("e"), principal="bob"), evolve(task_row("f"), message_id="m")))

        found = await store.tasks_of_message("ada", "message-1", 3)
        assert [row.task_id for row in found] == ["d", "a", "B"]
        assert found[2] == rows[2]
        assert await store.tasks_of_message("ada", "message-2", 3) == ()


async def test_the_ids_of_all_messages_are_read_page_by_page(url: str) -> None:
    pairs = {(principal, f"m-{number}") for principal in ("ada", "Bob", "") for number in range(4)}
    async with open_store(url) as store:
        await store.commit(
            [
                evolve(task_row(f"{principal} {message_id} {more}"), principal=principal, message_id=message_id)
                for principal, message_id in pairs
                for more in range(3)
            ]
        )
        for limit in (1, 5, 12, 13):
            found = list(await store.message_ids(None, limit))
            while len(page := await store.message_ids(found[-1], limit)) == limit:
                found += page
            found += page
            assert len(found) == 12
            assert set(found) == pairs


async def test_the_events_of_a_finished_task_are_kept(url: str) -> None:
    async with open_store(url) as store:
        await store.commit((task_row(), event_row(2, 3), event_row(1), event_row(1, task_id="other")))
        await store.commit((task_row(last_seq=4, finished=True), event_row(4)))

        assert await store.events("task-1") == (event_row(1), event_row(2, 3), event_row(4))
        assert await store.task("task-1") == StoredTask(task_row(last_seq=4, finished=True), ())
        assert await store.events("unknown") == ()


async def test_events_of_tasks_that_finished_long_ago_are_pruned(url: str) -> None:
    tasks = [finished("old", 10), finished("young", 20), changed("running", 10)]
    async with open_store(url) as store:
        await store.commit([*tasks, *(event_row(number, task_id=row.task_id) for row in tasks for number in (1, 2))])
        await store.commit([EventsPruned(20)])

        assert [len(await store.events(row.task_id)) for row in tasks] == [0, 2, 2]
        assert await store.task("old") == StoredTask(tasks[0], ())

        await store.commit([finished("running", 30), EventsPruned(31)])
        assert [len(await store.events(row.task_id)) for row in tasks] == [0, 0, 0]


async def test_what_is_written_around_a_pruning_counts_in_the_order_given(url: str) -> None:
    async with open_store(url) as store:
        await store.commit(
            [
                EventsPruned(100),
                finished("before", 1),
                event_row(1, task_id="before"),
                EventsPruned(2),
                finished("after", 1),
                event_row(1, task_id="after"),
                event_row(2, task_id="before"),
            ]
        )

        assert await store.events("before") == (event_row(2, task_id="before"),)
        assert await store.events("after") == (event_row(1, task_id="after"),)


async def test_very_many_tasks_are_pruned_in_several_steps_and_none_is_left_out(durable_url: str) -> None:
    numbers = range(PRUNED_AT_ONCE + 100)
    async with open_store(durable_url) as store:
        await store.commit([finished(str(number), number) for number in numbers])
        await store.commit([event_row(1, task_id=str(number)) for number in numbers])

        await store.commit([EventsPruned(len(numbers))])
        # The oldest go first.
        assert await store.events(str(PRUNED_AT_ONCE - 1)) == ()
        assert len(await store.events(str(numbers[-1]))) == 1
        assert await store.prunable(len(numbers))

        await store.commit([EventsPruned(len(numbers))])
        assert not await store.prunable(len(numbers))
        assert [await store.events(str(number)) for number in (PRUNED_AT_ONCE, numbers[-1])] == [(), ()]


async def test_pruning_leaves_nothing_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "tasks.db"
    async with open_store(f"sqlite:///{path}") as store:
        await store.commit([finished("old", 1), event_row(1, task_id="old"), EventsPruned(2)])

    assert sqlite_rows(path, "SELECT * FROM opencode_a2a_task_event") == []
    assert sqlite_rows(path, "SELECT * FROM opencode_a2a_prunable") == []


async def test_push_configurations_are_kept_by_task_and_name(url: str) -> None:
    late, early = evolve(push_row("a"), created_at=2), evolve(push_row("b"), created_at=1)
    same = evolve(push_row("0"), created_at=2)
    async with open_store(url) as store:
        await store.commit((late, early, same, push_row("a", task_id="other")))

        assert await store.push_configs("task-1") == (early, same, late)
        assert await store.push_configs("other") == (push_row("a", task_id="other"),)
        assert await store.push_configs("unknown") == ()


async def test_a_push_configuration_is_replaced_and_dropped_in_the_order_given(url: str) -> None:
    async with open_store(url) as store:
        await store.commit((push_row("a"), push_row("b"), push_row("c"), PushDropped("task-1", "a")))
        store.put((push_row("b", cursor=1),))
        store.put((PushDropped("task-1", "c"), push_row("c", cursor=2), PushDropped("task-1", "never")))
        store.put((push_row("b", cursor=3),))

        assert await store.push_configs("task-1") == (push_row("b", cursor=3), push_row("c", cursor=2))
        await store.commit((PushDropped("task-1", "b"), PushDropped("task-1", "c")))
        assert await store.push_configs("task-1") == ()


async def test_only_unfinished_pushes_are_read_at_a_start_oldest_first(durable_url: str) -> None:
    oldest, older = evolve(push_row("z"), created_at=1), evolve(push_row("y", task_id="b"), created_at=2)
    newer = evolve(push_row("x", task_id="a"), created_at=2)
    async with open_store(durable_url) as store:
        await store.commit((older, newer, oldest, push_row("done", finished=True), push_row("ends")))
        await store.commit((push_row("ends", finished=True),))

    async with open_store(durable_url) as store:
        assert await store.unfinished_pushes() == (oldest, newer, older)


def test_push_rows_show_no_secrets() -> None:
    assert "private" not in repr(push_row())


moves = st.lists(st.tuples(st.integers(0, 11), st.integers(1, 3)), max_size=4)


async def assert_pages_hold_under_change(url: str, limit: int, between: list[list[tuple[int, int]]]) -> None:
    """Tasks change and arrive between pages: no page repeats a row as it was, and what stays still is there once."""
    async with open_store(url) as store:
        await store.commit([changed(str(number), number // 3) for number in range(9)])
        clock, touched = 100, set[str]()
        query = TaskQuery(principal="ada", limit=limit)
        page = await store.tasks(query)
        seen = list(page.rows)
        for step in range(1000):
            for number, later in between[step] if step < len(between) else []:
                clock += later
                touched.add(str(number))
                await store.commit([changed(str(number), clock)])
            if len(page.rows) < limit:
                break
            page = await store.tasks(evolve(query, after=(page.rows[-1].updated_at, page.rows[-1].task_id)))
            seen += page.rows
        names = [row.task_id for row in seen]
        assert len(names) == len(set(names))
        assert {str(number) for number in range(9)} - touched <= set(names)
        assert seen == sorted(seen, key=lambda row: (row.updated_at, row.task_id), reverse=True)


@given(limit=st.integers(1, 4), between=st.lists(moves, max_size=6))
@pytest.mark.parametrize("url", ["memory", "sqlite:///:memory:"])
def test_pages_hold_while_tasks_change_and_arrive(url: str, limit: int, between: list[list[tuple[int, int]]]) -> None:
    anyio.run(assert_pages_hold_under_change, url, limit, between)


@pytest.fixture
def statements() -> Iterator[list[str]]:
    """Every statement that SQLite executes, with its parameters in it; those of triggers are comments."""
    executed: list[str] = []

    def connected(connection: sqlite3.Connection, _record: object) -> None:
        connection.set_trace_callback(executed.append)

    event.listen(Pool, "connect", connected)
    yield executed
    event.remove(Pool, "connect", connected)


def plans(path: Path, statements: list[str]) -> list[str]:
    """SQLite's words for how it goes about each statement."""
    with closing(sqlite3.connect(path)) as connection:
        return [
            "; ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}"))
            for statement in statements
            if statement.startswith(("SELECT", "DELETE", "UPDATE"))
        ]


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (TaskQuery(principal="ada", limit=5, after=(7, "x")), "principal"),
        (TaskQuery(principal="ada", limit=5, after=(7, "x"), state="working"), "state"),
        (TaskQuery(principal="ada", limit=5, after=(7, "x"), changed_after=5), "principal"),
        (TaskQuery(principal="ada", limit=5, after=(7, "x"), context_id="c"), "context"),
    ],
)
async def test_pages_are_found_in_an_index_and_not_sorted(
    tmp_path: Path, statements: list[str], query: TaskQuery, index: str
) -> None:
    path = tmp_path / "tasks.db"
    async with open_store(f"sqlite:///{path}") as store:
        statements.clear()
        await store.tasks(query)

    total, page = plans(path, statements)
    counted_apart = query.context_id is None and query.changed_after is None
    assert ("SEARCH opencode_a2a_task_count USING INDEX" if counted_apart else "USING COVERING INDEX") in total
    assert f"USING COVERING INDEX opencode_a2a_task_{index} (principal=?" in page
    assert "(updated_at,task_id)<" in page or "updated_at<?" in page
    assert not any("SCAN" in plan or "TEMP B-TREE" in plan for plan in (total, page))


async def test_nothing_reads_a_whole_table(tmp_path: Path, statements: list[str]) -> None:
    path = tmp_path / "tasks.db"
    async with open_store(f"sqlite:///{path}") as store:
        await store.commit([finished("task-1", 0), event_row(1)])
        statements.clear()
        await store.started_by("ada", "context-1", "message-1")
        await store.task("task-1")
        await store.events("task-1")
        await store.push_configs("task-1")
        await store.unfinished_pushes()
        await store.unfinished()
        await store.tasks_of_message("ada", "message-1", 16)
        await store.message_ids(("ada", "message-1"), 16)
        await store.commit([EventsPruned(1), PushDropped("task-1", "config-1")])

    found = plans(path, statements)
    assert len(found) == 15
    assert [plan for plan in found if "SCAN" in plan] == []
    [newest] = [plan for plan in found if "opencode_a2a_task_repeat (principal=? AND message_id=?)" in plan]
    [pairs] = [plan for plan in found if "COVERING INDEX" in plan and "(principal,message_id)>" in plan]
    assert "TEMP B-TREE" not in newest + pairs
    assert "USING INDEX opencode_a2a_task_message (principal=? AND message_id=? AND context_id=?)" in found[0]
