"""One at a time, in the order of coming, whoever is cancelled meanwhile."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from opencode_a2a.server.tasks.keyed_lock import OneAtATime

pytestmark = pytest.mark.anyio


async def test_those_who_wait_go_in_in_the_order_of_coming() -> None:
    lock, seen = OneAtATime(), []

    async def enter(number: int) -> None:
        async with lock:
            seen.append(number)
            await anyio.lowlevel.checkpoint()

    async with lock, anyio.create_task_group() as tasks:
        for number in range(3):
            tasks.start_soon(enter, number)
            await anyio.wait_all_tasks_blocked()
        assert (lock.is_taken, seen) == (True, [])
        tasks.start_soon(lock.__aexit__)
        await anyio.wait_all_tasks_blocked()
        assert (lock.is_taken, seen) == (False, [0, 1, 2])
        await lock.__aenter__()
    assert not lock.is_taken


@pytest.mark.parametrize("handed_over", [False, True])
async def test_who_is_cancelled_while_waiting_holds_up_nobody(*, handed_over: bool) -> None:
    lock, seen = OneAtATime(), []
    scope = anyio.CancelScope()

    async def cancelled() -> None:
        with scope:
            async with lock:
                seen.append("cancelled")

    async def after() -> None:
        async with lock:
            seen.append("after")

    async with anyio.create_task_group() as tasks:
        await lock.__aenter__()
        tasks.start_soon(cancelled)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(after)
        await anyio.wait_all_tasks_blocked()
        if handed_over:
            await lock.__aexit__()
        scope.cancel()
        if not handed_over:
            await anyio.wait_all_tasks_blocked()
            await lock.__aexit__()

    assert seen[-1] == "after"
    assert not lock.is_taken


async def test_who_is_cancelled_does_not_go_in_where_nobody_is() -> None:
    lock, seen = OneAtATime(), []
    with anyio.CancelScope() as scope:
        scope.cancel()
        async with lock:
            seen.append("inside")

    assert (lock.is_taken, seen) == (False, [])
