"""Questions that come together are answered together, each asker getting its own answer."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import anyio.lowlevel
import pytest

from opencode_a2a.gathering import Gathering
from tests.shell.harness import DEADLINE

pytestmark = pytest.mark.anyio


class Doubling:
    """Doubles numbers once it is let; a negative one it cannot."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.let = anyio.Event()

    async def answer(self, questions: Sequence[int]) -> Sequence[int]:
        self.asked.append(list(questions))
        await self.let.wait()
        if min(questions) < 0:
            raise ValueError("a negative number")
        return [number * 2 for number in questions]


async def test_what_is_asked_meanwhile_is_answered_together_and_to_each_his_own() -> None:
    doubling, answers = Doubling(), dict[int, int]()

    async def ask(number: int) -> None:
        answers[number] = await gathering.ask(number)

    with anyio.fail_after(DEADLINE):
        async with anyio.create_task_group() as tasks:
            gathering = Gathering(tasks, doubling.answer, 3)
            tasks.start_soon(ask, 1)
            await anyio.wait_all_tasks_blocked()
            for number in (2, 3, 4, 5):
                tasks.start_soon(ask, number)
            await anyio.wait_all_tasks_blocked()
            doubling.let.set()
        async with anyio.create_task_group() as tasks:
            gathering = Gathering(tasks, doubling.answer, 3)
            tasks.start_soon(ask, 6)

    assert answers == {number: number * 2 for number in (1, 2, 3, 4, 5, 6)}
    first, *more = doubling.asked
    assert first == [1]
    assert [len(some) for some in more] == [3, 1, 1]


async def test_a_fault_is_everybodys_who_asked_together_and_nobody_elses() -> None:
    doubling, faults = Doubling(), list[str]()

    async def ask(number: int) -> None:
        try:
            assert await gathering.ask(number) == number * 2
        except ValueError as error:
            faults.append(f"{number}: {error}")

    with anyio.fail_after(DEADLINE):
        async with anyio.create_task_group() as tasks:
            gathering = Gathering(tasks, doubling.answer, 3)
            tasks.start_soon(ask, 1)
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(ask, 2)
            tasks.start_soon(ask, -3)
            await anyio.wait_all_tasks_blocked()
            doubling.let.set()
            await anyio.wait_all_tasks_blocked()
            await ask(4)

    assert sorted(faults) == ["-3: a negative number", "2: a negative number"]


async def test_who_is_cancelled_takes_no_answer_from_the_others() -> None:
    doubling, answers = Doubling(), list[int]()

    async def ask(number: int) -> None:
        answers.append(await gathering.ask(number))

    with anyio.fail_after(DEADLINE):
        async with anyio.create_task_group() as tasks:
            gathering = Gathering(tasks, doubling.answer, 3)
            async with anyio.create_task_group() as cancelled:
                cancelled.start_soon(ask, 1)
                await anyio.wait_all_tasks_blocked()
                cancelled.cancel_scope.cancel()
            tasks.start_soon(ask, 2)
            await anyio.wait_all_tasks_blocked()
            doubling.let.set()

    assert answers == [4]
