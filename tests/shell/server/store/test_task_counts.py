"""The numbers of tasks that the database keeps: they are those that one gets by counting."""

from __future__ import annotations

from collections import Counter

import pytest
from attrs import evolve
from sqlalchemy import create_engine, make_url

from opencode_a2a.server.store import Store, TaskQuery, TasksBeyond, TasksExpired, open_store
from opencode_a2a.server.store.schema import TASK_COUNT
from tests.shell.store_cases import any_durable_url as any_durable_url
from tests.shell.store_cases import any_url as any_url
from tests.shell.store_cases import paged, task_row
from tests.shell.store_cases import postgresql_url as postgresql_url

pytestmark = pytest.mark.anyio

STATES = ("submitted", "working", "completed", "failed")


async def totals(store: Store, principal: str) -> Counter[str]:
    """The total of each state as lists have it, and of all."""
    found = {
        state: (await store.tasks(TaskQuery(principal=principal, limit=1, state=state))).total for state in STATES
    }
    return Counter({**found, "": (await store.tasks(TaskQuery(principal=principal, limit=1))).total})


async def counted(store: Store, principal: str) -> Counter[str]:
    """The same, counted task by task."""
    rows = (await paged(store, TaskQuery(principal=principal, limit=50))).rows
    return Counter({**Counter(row.state for row in rows), "": len(rows)})


async def test_totals_follow_new_tasks_their_states_and_their_removal(url: str) -> None:
    tasks = [
        evolve(task_row(f"task-{number}"), principal=("ada", "grace")[number % 2], state=STATES[number % 2])
        for number in range(20)
    ]
    ended = [evolve(task, state="completed", finished=True, updated_at=number) for number, task in enumerate(tasks)]
    failed = evolve(ended[0], state="failed")
    async with open_store(url) as store:
        for writes in (
            tasks,
            tasks[:3],
            [*ended[:8], *tasks[8:]],
            [failed],
            [TasksExpired(4)],
            [TasksBeyond("ada", 5)],
        ):
            await store.commit(writes)

            for principal in ("ada", "grace", "nobody"):
                assert await totals(store, principal) == await counted(store, principal)
        left = sum([(await totals(store, principal))[""] for principal in ("ada", "grace")])

        assert left == await store.count() < 20


async def test_totals_within_a_context_and_since_a_moment_are_exact(url: str) -> None:
    tasks = [
        evolve(task_row(f"task-{number}"), context_id=f"c{number % 2}", state=STATES[number % 3], updated_at=number)
        for number in range(12)
    ]
    async with open_store(url) as store:
        await store.commit(tasks)
        query = TaskQuery(principal="ada", limit=1)
        asked = [
            evolve(query, context_id="c1"),
            evolve(query, context_id="c1", state="working"),
            evolve(query, changed_after=6),
            evolve(query, changed_after=6, state="working"),
            evolve(query, context_id="c0", changed_after=6, state="working"),
        ]

        assert [(await store.tasks(one)).total for one in asked] == [6, 2, 5, 2, 1]


async def test_what_sessions_counted_that_are_gone_is_kept_as_one_row(postgresql: str) -> None:
    async with open_store(postgresql) as store:
        await store.commit([task_row()])
    engine = create_engine(make_url(postgresql).set(drivername="postgresql+psycopg"))
    gone = [{"principal": "ada", "state": "working", "session": -number, "tasks": number} for number in (1, 2)]
    with engine.begin() as connection:
        connection.execute(TASK_COUNT.insert(), gone)

    async with open_store(postgresql) as store:
        number = await store.count()
    with engine.begin() as connection:
        kept = connection.execute(TASK_COUNT.select().where(TASK_COUNT.c.session <= 0)).all()
    engine.dispose()

    assert number == 4
    assert [row.session for row in kept] == [0]
    assert 3 <= kept[0].tasks <= 4
