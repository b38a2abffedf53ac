"""A read that is shared: nobody gets what is older than the question, and what goes wrong is shared, too."""

from __future__ import annotations

from collections import deque

import anyio
import pytest
from anyio.lowlevel import checkpoint
from attrs import define, field

from opencode_a2a.agent.sessions.shared_read import SharedRead

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@define(eq=False)
class Source:
    """What is read: each read has a number, and ends when it may. `faults`: of the reads to come; None: none."""

    reads: int = 0
    may_end: anyio.Event = field(factory=anyio.Event)
    faults: deque[Exception | None] = field(factory=deque)

    async def read(self) -> int:
        self.reads += 1
        number = self.reads
        fault = self.faults.popleft() if self.faults else None
        await self.may_end.wait()
        if fault is not None:
            raise fault
        return number


async def settled() -> None:
    for _ in range(10):
        await checkpoint()


async def test_who_comes_during_a_read_gets_the_next_one_with_all_others() -> None:
    shared: SharedRead[int] = SharedRead()
    source, found = Source(), []

    async def ask() -> None:
        found.append(await shared.get("here", source.read))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await settled()
        for _ in range(5):
            tasks.start_soon(ask)
        await settled()
        assert source.reads == 1
        source.may_end.set()
    assert sorted(found) == [1, 2, 2, 2, 2, 2]

    await ask()
    assert found[-1] == 3


async def test_another_key_is_another_read() -> None:
    shared: SharedRead[int] = SharedRead()
    here, there = Source(), Source()
    there.may_end.set()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(shared.get, "here", here.read)
        await settled()
        assert await shared.get("there", there.read) == 1
        here.may_end.set()


async def test_an_error_is_that_of_everybody_who_shares_the_read() -> None:
    shared: SharedRead[int] = SharedRead()
    source, found = Source(faults=deque([None, ValueError("no")])), []

    async def ask() -> None:
        try:
            found.append(str(await shared.get("here", source.read)))
        except ValueError as exc:
            found.append(str(exc))

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(ask)
        await settled()
        source.may_end.set()
    assert sorted(found) == ["1", "no", "no"]

    await ask()
    assert (found[-1], source.reads) == ("3", 3)


async def test_a_read_whose_caller_gives_up_is_begun_again_for_the_others() -> None:
    shared: SharedRead[int] = SharedRead()
    source, found = Source(), []

    async def ask() -> None:
        found.append(await shared.get("here", source.read))

    async with anyio.create_task_group() as tasks:
        with anyio.CancelScope() as first:
            async with anyio.create_task_group() as alone:
                alone.start_soon(ask)
                await settled()
                tasks.start_soon(ask)
                tasks.start_soon(ask)
                await settled()
                first.cancel()
        await settled()
        assert (source.reads, found) == (2, [])
        source.may_end.set()
    assert found == [2, 2]
