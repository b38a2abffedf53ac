"""Which of several stores on one database works on a task, and how that changes hands."""

from __future__ import annotations

from contextlib import AsyncExitStack
from itertools import chain

import anyio
import anyio.lowlevel
import pytest
from attrs import evolve

from opencode_a2a.server.store import (
    FencedError,
    StoredTask,
    StoreInUseError,
    StoreUrlError,
    TaskTakenError,
    open_store,
    sql,
)
from opencode_a2a.server.store.rows import RESTING
from opencode_a2a.server.store.shared.commands import ask
from opencode_a2a.server.store.shared.shared_owner import SharedOwner
from opencode_a2a.server.store.shared.tickets import take_ticket
from sansio.a2a.model import TaskState
from tests.shell.server.store.shared.cases import LEASE, WAIT, ids, looking, owners, shared, stores, until
from tests.shell.store_cases import any_url as any_url
from tests.shell.store_cases import event_row, task_row
from tests.shell.store_cases import postgresql_url as postgresql_url

pytestmark = pytest.mark.anyio


def test_the_states_at_rest_are_those_that_agents_may_leave() -> None:
    assert {state.value for state in TaskState if state.closing and not state.terminal} == RESTING


@pytest.mark.parametrize("url", [None, "memory", "sqlite:///:memory:", "sqlite:///tasks.db"])
def test_what_is_not_on_postgresql_cannot_be_shared(url: str | None) -> None:
    with pytest.raises(StoreUrlError, match="PostgreSQL database"):
        open_store(url, shared=True)


async def test_a_store_that_is_not_shared_owns_everything_and_adopts_each_task_once(url: str) -> None:
    resting = evolve(task_row("resting"), state="auth-required")
    async with open_store(url) as store:
        rows = [evolve(task_row(f"task-{number}"), created_at=number) for number in (3, 1, 2)]
        await store.commit([*rows, event_row(1, task_id="task-2"), task_row("done", finished=True), resting])
        ownership = store.ownership
        first = await ownership.adopt(2)
        second = await ownership.adopt(2)
        third = await ownership.adopt(2)
        await ownership.rejoin()

        assert (ids(first), ids(second), third) == (["task-1", "task-2"], ["task-3"], [])
        assert first[1].events == (event_row(1, task_id="task-2"),)
        assert (ownership.replica_id, await ownership.owner("task-1"), [*await ownership.replicas()]) == (
            None,
            None,
            [],
        )
        with anyio.move_on_after(0.05) as never:
            await ownership.fenced()
        assert never.cancelled_caught


async def test_whoever_writes_a_task_at_work_has_it_until_nobody_works_on_it(postgresql: str) -> None:
    async with stores(postgresql, 2) as (one, other):
        mine = one.ownership.replica_id
        rows = [
            task_row("working"),
            task_row("done", finished=True),
            evolve(task_row("resting"), state="auth-required"),
            evolve(task_row("asking"), state="input-required"),
        ]
        await one.commit(rows)
        seen = [await other.ownership.owner(row.task_id) for row in rows]
        columns = owners(postgresql)
        await one.commit([task_row("working", last_seq=1, finished=True)])

        assert seen == [mine, None, None, mine]
        assert columns == {"asking": mine, "done": None, "resting": None, "working": mine}
        assert owners(postgresql)["working"] is None
        assert {replica.replica_id for replica in await other.ownership.replicas()} == {
            mine,
            other.ownership.replica_id,
        }


async def test_another_store_can_neither_write_nor_take_a_task_at_work(postgresql: str) -> None:
    async with stores(postgresql, 2) as (one, other):
        await one.commit([task_row()])
        with pytest.raises(TaskTakenError):
            await other.commit([task_row(last_seq=5), event_row(5)])
        await other.commit([task_row("theirs")])

        assert await other.ownership.adopt(9) == []
        assert await one.task("task-1") == StoredTask(evolve(task_row(), replica_id=one.ownership.replica_id), ())


async def test_a_refused_task_fails_its_own_commit_and_no_other(postgresql: str) -> None:
    outcomes: dict[str, bool] = {}
    async with stores(postgresql, 2) as (one, other):
        await one.commit([task_row("theirs")])

        async def commit(task_id: str) -> None:
            try:
                await other.commit([task_row(task_id)])
            except TaskTakenError:
                outcomes[task_id] = False
            else:
                outcomes[task_id] = True

        async with anyio.create_task_group() as group:
            for task_id in ("a", "theirs", "b"):
                group.start_soon(commit, task_id)

    assert outcomes == {"a": True, "theirs": False, "b": True}


async def test_a_task_at_rest_goes_to_one_of_those_that_begin_to_work_on_it_at_once(postgresql: str) -> None:
    resting, working = evolve(task_row(), state="auth-required"), task_row(last_seq=1)
    async with stores(postgresql, 3) as opened:
        await opened[0].commit([resting])
        won: dict[int, bool] = {}

        async def begin(number: int) -> None:
            try:
                await opened[number].commit([working])
            except TaskTakenError:
                won[number] = False
            else:
                won[number] = True

        async with anyio.create_task_group() as group:
            for number in range(3):
                group.start_soon(begin, number)
        winner = next(number for number, first in won.items() if first)
        loser = opened[(winner + 1) % 3]

        assert sorted(won.values()) == [False, False, True]
        assert await loser.ownership.owner("task-1") == opened[winner].ownership.replica_id
        with pytest.raises(TaskTakenError):
            await loser.commit([resting])
        await opened[winner].commit([evolve(resting, last_seq=2)])
        assert await loser.ownership.owner("task-1") is None
        await loser.commit([task_row(last_seq=3)])
        assert await opened[winner].ownership.owner("task-1") == loser.ownership.replica_id


async def test_a_server_sweeps_what_another_could_not(postgresql: str) -> None:
    async with shared(postgresql):
        with looking(postgresql) as connection:
            connection.execute(
                "INSERT INTO opencode_a2a_ticket (key, holder, replica_id) VALUES ('key', 'one', 'gone')"
            )

            async def swept() -> bool:
                return not connection.execute("SELECT 1 FROM opencode_a2a_ticket").fetchall()

            await until(swept)


async def test_a_store_that_is_closed_leaves_neither_commands_nor_tickets(postgresql: str) -> None:
    async with shared(postgresql) as one:
        async with shared(postgresql) as leaving:
            owner, me = leaving.ownership, one.ownership.replica_id
            assert isinstance(owner, SharedOwner)
            assert me is not None
            await owner.transact(lambda connection, mine: ask(connection, "1", me, mine, b"cancel"))
            await owner.transact(lambda connection, mine: take_ticket(connection, "key", "holder", mine))
        with looking(postgresql) as connection:
            left = [
                connection.execute(f"SELECT count(*) FROM opencode_a2a_{name}").fetchone()
                for name in ("command", "ticket")
            ]

        assert left == [(0,), (0,)]


async def test_of_stores_that_adopt_at_once_each_gets_other_tasks(postgresql: str) -> None:
    async with open_store(postgresql) as alone:
        rows = [evolve(task_row(f"task-{number:02}"), created_at=number) for number in range(40)]
        await alone.commit([*rows, evolve(task_row("resting"), state="auth-required")])
    adopted: dict[int, list[str]] = {0: [], 1: [], 2: []}
    async with stores(postgresql, 3) as opened:

        async def adopt(number: int) -> None:
            while some := await opened[number].ownership.adopt(5):
                assert len(some) <= 5
                adopted[number] += ids(some)
                await anyio.lowlevel.checkpoint()

        async with anyio.create_task_group() as group:
            for number in range(3):
                group.start_soon(adopt, number)
        columns = owners(postgresql)

        assert sorted(chain.from_iterable(adopted.values())) == [row.task_id for row in rows]
        for number, store in enumerate(opened):
            mine = {task_id for task_id, owner in columns.items() if owner == store.ownership.replica_id}
            assert mine == set(adopted[number])
            assert adopted[number] == sorted(adopted[number])


async def test_who_leaves_hands_over_at_once(postgresql: str) -> None:
    async with shared(postgresql, lease=60.0) as stays:
        changes = stays.ownership.changes()
        async with shared(postgresql, lease=60.0) as leaves:
            leaves.put([task_row(), event_row(1)])
        with anyio.fail_after(WAIT):
            while not (await anext(changes)).orphans:
                pass
        adopted = await stays.ownership.adopt(9)

        assert ids(adopted) == ["task-1"]
        assert adopted[0].events == (event_row(1),)
        assert [one.replica_id for one in await stays.ownership.replicas()] == [stays.ownership.replica_id]


async def test_what_could_not_be_adopted_for_lack_of_an_answer_is_adopted_by_the_next_call(postgresql: str) -> None:
    async with stores(postgresql, 2) as (one, other):
        with looking(postgresql) as connection:
            await other.commit([task_row()])
            me = one.ownership.replica_id
            connection.execute("UPDATE opencode_a2a_task SET replica_id = 'gone'")
            # Something that fails behind the adoption, within its transaction.
            connection.execute("ALTER TABLE opencode_a2a_task_event RENAME TO away")
            with pytest.raises(Exception, match="opencode_a2a_task_event"):
                await one.ownership.adopt(9)
            before = owners(postgresql)
            # As if the commit had come through, and its answer had not.
            connection.execute("UPDATE opencode_a2a_task SET replica_id = %s", (me,))
            connection.execute("ALTER TABLE away RENAME TO opencode_a2a_task_event")
        adopted = await one.ownership.adopt(9)

        assert (before, ids(adopted), owners(postgresql)) == ({"task-1": "gone"}, ["task-1"], {"task-1": me})


async def test_a_database_is_shared_or_one_servers_alone(postgresql: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql, "OPEN_SECONDS", 0.9)
    async with open_store(postgresql):
        with pytest.raises(StoreInUseError, match="PostgreSQL session"):
            async with shared(postgresql):
                pass
    async with shared(postgresql, name="the other") as store:
        with pytest.raises(StoreInUseError, match=f"replica {store.ownership.replica_id} the other"):
            async with open_store(postgresql):
                pass
        await store.commit([task_row()])
    async with open_store(postgresql) as alone:
        assert [one.row.task_id for one in await alone.unfinished()] == ["task-1"]


async def test_a_server_alone_takes_over_from_those_whose_leases_are_over(postgresql: str) -> None:
    async with open_store(postgresql):
        pass
    with looking(postgresql) as connection:
        connection.execute("INSERT INTO opencode_a2a_replica VALUES ('crashed', 1, 1, '')")
    async with open_store(postgresql) as alone:
        await alone.commit([task_row()])
    with looking(postgresql) as connection:
        assert connection.execute("SELECT count(*) FROM opencode_a2a_replica").fetchone() == (0,)


async def test_a_store_that_was_taken_over_writes_nothing_until_it_has_joined_again(postgresql: str) -> None:
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(shared(postgresql, lease=60.0))
        await store.commit([task_row()])
        before = store.ownership.replica_id
        with looking(postgresql) as connection:
            connection.execute("DELETE FROM opencode_a2a_replica")
        with pytest.raises(FencedError):
            await store.commit([task_row("late")])
        with anyio.fail_after(WAIT):
            await store.ownership.fenced()
        with pytest.raises(FencedError):
            await store.ownership.adopt(1)
        queued = store.submit([task_row("later")])
        store.put([event_row(1)])
        lost = store.ownership.lost
        await store.ownership.rejoin()
        assert (lost, store.ownership.lost) == (True, False)
        with pytest.raises(FencedError):
            await queued.durable()
        with pytest.raises(TaskTakenError):
            await store.commit([task_row(last_seq=1)])  # nobody's, and so not to be written without being adopted
        adopted = await store.ownership.adopt(9)
        await store.commit([task_row(last_seq=2), task_row("new")])
        with anyio.move_on_after(0.05) as never:
            await store.ownership.fenced()

        assert ids(adopted) == ["task-1"]
        assert adopted[0].events == ()
        assert store.ownership.replica_id not in (None, before)
        assert never.cancelled_caught
        assert set(owners(postgresql).items()) == {
            ("task-1", store.ownership.replica_id),
            ("new", store.ownership.replica_id),
        }


async def test_a_lease_is_renewed_while_the_writer_is_stuck(postgresql: str) -> None:
    async with stores(postgresql, 2) as (one, other):
        await one.commit([task_row()])
        with looking(postgresql) as connection, connection.transaction():
            connection.execute("LOCK TABLE opencode_a2a_task_event")
            one.put([event_row(1)])
            await anyio.sleep(3 * LEASE)
            living = len(await other.ownership.replicas())
        await one.commit([event_row(2)])

        assert living == 2
        assert await other.ownership.owner("task-1") == one.ownership.replica_id


async def test_a_renewal_notices_that_a_store_was_taken_over(postgresql: str) -> None:
    async with shared(postgresql) as store:
        with looking(postgresql) as connection:
            connection.execute("DELETE FROM opencode_a2a_replica")
        with anyio.fail_after(LEASE):
            await store.ownership.fenced()
        await store.ownership.rejoin()

        async def joined() -> bool:
            return [one.replica_id for one in await store.ownership.replicas()] == [store.ownership.replica_id]

        await until(joined)
        await anyio.sleep(2 * LEASE)
        assert await joined()


async def test_a_task_that_has_gone_on_elsewhere_is_not_overwritten_by_what_is_older(postgresql: str) -> None:
    async with stores(postgresql, 2) as (one, other):
        waiting = evolve(task_row("waits", last_seq=5), state="auth-required")
        ended = task_row("ended", last_seq=5, finished=True)
        await one.commit([waiting, ended])
        for late in (
            task_row("waits", last_seq=4, finished=True),
            task_row("ended", last_seq=4),
            task_row("ended", last_seq=6, finished=True),
        ):
            with pytest.raises(TaskTakenError):
                await other.commit([late])
        stored = [await one.task(name) for name in ("waits", "ended")]
        await one.commit([ended])  # again, as where an answer was lost
        await other.commit([task_row("waits", last_seq=6, finished=True)])

    assert [found and found.row.last_seq for found in stored] == [5, 5]
    assert [found and found.row.state for found in stored] == ["auth-required", "completed"]
