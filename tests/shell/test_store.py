"""What the store of tasks promises, in memory, SQLite and PostgreSQL, on both runtimes.

PostgreSQL takes part where OPENCODE_A2A_TEST_POSTGRESQL names a database whose tables may be dropped.
"""

import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import anyio.to_thread
import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, create_engine, event, make_url

from opencode_a2a.store import (
    Binding,
    EventRow,
    SchemaError,
    Store,
    StoredTask,
    StoreError,
    StoreUnavailable,
    StoreUrlError,
    TaskRow,
    Write,
    WritesRefused,
    open_store,
)
from opencode_a2a.store.schema import METADATA, VERSION_TABLE, VERSIONS

pytestmark = pytest.mark.anyio

POSTGRESQL = "OPENCODE_A2A_TEST_POSTGRESQL"
RUNTIMES = ["asyncio", "trio"]


@pytest.fixture(params=RUNTIMES)
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def postgresql() -> str:
    url = os.environ.get(POSTGRESQL)
    if not url:
        pytest.skip(f"{POSTGRESQL} names no database")
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    METADATA.drop_all(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DROP TABLE IF EXISTS {VERSION_TABLE}")
    engine.dispose()
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def durable_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/tasks.db"
    return str(request.getfixturevalue("postgresql"))


@pytest.fixture(params=["memory", "sqlite memory", "durable sqlite", "durable postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    match request.param:
        case "durable sqlite":
            return f"sqlite:///{tmp_path}/tasks.db"
        case "durable postgresql":
            return str(request.getfixturevalue("postgresql"))
        case "sqlite memory":
            return "sqlite:///:memory:"
    return "memory"


@pytest.fixture
def transactions() -> Iterator[list[None]]:
    """Grows by one with each transaction that any engine commits."""
    committed: list[None] = []

    def count(_connection: object) -> None:
        committed.append(None)

    event.listen(Engine, "commit", count)
    yield committed
    event.remove(Engine, "commit", count)


def task_row(task_id: str = "task-1", *, last_seq: int = 0, finished: bool = False, body: bytes = b"{}") -> TaskRow:
    return TaskRow(
        task_id=task_id,
        context_id="context-1",
        principal="ada",
        state="completed" if finished else "working",
        finished=finished,
        created_at=1_700_000_000_000,
        updated_at=1_700_000_000_000 + last_seq,
        session_id=None,
        prompt_id="msg_1",
        last_seq=last_seq,
        snapshot=body,
        options=b'{"historyLength": 3}',
    )


def event_row(first: int, last: int | None = None, *, task_id: str = "task-1", body: bytes = b"[]") -> EventRow:
    return EventRow(task_id=task_id, first_seq=first, last_seq=first if last is None else last, body=body)


def sqlite_url(path: Path, timeout: float = 0.01) -> str:
    return f"sqlite:///{path}?timeout={timeout}"


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


async def test_a_finished_task_keeps_no_events_its_snapshot_contains(tmp_path: Path) -> None:
    path = tmp_path / "tasks.db"
    async with open_store(f"sqlite:///{path}") as store:
        await store.commit((task_row(), event_row(1), event_row(2), event_row(1, task_id="other")))
        await store.commit((event_row(3), task_row(last_seq=3, finished=True), event_row(4)))
        assert await store.task("task-1") == StoredTask(task_row(last_seq=3, finished=True), (event_row(4),))

    kept = sqlite_rows(path, "SELECT task_id, first_seq FROM opencode_a2a_task_event ORDER BY 1, 2")
    assert kept == [("other", 1), ("task-1", 4)]


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
        store.put((stored.row, *stored.events, Binding("ada", "context-1", "ses_1")))

    async with open_store(durable_url) as store:
        assert await store.unfinished() == [stored]
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
from opencode_a2a.store import Binding, open_store

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

    assert modes == {"tasks.db": 0o600, "tasks.db-wal": 0o600, "tasks.db-shm": 0o600}
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in (path.parent, path.parent.parent)] == [0o700, 0o700]


async def test_the_database_of_the_predecessor_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "opencode-a2a.db"
    sqlite_script(
        path,
        "CREATE TABLE tasks (id TEXT PRIMARY KEY, status TEXT); INSERT INTO tasks VALUES ('old', 'completed');"
        "CREATE TABLE alembic_version (version_num TEXT); INSERT INTO alembic_version VALUES ('theirs');",
    )
    path.chmod(0o644)

    async with open_store(f"sqlite+aiosqlite:///{path}") as store:
        await store.commit((task_row(),))

    assert sqlite_rows(path, "SELECT * FROM tasks") == [("old", "completed")]
    assert sqlite_rows(path, "SELECT * FROM alembic_version") == [("theirs",)]
    assert sqlite_rows(path, f"SELECT * FROM {VERSION_TABLE}") == [(VERSIONS[-1],)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tasks.db"
    async with open_store(f"sqlite:///{path}"):
        pass
    sqlite_script(path, f"UPDATE {VERSION_TABLE} SET version_num = '9999'")

    with pytest.raises(SchemaError, match=r"schema version 9999, newer than .* \(0001\)"):
        async with open_store(f"sqlite:///{path}"):
            pass


OPENED = """
import sys, anyio
from opencode_a2a.store import open_store

async def main():
    async with open_store(sys.argv[1]) as store:
        await store.commit()

anyio.run(main, backend=sys.argv[2])
"""


async def test_many_may_open_a_new_database_at_once(durable_url: str, anyio_backend: str) -> None:
    command = [sys.executable, "-c", OPENED, durable_url, anyio_backend]
    codes: list[int] = []

    async def open_elsewhere() -> None:
        process = await anyio.run_process(command, check=False, stderr=None)
        codes.append(process.returncode)

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(open_elsewhere)
            group.start_soon(open_and_close, durable_url)

    assert codes == [0, 0, 0]


async def open_and_close(url: str) -> None:
    async with open_store(url) as store:
        await store.commit((Binding("ada", "context-1", "ses_1"),))


def test_migrations_lead_to_the_tables_the_code_uses(durable_url: str) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    anyio.run(open_and_close, durable_url)
    engine = create_engine(make_url(durable_url.replace("postgresql:", "postgresql+psycopg:")))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        differences = compare_metadata(context, METADATA)
    engine.dispose()

    assert differences == []


async def test_a_locked_database_fails_commits_and_keeps_what_was_put(tmp_path: Path) -> None:
    path = tmp_path / "tasks.db"
    async with open_store(sqlite_url(path)) as store:
        with WriteLock(path):
            store.put((event_row(1),))
            with pytest.raises(StoreUnavailable, match="database is locked"):
                await store.commit((task_row("lost"),))

        await store.commit((task_row(),))

        assert await store.task("task-1") == StoredTask(task_row(), (event_row(1),))
        assert await store.task("lost") is None


async def test_a_retried_write_never_overtakes_a_later_one(tmp_path: Path) -> None:
    path = tmp_path / "tasks.db"

    async def fail_to_commit(store: Store) -> None:
        with pytest.raises(StoreUnavailable):
            await store.commit()

    async with open_store(sqlite_url(path, timeout=0.3)) as store:
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
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def close_locked() -> None:
        async with open_store(sqlite_url(path)) as store:
            lock.__enter__()
            store.put((task_row(body=b"private"), event_row(1)))

    path = tmp_path / "tasks.db"
    lock = WriteLock(path)
    with pytest.raises(StoreError, match=r"2 queued write\(s\)"):
        await close_locked()
    lock.__exit__(None, None, None)

    assert "gave up 2 queued write(s) after 3 attempt(s)" in caplog.text
    assert "private" not in caplog.text


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
        except WritesRefused as fault:
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
    assert "gave up 2 queued write(s) after 1 attempt(s)" in caplog.text


async def test_a_commit_tells_that_a_write_queued_before_it_was_refused(
    tmp_path: Path, refusing: Callable[[], str]
) -> None:
    await open_and_close(f"sqlite:///{tmp_path}/tasks.db")
    async with open_store(refusing()) as store:
        store.put((task_row("bad"),))
        with pytest.raises(WritesRefused):
            await store.commit()

        store.put((task_row("bad"),))
        with pytest.raises(WritesRefused):
            await store.commit((event_row(1, task_id="bad"),))


async def test_text_the_database_cannot_hold_is_refused_alone(durable_url: str) -> None:
    async with open_store(durable_url) as store:
        with pytest.raises(WritesRefused):
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
        with pytest.raises(StoreUnavailable):
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
    with pytest.raises(StoreUnavailable) as caught:
        async with open_store(f"{driver}://ada:s3cret@127.0.0.1:1/a2a"):
            pass

    assert "could not open" in str(caught.value)
    assert "s3cret" not in str(caught.value)


async def test_a_path_that_is_no_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="could not open"):
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


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
task_ids = st.sampled_from(["a", "b", "c"])
sequence_numbers = st.integers(0, 6)
task_rows = st.builds(
    TaskRow,
    task_id=task_ids,
    context_id=texts,
    principal=texts,
    state=texts,
    finished=st.booleans(),
    created_at=st.integers(-(2**63), 2**63 - 1),
    updated_at=st.integers(0, 2**45),
    session_id=st.none() | texts,
    prompt_id=st.none() | texts,
    last_seq=sequence_numbers,
    snapshot=st.binary(max_size=9),
    options=st.binary(max_size=9),
)
event_rows = st.builds(
    EventRow,
    task_id=task_ids,
    first_seq=sequence_numbers,
    last_seq=sequence_numbers,
    body=st.binary(max_size=9),
)
bindings = st.builds(Binding, st.sampled_from(["ada", "bob", "ü\0"]), st.sampled_from(["x", "y"]), texts)
calls = st.lists(
    st.tuples(st.sampled_from(["put", "commit", "read"]), st.lists(task_rows | event_rows | bindings, max_size=6)),
    max_size=8,
)


class Model:
    """The promise in a few lines: dicts, folded one write at a time. A snapshot never goes back."""

    def __init__(self) -> None:
        self.rows: dict[str, TaskRow] = {}
        self.events: dict[tuple[str, int], EventRow] = {}
        self.sessions: dict[tuple[str, str], str] = {}

    def forward(self, write: Write) -> Write:
        """The write as a caller who keeps the rules would give it."""
        before = self.rows.get(write.task_id) if isinstance(write, TaskRow) else None
        if isinstance(write, TaskRow) and before is not None:
            return attrs.evolve(write, last_seq=max(write.last_seq, before.last_seq))
        return write

    def fold(self, write: Write) -> None:
        match write:
            case TaskRow():
                self.rows[write.task_id] = write
            case EventRow():
                self.events[write.task_id, write.first_seq] = write
            case Binding():
                self.sessions[write.principal, write.context_id] = write.session_id

    def task(self, task_id: str) -> StoredTask | None:
        row = self.rows.get(task_id)
        if row is None:
            return None
        events = (event for key, event in sorted(self.events.items(), key=lambda item: item[0]) if key[0] == task_id)
        return StoredTask(row, tuple(event for event in events if event.last_seq > row.last_seq))


async def assert_reads_as(store: Store, model: Model) -> None:
    tasks = [model.task(task_id) for task_id in "abc"]
    assert [await store.task(task_id) for task_id in "abc"] == tasks
    unfinished = [stored for stored in tasks if stored is not None and not stored.row.finished]
    unfinished.sort(key=lambda stored: (stored.row.created_at, stored.row.task_id))
    assert await store.unfinished() == unfinished
    for (principal, context_id), session_id in model.sessions.items():
        assert await store.session_of(principal, context_id) == session_id
        assert (await store.owner_of(session_id), session_id) in {
            (owner, bound) for (owner, _), bound in model.sessions.items()
        }


async def assert_reads_as_written(url: str, sequence: list[tuple[str, list[Write]]], survives: bool) -> None:
    model = Model()
    async with open_store(url) as store:
        for call, writes in sequence:
            kept = []
            for write in writes:
                kept.append(model.forward(write))
                model.fold(kept[-1])
            if call == "commit":
                await store.commit(kept)
            else:
                store.put(kept)
            if call == "read":
                await assert_reads_as(store, model)
        await assert_reads_as(store, model)
    if survives:
        async with open_store(url) as store:
            await assert_reads_as(store, model)


@pytest.mark.parametrize("runtime", RUNTIMES)
@given(sequence=calls)
def test_any_sequence_of_writes_reads_as_folded_one_by_one(
    runtime: str, sequence: list[tuple[str, list[Write]]]
) -> None:
    anyio.run(assert_reads_as_written, "memory", sequence, False, backend=runtime)
    with tempfile.TemporaryDirectory() as folder:
        anyio.run(assert_reads_as_written, f"sqlite:///{folder}/tasks.db", sequence, True, backend=runtime)


class WriteLock:
    """Another connection that holds the write lock of a database file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        self._connection = sqlite3.connect(self._path, isolation_level=None)
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, *_: object) -> None:
        self._connection.execute("ROLLBACK")
        self._connection.close()


def sqlite_rows(path: Path, query: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def sqlite_script(path: Path, script: str) -> None:
    connection = sqlite3.connect(path)
    try:
        connection.executescript(script)
    finally:
        connection.close()
