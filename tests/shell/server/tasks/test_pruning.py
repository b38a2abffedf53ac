"""The events of tasks that ended long ago are removed, however many tasks there are."""

from __future__ import annotations

import anyio
import pytest

from opencode_a2a.server.store.rows import PRUNED_AT_ONCE
from tests.shell.harness import DEADLINE, Serving
from tests.shell.store_cases import event_row, task_row

_LONG_AGO = 1_710_000_000_000  # after the tasks below have ended: epoch milliseconds

pytestmark = pytest.mark.anyio


async def test_clean_up_goes_on_until_nothing_is_left_to_remove(serving: Serving) -> None:
    tasks = [f"task-{number}" for number in range(3 * PRUNED_AT_ONCE + 5)]
    async with serving() as agent, anyio.create_task_group() as looking:
        store = agent.running.tasks.store
        await store.commit([task_row(task_id, finished=True) for task_id in tasks])
        await store.commit([event_row(1, task_id=task_id) for task_id in tasks])
        looking.start_soon(agent.running.tasks.maintenance.prune)
        with anyio.fail_after(DEADLINE):
            while await store.prunable(_LONG_AGO):  # noqa: ASYNC110 - there is no event to wait for
                await anyio.sleep(0.01)
        left = [task_id for task_id in (tasks[0], tasks[-1]) if await store.events(task_id)]
        looking.cancel_scope.cancel()

    assert left == []
