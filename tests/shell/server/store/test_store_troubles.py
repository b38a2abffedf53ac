"""What the store says and keeps when its database is locked, refuses, is gone, or never was there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from sqlalchemy import create_engine, make_url

from opencode_a2a.server.store import (
    EventsPruned,
    Store,
    StoredTask,
    StoreError,
    StoreUnavailableError,
    StoreUrlError,
    WritesRefusedError,
    open_store,
    writer,
)
from tests.shell.store_cases import (
    WriteLock,
    event_row,
    open_and_close,
    push_row,
    sqlite_script,
    sqlite_url,
    task_row,
)
from tests.shell.store_cases import any_durable_url as any_durable_url
from tests.shell.store_cases import committed_transactions as committed_transactions
from tests.shell.store_cases import postgresql_url as postgresql_url

pytestmark = pytest.mark.anyio


async def test_a_locked_database_fails_commits_and_keeps_what_was_put(tmp_path: Path) -> None:
    path = tmp_path / "tasks.db"
    async with open_store(sqlite_url(path)) as store:
        with WriteLock(path):
            store.put((event_row(1),))
            with pytest.raises(StoreUnavailableError, match="database is locked"):
                await store.commit((task_row("lost"),))

        await store.commit((task_row(),))

        assert await store.task("task-1") == StoredTask(task_row(), (event_row(1),))
        assert await store.task("lost") is None


async def test_a_retried_write_never_overtakes_a_later_one(tmp_path: Path) -> None:
    path = tmp_path / "tasks.db"

    async def fail_to_commit(store: Store) -> None:
        with pytest.raises(StoreUnavailableError):
            await store.commit()

    async with open_store(sqlite_url(path, timeout=1)) as store:
        with WriteLock(path):
            async with anyio.create_task_group() as group:
                store.put((task_row(body=b"1"),))
                group.start_soon(fail_to_commit, store)
                # Now the first write is with the worker thread, which waits for the lock.
                await anyio.wait_all_tasks_blocked()
                store.put((task_row(body=b"2"),))
        await store.commit()

        assert await store.task("task-1") == StoredTask(task_row(body=b"2"), ())


async def test_what_cannot_be_committed_before_closing_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "CLOSING_SECONDS", 0.3)

    async def close_locked() -> None:
        async with open_store(sqlite_url(path)) as store:
            lock.__enter__()
            store.put((task_row(body=b"private"), event_row(1)))

    path = tmp_path / "tasks.db"
    lock = WriteLock(path)
    with pytest.raises(StoreError, match=r"2 queued writes could not .* before closing: .*locked") as caught:
        await close_locked()
    lock.__exit__(None, None, None)

    assert "private" not in caplog.text + str(caught.value)


@pytest.fixture
def refusing(tmp_path: Path) -> Callable[[], str]:
    """Makes the database at the returned URL refuse the task named `bad`."""
    path = tmp_path / "tasks.db"

    def refuse() -> str:
        sqlite_script(
            path,
            "CREATE TRIGGER refuse BEFORE INSERT ON opencode_a2a_task WHEN NEW.task_id = 'bad'"
            " BEGIN SELECT RAISE(ABORT, 'not this one'); END",
        )
        return sqlite_url(path, 5)

    return refuse


async def test_a_refused_row_fails_its_own_commit_and_no_other(
    tmp_path: Path, refusing: Callable[[], str], caplog: pytest.LogCaptureFixture
) -> None:
    outcomes: dict[str, str] = {}

    async def commit(store: Store, task_id: str) -> None:
        try:
            await store.commit((task_row(task_id),))
            outcomes[task_id] = "durable"
        except WritesRefusedError as fault:
            outcomes[task_id] = str(fault)

    await open_and_close(f"sqlite:///{tmp_path}/tasks.db")
    async with open_store(refusing()) as store, anyio.create_task_group() as group:
        store.put((task_row("bad"), event_row(1, task_id="bad")))
        for task_id in ("good", "bad", "fine"):
            group.start_soon(commit, store, task_id)

    assert outcomes == {
        "good": "durable",
        "bad": "the database could not commit: not this one (IntegrityError)",
        "fine": "durable",
    }
    assert "gave up 2 queued writes:" in caplog.text


async def test_a_commit_tells_that_a_write_queued_before_it_was_refused(
    tmp_path: Path, refusing: Callable[[], str]
) -> None:
    await open_and_close(f"sqlite:///{tmp_path}/tasks.db")
    async with open_store(refusing()) as store:
        store.put((task_row("bad"),))
        with pytest.raises(WritesRefusedError):
            await store.commit()

        store.put((task_row("bad"),))
        with pytest.raises(WritesRefusedError):
            await store.commit((event_row(1, task_id="bad"),))

        store.put((task_row("bad"),))
        with pytest.raises(WritesRefusedError):
            await store.commit((push_row(task_id="bad"),))


async def test_a_refused_write_stops_no_pruning(tmp_path: Path, refusing: Callable[[], str]) -> None:
    await open_and_close(f"sqlite:///{tmp_path}/tasks.db")
    async with open_store(refusing()) as store:
        await store.commit((task_row(finished=True), event_row(1)))
        store.put((task_row("bad"),))
        await store.commit((EventsPruned(2_000_000_000_000),))

        assert await store.events("task-1") == ()


async def test_text_the_database_cannot_hold_is_refused_alone(durable_url: str) -> None:
    async with open_store(durable_url) as store:
        with pytest.raises(WritesRefusedError):
            await store.commit((task_row("\ud800"),))

        await store.commit((task_row(),))
        assert await store.task("task-1") is not None


async def test_a_lost_connection_is_replaced(postgresql: str, transactions: list[None]) -> None:
    async with open_store(postgresql) as store:
        await store.commit((task_row("before"),))
        engine = create_engine(make_url(postgresql).set(drivername="postgresql+psycopg"))
        with engine.connect() as connection:
            connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        engine.dispose()
        store.put((task_row("kept"),))
        with pytest.raises(StoreUnavailableError):
            await store.commit((task_row("lost"),))

        await store.commit((task_row("after"),))

        assert [stored.row.task_id for stored in await store.unfinished()] == ["after", "before", "kept"]


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("mysql://ada:s3cret@localhost/a2a", "names 'mysql', which is not supported"),
        ("postgresql+psycopg2://ada:s3cret@localhost/a2a", "is not supported"),
        ("postgresql://ada:s3cret@localhost", "names no database"),
        ("postgresql://ada:s3cret@localhost:port/a2a", "cannot be read"),
        ("sqlite://ada:s3cret@rel.db", "names no host"),
        ("sqlite:///file:tasks.db?uri=true&key=s3cret", "file: names are not supported"),
        ("s3cret", "cannot be read"),
    ],
)
def test_an_unusable_url_is_refused_without_repeating_it(url: str, told: str) -> None:
    with pytest.raises(StoreUrlError) as caught:
        open_store(url)

    assert told in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("driver", ["postgresql", "postgresql+asyncpg", "postgresql+psycopg"])
async def test_an_unreachable_server_is_told_without_the_password(driver: str) -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(StoreUnavailableError) as caught:
        async with open_store(f"{driver}://ada:s3cret@127.0.0.1:1/a2a"):
            pass

    assert "could not open" in str(caught.value)
    assert "s3cret" not in str(caught.value)


async def test_a_path_that_is_no_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match="could not open"):
        async with open_store(f"sqlite:///{tmp_path}"):
            pass


async def test_a_relative_path_is_relative_to_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with open_store("sqlite:///data/tasks.db") as store:
        await store.commit((task_row(),))

    assert (tmp_path / "data" / "tasks.db").exists()


def test_rows_show_no_content() -> None:
    shown = repr((task_row(body=b"private"), event_row(1, body=b"private")))

    assert "private" not in shown
