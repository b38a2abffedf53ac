"""A wake-up reaches everybody who waits, and nobody who comes later."""

from __future__ import annotations

import anyio
import anyio.abc
import anyio.lowlevel
import pytest

from opencode_a2a.wakeup import Wakeup

pytestmark = pytest.mark.anyio
DEADLINE = 10.0


async def test_everybody_who_waits_is_woken_each_time() -> None:
    wakeup, woken = Wakeup(), []

    async def waiter(name: str, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        for turn in range(2):
            event = wakeup.next()
            if turn == 0:
                task_status.started()
            await event.wait()
            woken.append((turn, name))

    with anyio.fail_after(DEADLINE):
        async with anyio.create_task_group() as tasks:
            await tasks.start(waiter, "a")
            await tasks.start(waiter, "b")
            for turn in range(2):
                wakeup.wake()
                while len(woken) < 2 * turn + 2:
                    await anyio.lowlevel.checkpoint()

    assert sorted(woken) == [(0, "a"), (0, "b"), (1, "a"), (1, "b")]


async def test_one_who_comes_later_waits_for_the_next() -> None:
    wakeup = Wakeup()
    wakeup.wake()
    later = wakeup.next()

    assert not later.is_set()
    wakeup.wake()
    assert later.is_set()
    assert not wakeup.next().is_set()


async def test_one_who_looked_first_misses_nothing() -> None:
    wakeup = Wakeup()
    seen = wakeup.next()
    wakeup.wake()

    with anyio.fail_after(DEADLINE):
        await seen.wait()
