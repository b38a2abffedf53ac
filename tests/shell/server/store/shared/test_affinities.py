"""Where tasks and sessions can be worked on: kept by every store, and minded by servers that take over tasks."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest
from attrs import evolve

from opencode_a2a.server.store import Binding, SessionRow, SharedOptions, open_store
from tests.shell.server.store.shared.cases import LEASE, ids
from tests.shell.store_cases import any_url as any_url
from tests.shell.store_cases import postgresql_url as postgresql_url
from tests.shell.store_cases import task_row

pytestmark = pytest.mark.anyio


async def test_contexts_and_sessions_have_the_affinity_that_was_stored(url: str) -> None:
    begun = evolve(task_row("begun"), principal="alice", context_id="new", affinity="b", updated_at=2)
    async with open_store(url) as store:
        await store.commit(
            [
                begun,
                evolve(begun, task_id="older", updated_at=1, affinity="c"),
                evolve(begun, affinity="c", last_seq=1),  # what identifies a task is that of its first row
                evolve(begun, task_id="bound", context_id="bound", affinity="c"),
                Binding("alice", "bound", "ses_1", "a"),
                Binding("alice", "plain", "ses_2"),
                SessionRow(session_id="ses_3", principal="alice", affinity="b"),
            ]
        )
        contexts = [await store.affinity_of_context("alice", name) for name in ("new", "bound", "plain", "none")]
        sessions = [await store.affinity_of_session(f"ses_{number}") for number in (1, 2, 3, 4)]
        others = await store.affinity_of_context("bob", "new")
        stored = await store.task("begun")

    assert contexts == ["b", "a", "", None]
    assert sessions == ["a", "", "b", None]
    assert others is None
    assert stored is not None
    assert stored.row.affinity == "b"


async def test_a_server_takes_over_only_what_it_can_work_on(postgresql: str) -> None:
    rows = [evolve(task_row(f"task-{name or 'old'}"), affinity=name) for name in ("", "a", "b")]
    async with open_store(postgresql) as store:
        await store.commit(rows)
    async with AsyncExitStack() as stack:

        async def server(*affinities: str) -> list[str]:
            options = SharedOptions(lease=LEASE, affinities=frozenset(affinities) if affinities else None)
            opened = await stack.enter_async_context(open_store(postgresql, shared=True, options=options))
            return ids(await opened.ownership.adopt(10))

        assert await server("c") == []
        assert await server("b") == ["task-b"]
        assert sorted(await server()) == ["task-a", "task-old"]
