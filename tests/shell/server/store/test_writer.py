"""Queued writes while the database is away: kept, in order, until it is back, and counted."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import anyio.lowlevel
import pytest

from opencode_a2a.server.store import StoreUnavailableError, Write
from opencode_a2a.server.store.writer import GroupCommitWriter
from tests.shell.harness import DEADLINE
from tests.shell.store_cases import event_row, task_row

pytestmark = pytest.mark.anyio

FAILURES = 30


class Database:
    """Is away for a number of commits."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.written: list[Write] = []
        self.sizes: list[int] = []

    def transact(self, writes: Sequence[Write], owner: str | None) -> None:
        self.failures -= 1
        if self.failures >= 0:
            raise StoreUnavailableError("the database is away")
        self.written += writes
        self.sizes.append(len(writes))


async def test_what_is_queued_waits_for_the_database_however_long_it_is_away() -> None:
    database = Database(FAILURES)
    writer = GroupCommitWriter(database.transact, longest_delay=0.0)
    rows = [event_row(number, body=b"x" * 100) for number in range(50)]

    with anyio.fail_after(DEADLINE):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(writer.run)
            for row in rows:
                writer.put([row])
                await anyio.lowlevel.checkpoint()
            while database.failures >= 0 or writer.busy:  # noqa: ASYNC110 - a thread commits
                await anyio.sleep(0.005)
            writer.close()

    assert database.written == rows


async def test_events_of_a_commit_that_failed_are_stored_before_those_that_follow_them() -> None:
    database = Database(1)
    writer = GroupCommitWriter(database.transact, longest_delay=0.0)
    before, tried, later = event_row(1), event_row(2), event_row(3)

    with anyio.fail_after(DEADLINE):
        async with anyio.create_task_group() as tasks:
            writer.put([before])
            kept = writer.submit([task_row(last_seq=2), tried], keep_events=True)
            given_up = writer.submit([task_row("task-2"), event_row(1, task_id="task-2")])
            writer.put([later])
            tasks.start_soon(writer.run)
            for pending in (kept, given_up):
                with pytest.raises(StoreUnavailableError):
                    await pending.durable()
            await writer.commit([])
            writer.close()

    assert database.written == [before, tried, later]


async def test_what_waits_is_counted_until_it_is_durable() -> None:
    database = Database(2)
    writer = GroupCommitWriter(database.transact, longest_delay=0.0)

    with anyio.fail_after(DEADLINE):
        async with anyio.create_task_group() as tasks:
            writer.put([event_row(1, body=b"x" * 1_000)])
            first = (writer.held, writer.held_by("task-1"))
            awaited = writer.submit([task_row(), event_row(2, body=b"x" * 1_000)], keep_events=True)
            both = (writer.held, writer.held_by("task-1"))
            tasks.start_soon(writer.run)
            with pytest.raises(StoreUnavailableError):
                await awaited.durable()
            after = (writer.held, writer.held_by("task-1"))
            while writer.busy:  # noqa: ASYNC110 - a thread commits
                await anyio.sleep(0.005)
            writer.close()

    assert first == (1_500, 1_500)
    assert both == after == (3_000, 3_000)
    assert (writer.held, writer.held_by("task-1")) == (0, 0)


async def test_what_has_gathered_is_committed_in_several_transactions_in_order() -> None:
    database = Database(0)
    writer = GroupCommitWriter(database.transact, at_once=4_000)
    rows = [event_row(number, body=b"x" * 1_000) for number in range(10)]

    with anyio.fail_after(DEADLINE):
        async with anyio.create_task_group() as tasks:
            for row in rows:
                writer.put([row])
            tasks.start_soon(writer.run)
            await writer.commit([])
            writer.close()

    assert database.written == rows
    assert database.sizes == [2, 2, 2, 2, 2]
