"""What one store commits, the others on its database learn: once, in order, after the commit, also after a cut."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import anyio.to_thread
import psycopg
import pytest

from opencode_a2a.server.store import EventsPruned, SharedOptions, open_store
from opencode_a2a.server.store.shared.commands import CHANNEL as COMMANDS
from opencode_a2a.server.store.shared.replica_statements import CHANNEL
from opencode_a2a.server.store.shared.shared_owner import SharedOwner
from sansio.a2a.replicas.changes import EVERYTHING, Changes, parse_changes
from tests.shell.server.store.shared.cases import WAIT, cut, ids, looking, shared, stores, until
from tests.shell.store_cases import event_row, push_row, task_row
from tests.shell.store_cases import postgresql_url as postgresql_url

pytestmark = pytest.mark.anyio


@contextmanager
def listening(url: str) -> Iterator[psycopg.Connection[Any]]:
    with looking(url) as connection:
        connection.execute(f"LISTEN {CHANNEL}")
        yield connection


async def notified(connection: psycopg.Connection[Any], last: str) -> list[Changes]:
    """All that was notified, one item for each notification, up to the one that names a task."""

    def receive() -> list[Changes]:
        found: list[Changes] = []
        for one in connection.notifies(timeout=WAIT):
            found.append(parse_changes(one.payload)[1])
            if last in found[-1].task_ids:
                return found
        raise AssertionError(found)

    return await anyio.to_thread.run_sync(receive)


async def following(changes: AsyncIterator[Changes], last: str) -> list[str]:
    """The ids of changed tasks, in order, up to one."""
    found: list[str] = []
    with anyio.fail_after(WAIT):
        while last not in found:
            found += (await anext(changes)).task_ids
    return found


async def test_each_batch_that_writes_tasks_notifies_once_and_no_other_does(postgresql: str) -> None:
    async with shared(postgresql, lease=60.0) as store:
        with listening(postgresql) as connection:
            await store.commit([task_row("a"), event_row(1, task_id="b"), event_row(1, task_id="a")])
            await store.commit([push_row(task_id="c")])
            await store.commit()
            await store.commit([EventsPruned(5)])
            async with anyio.create_task_group() as group:
                for number in range(20):
                    group.start_soon(store.commit, [task_row(f"task-{number}")])
            await store.commit([task_row("last")])
            found = await notified(connection, "last")

    batches = found[1:-1]
    assert found[0] == Changes(("a", "b"))
    assert sorted(task_id for one in batches for task_id in one.task_ids) == sorted(f"task-{n}" for n in range(20))
    assert len(batches) < 20  # they were committed in groups


async def test_another_store_learns_of_changes_in_order_and_sees_them(postgresql: str) -> None:
    async with stores(postgresql, 2, lease=60.0) as (one, other):
        changes = other.ownership.changes()
        with anyio.fail_after(WAIT):
            assert await anext(changes) == EVERYTHING
        found: list[str] = []
        for number in range(10):
            await one.commit([task_row(f"task-{number}")])
            found += await following(changes, f"task-{number}")
            assert await other.task(f"task-{number}") is not None
        await other.commit([task_row("own")])
        await one.commit([task_row("last")])
        found += await following(changes, "last")

    assert found == [*(f"task-{number}" for number in range(10)), "last"]


async def test_a_batch_that_is_undone_notifies_of_nothing(postgresql: str) -> None:
    async with shared(postgresql, lease=60.0) as store:
        with listening(postgresql) as connection:
            with pytest.raises(Exception, match="could not commit"):
                await store.commit([task_row("\ud800"), event_row(1, task_id="undone")])
            await store.commit([task_row("last")])

            assert await notified(connection, "last") == [Changes(("last",))]


async def test_many_tasks_at_once_are_notified_of_as_everything(postgresql: str) -> None:
    async with stores(postgresql, 2, lease=60.0) as (one, other):
        changes = other.ownership.changes()
        with anyio.fail_after(WAIT):
            await anext(changes)
            await one.commit([event_row(1, task_id=f"{number:0200}") for number in range(100)])
            assert await anext(changes) == EVERYTHING


async def test_after_a_cut_everything_counts_as_changed_and_what_follows_arrives(
    postgresql: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with stores(postgresql, 2, lease=60.0) as (one, other):
        changes = other.ownership.changes()
        with anyio.fail_after(WAIT):
            await anext(changes)
        for number in range(3):
            assert cut(postgresql)

            async def writes(number: int = number) -> bool:
                try:
                    await one.commit([task_row(f"task-{number}")])
                except Exception:
                    return False
                return True

            await until(writes)
            with anyio.fail_after(WAIT):
                while not (await anext(changes)).everything:
                    pass
            await one.commit([task_row(f"later-{number}")])
            assert (await following(changes, f"later-{number}"))[-1] == f"later-{number}"
        ends = [await other.ownership.owner(f"later-{number}") for number in range(3)]

    assert len({*ends, None}) == 2
    assert "no notifications of other servers" in caplog.text
    assert "notifications of other servers arrive again" in caplog.text


async def test_a_database_that_cannot_be_listened_to_stops_nothing(postgresql: str) -> None:
    options = SharedOptions(lease=60.0, listen_url="postgresql://ada:s3cret@127.0.0.1:1/nowhere")
    async with open_store(postgresql, shared=True, options=options) as store:
        await store.commit([task_row()])
        assert ids(await store.unfinished()) == ["task-1"]


async def test_notifications_that_nobody_reads_are_one(postgresql: str) -> None:
    async with stores(postgresql, 2, lease=60.0) as (one, other):
        changes = other.ownership.changes()
        with anyio.fail_after(WAIT):
            await anext(changes)
        for number in range(30):
            await one.commit([task_row(f"task-{number}")])
        await one.commit([task_row("last")])
        await anyio.sleep(0.5)
        with anyio.fail_after(WAIT):
            found = await anext(changes)

    assert found.task_ids == (*(f"task-{number}" for number in range(30)), "last")


async def test_other_channels_have_subscribers(postgresql: str) -> None:
    found: list[object] = []
    async with shared(postgresql, lease=60.0) as store:
        assert isinstance(store.ownership, SharedOwner)
        store.ownership.subscribe(COMMANDS, found.append)
        with anyio.fail_after(WAIT):
            await anext(store.ownership.changes())
        await store.ownership.transact(
            lambda connection, replica_id: connection.exec_driver_sql(
                "SELECT pg_notify(%s, %s)", (COMMANDS, replica_id)
            )
        )

        async def arrived() -> bool:
            return len(found) == 2

        await until(arrived)
        assert found == [None, [store.ownership.replica_id]]
