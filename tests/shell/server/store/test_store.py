"""What the store of tasks promises, in memory, SQLite and PostgreSQL, on both runtimes: what is written is there."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import anyio
import anyio.to_thread
import attrs
import pytest

from opencode_a2a.server.store import Binding, Store, StoredTask, StoreError, Write, open_store
from tests.shell.store_cases import any_durable_url as any_durable_url
from tests.shell.store_cases import any_url as any_url
from tests.shell.store_cases import committed_transactions as committed_transactions
from tests.shell.store_cases import event_row, push_row, sqlite_rows, task_row
from tests.shell.store_cases import postgresql_url as postgresql_url

pytestmark = pytest.mark.anyio


async def test_what_is_committed_is_read_back(url: str) -> None:
    row = task_row(last_seq=2, body='{"text": "ü\\u0000"}'.encode())
    events = (event_row(3, 5, body=b"[3, 4, 5]"), event_row(6, body=b"\x00\xff"))
    async with open_store(url) as store:
        await store.commit((row, *events))

        assert await store.task("task-1") == StoredTask(row, events)
        assert await store.task("task-2") is None


async def test_a_row_replaces_that_of_the_same_key(url: str) -> None:
    async with open_store(url) as store:
        await store.commit((task_row(), event_row(1), Binding("ada", "context-1", "ses_1")))
        changed = attrs.evolve(task_row(body=b"new"), session_id="ses_2", prompt_id=None)
        await store.commit((changed, event_row(1, 4, body=b"new"), Binding("ada", "context-1", "ses_2")))

        assert await store.task("task-1") == StoredTask(changed, (event_row(1, 4, body=b"new"),))
        assert await store.session_of("ada", "context-1") == "ses_2"


async def test_the_last_of_several_writes_in_one_commit_counts(url: str) -> None:
    async with open_store(url) as store:
        await store.commit(
            (task_row(body=b"1"), event_row(1, body=b"1"), task_row(body=b"2"), event_row(1, body=b"2"))
        )

        assert await store.task("task-1") == StoredTask(task_row(body=b"2"), (event_row(1, body=b"2"),))


async def test_only_events_beyond_the_snapshot_are_read_in_order(url: str) -> None:
    async with open_store(url) as store:
        await store.commit([event_row(number) for number in (11, 2, 1, 10, 3)])
        await store.commit((task_row(last_seq=2),))

        stored = await store.task("task-1")

    assert stored is not None
    assert [event.first_seq for event in stored.events] == [3, 10, 11]


async def test_queued_writes_are_seen_by_every_read_after_them(url: str) -> None:
    async with open_store(url) as store:
        for number in range(1, 20):
            store.put((event_row(number),))
        store.put((task_row(), Binding("ada", "context-1", "ses_1")))

        stored = await store.task("task-1")
        assert stored is not None
        assert len(stored.events) == 19
        store.put((Binding("ada", "context-2", "ses_2"),))
        assert await store.session_of("ada", "context-2") == "ses_2"
        store.put((Binding("bob", "context-2", "ses_3"),))
        assert await store.owner_of("ses_3") == "bob"


async def test_a_list_changed_after_put_changes_nothing(url: str) -> None:
    writes: list[Write] = [task_row()]
    async with open_store(url) as store:
        store.put(writes)
        writes.clear()

        assert await store.task("task-1") is not None


async def test_unfinished_tasks_come_oldest_first_with_their_events(url: str) -> None:
    old = attrs.evolve(task_row("b", last_seq=1), created_at=1)
    new = attrs.evolve(task_row("a", last_seq=1), created_at=2)
    events = (event_row(1, task_id="b"), event_row(2, task_id="b"))
    async with open_store(url) as store:
        await store.commit((new, old, *events, task_row("c", finished=True), event_row(1, task_id="c")))

        assert await store.unfinished() == [StoredTask(old, events[1:]), StoredTask(new, ())]


async def test_bindings_are_kept_apart_by_principal_and_context(url: str) -> None:
    async with open_store(url) as store:
        await store.commit((Binding("ada", "c", "ses_1"), Binding("bob", "c", "ses_2")))

        assert [await store.session_of(name, "c") for name in ("ada", "bob", "eve")] == ["ses_1", "ses_2", None]
        assert [await store.owner_of(session) for session in ("ses_1", "ses_2", "ses_3")] == ["ada", "bob", None]


async def test_more_rows_than_one_statement_takes_are_all_written(durable_url: str) -> None:
    async with open_store(durable_url) as store:
        await store.commit([task_row(f"task-{number}") for number in range(203)])

        assert len(await store.unfinished()) == 203


async def test_many_concurrent_commits_share_few_transactions(durable_url: str, transactions: list[None]) -> None:
    async with open_store(durable_url) as store:
        transactions.clear()
        async with anyio.create_task_group() as group:
            for number in range(200):
                group.start_soon(store.commit, (task_row(f"task-{number}"), event_row(1, task_id=f"task-{number}")))

        assert 1 <= len(transactions) <= 20
        assert len(await store.unfinished()) == 200


async def test_a_commit_makes_what_was_put_before_it_durable(tmp_path: Path) -> None:
    path = tmp_path / "tasks.db"
    async with open_store(f"sqlite:///{path}") as store:
        store.put((task_row(), event_row(1)))
        await store.commit()

        assert sqlite_rows(path, "SELECT first_seq FROM opencode_a2a_task_event") == [(1,)]


async def test_everything_survives_closing_and_opening_again(durable_url: str) -> None:
    stored = StoredTask(task_row(last_seq=1), (event_row(2, 3),))
    async with open_store(durable_url) as store:
        store.put((stored.row, *stored.events, push_row(), Binding("ada", "context-1", "ses_1")))

    async with open_store(durable_url) as store:
        assert await store.unfinished() == [stored]
        assert await store.push_configs("task-1") == (push_row(),)
        assert await store.session_of("ada", "context-1") == "ses_1"


async def test_closing_while_cancelled_still_commits_what_was_put(durable_url: str) -> None:
    with anyio.CancelScope() as scope:
        async with open_store(durable_url) as store:
            store.put((task_row(),))
            scope.cancel()
            await anyio.sleep_forever()

    async with open_store(durable_url) as store:
        assert await store.task("task-1") is not None


async def test_an_error_inside_comes_out_as_it_is_after_the_writes_are_committed(durable_url: str) -> None:
    async def fail(store: Store) -> None:
        async with store:
            store.put((task_row(),))
            raise LookupError("the caller's own")

    with pytest.raises(LookupError):
        await fail(open_store(durable_url))

    async with open_store(durable_url) as store:
        assert await store.task("task-1") is not None


async def test_a_cancelled_commit_leaves_its_writes_queued(durable_url: str) -> None:
    async with open_store(durable_url) as store:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await store.commit((task_row(),))

        assert scope.cancelled_caught
        assert await store.task("task-1") is not None


async def test_a_closed_store_refuses_writes_and_reads(durable_url: str) -> None:
    store = open_store(durable_url)
    async with store:
        pass

    with pytest.raises(StoreError, match="not open"):
        store.put((task_row(),))
    with pytest.raises(StoreError, match="not open"):
        await store.task("task-1")


KILLED = """
import sys, anyio
from opencode_a2a.server.store import Binding, open_store

async def main():
    async with open_store(sys.argv[1]) as store:
        for number in range(100_000):
            await store.commit((Binding("ada", str(number), "ses_1"),))
            print(number, flush=True)

anyio.run(main, backend=sys.argv[2])
"""


def kill_after_lines(command: list[str], count: int) -> list[str]:
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            return [process.stdout.readline() for _ in range(count)]
        finally:
            process.kill()


async def test_what_was_committed_survives_a_killed_process(durable_url: str, anyio_backend: str) -> None:
    command = [sys.executable, "-c", KILLED, durable_url, anyio_backend]
    told = await anyio.to_thread.run_sync(kill_after_lines, command, 20)

    async with open_store(durable_url) as store:
        assert [await store.session_of("ada", str(number)) for number in range(20)] == ["ses_1"] * 20
    assert told[-1] == "19\n"


async def test_files_and_new_folders_are_their_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "tasks.db"
    before = os.umask(0o002)
    try:
        async with open_store(f"sqlite:///{path}") as store:
            await store.commit((task_row(),))
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    finally:
        os.umask(before)

    assert set(modes) == {f"tasks.db{ending}" for ending in ("", "-wal", "-shm", ".lock")}
    assert set(modes.values()) == {0o600}
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in (path.parent, path.parent.parent)] == [0o700, 0o700]
