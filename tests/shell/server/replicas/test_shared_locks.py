"""Locks of several servers over a real PostgreSQL: one inside at a time, in order of arrival, whoever fails."""

from __future__ import annotations

import itertools
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import anyio
import anyio.to_thread
import pytest
from sqlalchemy import Connection, Engine

from opencode_a2a.server.replicas.shared_locks import SharedLock, SharedLocks
from opencode_a2a.server.store import StoreUnavailableError
from opencode_a2a.server.store.schema import TICKET
from opencode_a2a.server.store.shared.tickets import adopt_tickets
from tests.shell.server.store.shared.tables import die, engine_of_postgresql, join, transaction, work_on
from tests.shell.store_cases import postgresql_url

__all__ = ["engine_of_postgresql", "postgresql_url"]

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(30)]

T = TypeVar("T")
KEY = ("session", "ses_1")


class Database:
    """The database as one server has it; `failing`: transactions that fail."""

    def __init__(self, engine: Engine, replica_id: str) -> None:
        self.engine = engine
        self.replica_id = replica_id
        self.failing = 0
        self.transactions = 0

    def subscribe(self, channel: str, notified: Callable[[Sequence[str] | None], None]) -> None:
        """Nothing is notified: the poll finds it."""

    async def transact(self, work: Callable[[Connection, str], T]) -> T:
        self.transactions += 1
        if self.failing:
            self.failing -= 1
            raise StoreUnavailableError("the database is away")
        return await anyio.to_thread.run_sync(self._transact, work)

    def _transact(self, work: Callable[[Connection, str], T]) -> T:
        with transaction(self.engine) as connection:
            return work(connection, self.replica_id)


@asynccontextmanager
async def servers(engine: Engine, *names: str, poll: float = 0.02) -> AsyncGenerator[list[SharedLocks]]:
    join(engine, *names)
    async with anyio.create_task_group() as tasks:
        found = [SharedLocks(Database(engine, name), poll) for name in names]
        for locks in found:
            tasks.start_soon(locks.run)
        yield found
        tasks.cancel_scope.cancel()


def left_over(engine: Engine) -> int:
    with transaction(engine) as connection:
        return len(connection.execute(TICKET.select()).all())


async def until(holds: Callable[[], bool]) -> None:
    with anyio.fail_after(5):
        for pause in itertools.repeat(0.01):
            if await anyio.to_thread.run_sync(holds):
                return
            await anyio.sleep(pause)


async def nothing_left(engine: Engine) -> None:
    await until(lambda: left_over(engine) == 0)


async def test_one_is_inside_at_a_time_on_all_servers(engine: Engine) -> None:
    inside, most, entered = 0, 0, 0

    async def work(locks: SharedLocks, chance: random.Random) -> None:
        nonlocal inside, most, entered
        for _ in range(4):
            async with locks.of(KEY):
                inside += 1
                most, entered = max(most, inside), entered + 1
                await anyio.sleep(chance.random() * 0.005)
                inside -= 1

    async with servers(engine, "a", "b", "c") as three:
        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                for number in range(9):
                    tasks.start_soon(work, three[number % 3], random.Random(number))
        await nothing_left(engine)

    assert (most, entered) == (1, 36)


async def test_the_order_of_arrival_holds(engine: Engine) -> None:
    entered: list[int] = []

    async def enter(lock: SharedLock, number: int) -> None:
        async with lock:
            entered.append(number)

    async with servers(engine, "a", "b") as (one, other):
        outer = await one.of(KEY).__aenter__()
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                locks = [one.of(KEY) for _ in range(5)]
                assert [lock.take_place() for lock in locks] == [False] * 5
                for number in reversed(range(5)):
                    tasks.start_soon(enter, locks[number], number)
                await tickets_taken(engine, 6)
                tasks.start_soon(enter, other.of(KEY), 5)
                await tickets_taken(engine, 7)
                tasks.start_soon(enter, one.of(KEY), 6)
                await tickets_taken(engine, 8)
                outer.leave()

    assert entered == list(range(7))


async def tickets_taken(engine: Engine, number: int) -> None:
    await until(lambda: left_over(engine) >= number)


async def test_whoever_must_wait_is_asked_to_show_first(engine: Engine) -> None:
    shown: list[str] = []

    async def show() -> None:
        shown.append("waits")

    async with servers(engine, "a", "b") as (one, other):
        first, second = one.of(KEY), other.of(KEY)
        first.take_place()
        await first.wait(show)
        assert shown == []
        second.take_place()
        with anyio.move_on_after(0.3):
            await second.wait(show)
        second.leave()
        first.leave()
        await nothing_left(engine)

    assert shown == ["waits"]


async def test_a_cancelled_wait_leaves_no_place(engine: Engine) -> None:
    async with servers(engine, "a", "b") as (one, other):
        async with one.of(KEY):
            with anyio.move_on_after(0.1):
                async with other.of(KEY):
                    raise AssertionError("two are inside")
        assert not other.is_taken(KEY)
        with anyio.fail_after(5):
            async with other.of(KEY):
                assert other.is_taken(KEY)
        await nothing_left(engine)


async def test_a_server_that_dies_holds_up_nobody(engine: Engine) -> None:
    async with servers(engine, "a", "b") as (one, other):
        lock = one.of(KEY)
        await lock.__aenter__()
        die(engine, "a")
        with anyio.fail_after(5):
            async with other.of(KEY):
                pass


async def test_the_place_of_an_adopted_task_is_kept_and_given_back_by_its_new_server(engine: Engine) -> None:
    async with servers(engine, "a", "b") as (one, other):
        work_on(engine, "task-1", "a")
        await one.of(KEY, "task-1").__aenter__()
        die(engine, "a")
        work_on(engine, "task-1", "b")
        with transaction(engine) as connection:
            adopt_tickets(connection, ["task-1"], "b")
        adopted = other.of(KEY, "task-1")
        assert adopted.take_place()  # and no wait: the turn is running already
        waiting = other.of(KEY)
        with anyio.move_on_after(0.2):
            async with waiting:
                raise AssertionError("two turns of one session")
        adopted.leave()
        with anyio.fail_after(5):
            async with other.of(KEY):
                pass


async def test_the_same_task_may_come_again_at_once(engine: Engine) -> None:
    async with servers(engine, "a", poll=60) as (locks,):
        with anyio.fail_after(20):
            for _ in range(20):
                async with locks.of(KEY, "task-1"):
                    pass
        await nothing_left(engine)


async def test_a_database_that_is_away_for_a_while_holds_no_ticket_for_ever(engine: Engine) -> None:
    join(engine, "a")
    database = Database(engine, "a")
    locks = SharedLocks(database, 60)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(locks.run)
        async with locks.of(KEY):
            database.failing = 2
        with anyio.fail_after(10):
            await until(lambda: not database.failing)
            async with locks.of(KEY):
                pass
        database.failing = 1
        with pytest.raises(StoreUnavailableError):
            await locks.of(("other",)).__aenter__()
        assert not locks.is_taken(("other",))
        await nothing_left(engine)
        tasks.cancel_scope.cancel()


async def test_nobody_waits_and_nothing_is_asked(engine: Engine) -> None:
    join(engine, "a")
    database = Database(engine, "a")
    locks = SharedLocks(database, 0.01)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(locks.run)
        locks.note(None)
        locks.note(["session:of others"])
        await anyio.sleep(0.2)
        tasks.cancel_scope.cancel()

    assert database.transactions == 0
