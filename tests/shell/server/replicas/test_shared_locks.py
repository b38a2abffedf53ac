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

from opencode_a2a.server.replicas.shared_locks import SharedLock, SharedLocks, name_of
from opencode_a2a.server.store import StoreUnavailableError
from opencode_a2a.server.store.schema import TICKET
from opencode_a2a.server.store.shared.tickets import adopt_tickets, give_back, take_ticket
from tests.shell.harness import DEADLINE
from tests.shell.server.store.shared.tables import die, engine_of_postgresql, join, transaction, work_on
from tests.shell.store_cases import postgresql_url

__all__ = ["engine_of_postgresql", "postgresql_url"]

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

T = TypeVar("T")
KEY = ("session", "ses_1")


class Database:
    """The database as one server has it; `failing`, `failing_from`: how many, and which, transactions fail.

    `unanswered`: how many are committed, and the answer is lost.
    """

    def __init__(self, engine: Engine, replica_id: str) -> None:
        self.engine = engine
        self.replica_id = replica_id
        self.failing = 0
        self.failing_from = 1_000_000
        self.unanswered = 0
        self.transactions = 0

    def subscribe(self, channel: str, notified: Callable[[Sequence[str] | None], None]) -> None:
        """Nothing is notified: the poll finds it."""

    async def transact(self, work: Callable[[Connection, str], T], *, at_once: bool = False) -> T:
        self.transactions += 1
        if self.failing or self.transactions >= self.failing_from:
            self.failing -= 1
            raise StoreUnavailableError("the database is away")
        result = await anyio.to_thread.run_sync(self._transact, work)
        if self.unanswered:
            self.unanswered -= 1
            raise StoreUnavailableError("the answer is lost")
        return result

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
    with anyio.fail_after(DEADLINE):
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
        with anyio.fail_after(DEADLINE):
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
        with anyio.fail_after(DEADLINE):
            async with other.of(KEY):
                assert other.is_taken(KEY)
        await nothing_left(engine)


async def test_a_server_that_dies_holds_up_nobody(engine: Engine) -> None:
    async with servers(engine, "a", "b") as (one, other):
        lock = one.of(KEY)
        await lock.__aenter__()
        die(engine, "a")
        with anyio.fail_after(DEADLINE):
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
        with anyio.fail_after(DEADLINE):
            async with other.of(KEY):
                pass


async def test_the_same_task_may_come_again_at_once(engine: Engine) -> None:
    async with servers(engine, "a", poll=60) as (locks,):
        with anyio.fail_after(DEADLINE):
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
        with anyio.fail_after(DEADLINE):
            await until(lambda: not database.failing)
            async with locks.of(KEY):
                pass
        await nothing_left(engine)
        database.failing = 1
        with pytest.raises(StoreUnavailableError):
            await locks.of(("other",)).__aenter__()
        assert not locks.is_taken(("other",))
        await nothing_left(engine)
        tasks.cancel_scope.cancel()


async def test_tickets_that_are_asked_for_together_are_taken_in_one_transaction(engine: Engine) -> None:
    join(engine, "a")
    database = Database(engine, "a")
    locks = SharedLocks(database, 60)
    held = [locks.of(("session", str(number))) for number in range(20)]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(locks.run)
        with anyio.fail_after(DEADLINE):
            async with anyio.create_task_group() as takers:
                for lock in held:
                    takers.start_soon(lock.__aenter__)
        assert database.transactions <= 2
        for lock in held:
            lock.leave()
        await nothing_left(engine)
        tasks.cancel_scope.cancel()


async def test_a_key_that_is_busy_in_another_server_keeps_nobody_else_waiting(engine: Engine) -> None:
    join(engine, "a", "b")
    locks = SharedLocks(Database(engine, "a"), 60)
    free, busy = locks.of(("session", "free")), locks.of(KEY)
    entered = anyio.Event()

    async def enter() -> None:
        await busy.__aenter__()
        entered.set()

    async with anyio.create_task_group() as tasks:
        with transaction(engine) as connection:
            assert take_ticket(connection, name_of(KEY), "of another", "b")
            tasks.start_soon(enter)
            tasks.start_soon(free.__aenter__)
            tasks.start_soon(locks.run)
            await until(lambda: left_over(engine) == 1)
            assert not entered.is_set()
            give_back(connection, [(name_of(KEY), "of another", "b")])
        with anyio.fail_after(DEADLINE):
            await entered.wait()
        free.leave()
        busy.leave()
        await nothing_left(engine)
        tasks.cancel_scope.cancel()


async def test_a_key_that_was_busy_and_cannot_be_taken_then_is_an_error(engine: Engine) -> None:
    join(engine, "a", "b")
    database = Database(engine, "a")
    locks = SharedLocks(database, 60)
    async with anyio.create_task_group() as tasks:
        with transaction(engine) as connection:
            take_ticket(connection, name_of(KEY), "of another", "b")
            database.failing_from = 2
            tasks.start_soon(locks.run)
            with anyio.fail_after(DEADLINE), pytest.raises(StoreUnavailableError):
                await locks.of(KEY).__aenter__()
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


async def test_a_place_that_went_with_the_id_of_its_server_is_taken_again(engine: Engine) -> None:
    join(engine, "a")
    database = Database(engine, "a")
    one = SharedLocks(database, 0.02)
    entered = anyio.Event()

    async def enter() -> None:
        async with one.of(KEY):
            entered.set()

    async with servers(engine, "b") as (other,):
        inside = other.of(KEY)
        await inside.__aenter__()

        with anyio.fail_after(DEADLINE):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(one.run)
                tasks.start_soon(enter)
                await tickets_taken(engine, 2)
                die(engine, "a")
                join(engine, "a again")
                database.replica_id = "a again"
                await anyio.sleep(0.1)
                assert not entered.is_set()
                inside.leave()
                await entered.wait()
                await nothing_left(engine)
                tasks.cancel_scope.cancel()


async def test_the_place_of_an_adopted_task_is_given_up_though_others_wait_here(engine: Engine) -> None:
    work_on(engine, "a", "task")
    async with servers(engine, "a", "b") as (one, other):
        first = one.of(KEY, "task")
        await first.__aenter__()
        die(engine, "a")
        with transaction(engine) as connection:
            adopt_tickets(connection, ["task"], "b")
        work_on(engine, "b", "task")
        entered = anyio.Event()

        async def enter() -> None:
            async with other.of(KEY, "another task"):
                entered.set()

        with anyio.fail_after(DEADLINE):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(enter)
                await tickets_taken(engine, 2)
                kept = other.kept(KEY, "task")
                await anyio.sleep(0.1)
                assert not entered.is_set()
                kept.leave()
                await entered.wait()


async def test_the_tickets_of_an_adopted_task_go_with_its_work_whoever_has_taken_them(engine: Engine) -> None:
    work_on(engine, "task", "a")
    async with servers(engine, "a", "b", "c") as (one, other, third):
        for key in (KEY, ("session", "ses_2"), ("session", "ses_3")):
            await one.of(key, "task").__aenter__()
        die(engine, "a")
        with transaction(engine) as connection:
            adopt_tickets(connection, ["task"], "b")
        again = other.of(("session", "ses_3"), "task")
        with anyio.fail_after(DEADLINE):
            await again.__aenter__()
            other.leave_all("task")
            async with other.of(KEY), third.of(("session", "ses_2")):
                pass
            await tickets_taken_at_most(engine, 1)
            assert other.is_taken(("session", "ses_3"))
            again.leave()
            await nothing_left(engine)


async def tickets_taken_at_most(engine: Engine, number: int) -> None:
    await until(lambda: left_over(engine) <= number)


async def test_a_ticket_that_was_taken_though_the_answer_was_lost_goes_with_its_lock(engine: Engine) -> None:
    join(engine, "a", "a again")
    database = Database(engine, "a")
    locks = SharedLocks(database, 60)
    async with anyio.create_task_group() as tasks:
        lock = locks.of(KEY)
        lock.take_place()
        database.replica_id = "a again"  # the place is older than the id that the ticket is taken with
        database.unanswered = 1
        tasks.start_soon(locks.run)
        with anyio.fail_after(DEADLINE):
            with pytest.raises(StoreUnavailableError):
                await lock.wait()
            assert left_over(engine) == 1
            lock.leave()
            await nothing_left(engine)
        tasks.cancel_scope.cancel()


async def test_the_look_for_those_who_wait_comes_however_much_else_happens(engine: Engine) -> None:
    async with servers(engine, "a", poll=0.3) as (one,), servers(engine, "b") as (other,):
        inside = other.of(KEY)
        await inside.__aenter__()
        entered = anyio.Event()

        async def enter() -> None:
            async with one.of(KEY):
                entered.set()

        async def come_and_go() -> None:
            while not entered.is_set():
                lock = one.of(("message", "1"))
                lock.take_place()
                lock.leave()
                await anyio.sleep(0.001)

        with anyio.fail_after(DEADLINE):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(enter)
                await tickets_taken(engine, 2)
                tasks.start_soon(come_and_go)
                inside.leave()  # of which nobody is notified


async def test_a_ticket_that_is_gone_is_taken_again_by_whoever_waits_with_it(engine: Engine) -> None:
    async with servers(engine, "a", "b") as (one, other):
        inside = one.of(KEY)
        await inside.__aenter__()
        entered = anyio.Event()

        async def enter() -> None:
            async with other.of(KEY):
                entered.set()

        with anyio.fail_after(DEADLINE):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(enter)
                await tickets_taken(engine, 2)
                with transaction(engine) as connection:
                    connection.execute(TICKET.delete().where(TICKET.c.replica_id == "b"))
                await tickets_taken(engine, 2)
                assert not entered.is_set()
                inside.leave()


async def test_a_task_whose_ticket_was_given_back_before_it_was_adopted_waits_as_any_other(engine: Engine) -> None:
    async with servers(engine, "a", "b") as (one, other):
        inside = one.of(KEY)
        await inside.__aenter__()
        kept = other.kept(KEY, "task")
        with anyio.move_on_after(0.1):
            await kept.wait()
            raise AssertionError("two turns of one session")
        inside.leave()
        with anyio.fail_after(DEADLINE):
            await kept.wait()
        kept.leave()


async def test_a_ticket_of_an_unfinished_task_stays_for_whoever_adopts_it(engine: Engine) -> None:
    join(engine, "a", "a again", "b")
    work_on(engine, "task", "a")
    database = Database(engine, "a")
    locks = SharedLocks(database, 60)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(locks.run)
        lock, other = locks.of(KEY, "task"), locks.of(("other",))
        await lock.__aenter__()
        die(engine, "a")
        database.replica_id = "a again"
        await other.__aenter__()
        lock.leave()  # its work was abandoned, as another server took over
        other.leave()
        with anyio.fail_after(DEADLINE):
            await until(lambda: left_over(engine) == 1)
        with transaction(engine) as connection:
            assert not take_ticket(connection, name_of(KEY), "next", "b")
        tasks.cancel_scope.cancel()


async def test_a_ticket_stays_until_the_last_of_its_locks_has_left(engine: Engine) -> None:
    async with servers(engine, "a", "b") as (one, other):
        ending, begun = one.of(KEY, "task"), one.of(KEY, "task")
        await ending.__aenter__()
        with anyio.fail_after(DEADLINE):
            await begun.__aenter__()  # the same task's, whose earlier work ends later
            ending.leave()
            async with one.of(("other",)):  # what was given up before is given back
                pass
            await tickets_taken_at_most(engine, 1)
        with anyio.move_on_after(0.1):
            async with other.of(KEY):
                raise AssertionError("two turns of one session")
        begun.leave()
        await nothing_left(engine)
