"""How a database gets the tables, whoever opens it first and whatever it held before."""

from __future__ import annotations

import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import anyio
import pytest
from sqlalchemy import Connection, Engine, MetaData, create_engine, make_url

import opencode_a2a.server.store.database.migrations
from opencode_a2a.server.store import (
    EventsPruned,
    SchemaError,
    StoredTask,
    StoreUnavailableError,
    TaskQuery,
    TaskRow,
    open_store,
)
from opencode_a2a.server.store.database import migrate
from opencode_a2a.server.store.schema import METADATA, VERSION_TABLE, VERSIONS
from tests.shell.store_cases import any_durable_url as any_durable_url
from tests.shell.store_cases import (
    event_row,
    open_and_close,
    push_row,
    sqlite_rows,
    sqlite_script,
    task_row,
)
from tests.shell.store_cases import postgresql_url as postgresql_url

pytestmark = pytest.mark.anyio


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

    with pytest.raises(SchemaError, match=rf"schema version 9999, newer than .* \({VERSIONS[-1]}\)"):
        async with open_store(f"sqlite:///{path}"):
            pass


OPENED = """
import sys, anyio
from opencode_a2a.server.store import StoreInUseError, open_store

async def main():
    try:
        async with open_store(sys.argv[1]) as store:
            await store.commit()
    except StoreInUseError:
        sys.exit(7)

anyio.run(main, backend=sys.argv[2])
"""


async def test_of_those_who_open_a_new_database_at_once_each_has_it_alone(
    durable_url: str, anyio_backend: str
) -> None:
    command = [sys.executable, "-c", OPENED, durable_url, anyio_backend]
    codes: list[int] = []

    async def open_elsewhere() -> None:
        process = await anyio.run_process(command, check=False, stderr=None)
        codes.append(process.returncode)

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(open_elsewhere)

    assert set(codes) <= {0, 7}
    assert 0 in codes
    await open_and_close(durable_url)


def test_migrations_lead_to_the_tables_the_code_uses(durable_url: str) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    anyio.run(open_and_close, durable_url)
    engine = engine_of(durable_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        differences = compare_metadata(context, METADATA)
    engine.dispose()

    assert differences == []


COLUMNS = {
    "sqlite": (
        'SELECT made.name, it.name, it.type, it."notnull", it.dflt_value, it.pk'
        " FROM sqlite_master AS made JOIN pragma_table_info(made.name) AS it WHERE made.type = 'table'"
    ),
    "postgresql": (
        "SELECT table_name, column_name, data_type, character_maximum_length, is_nullable, column_default,"
        " is_identity, collation_name FROM information_schema.columns WHERE table_schema = 'public'"
    ),
}
"""The columns of all tables, whatever their order: a statement names those that it reads or writes."""

DEFINITIONS = {
    "sqlite": "SELECT name, sql FROM sqlite_master WHERE type <> 'table'",
    "postgresql": (
        "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
        " UNION ALL SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal"
        " UNION ALL SELECT proname, prosrc FROM pg_proc WHERE proname LIKE 'opencode_a2a%%'"
    ),
}
"""All that is made beside the tables."""


def described(engine: Engine) -> tuple[set[tuple[object, ...]], set[tuple[object, ...]]]:
    with engine.connect() as connection:
        name = connection.dialect.name
        columns, definitions = (
            {tuple(row) for row in connection.exec_driver_sql(sql)} for sql in (COLUMNS[name], DEFINITIONS[name])
        )
    return columns, definitions


def test_a_new_database_has_what_the_migrations_lead_to(durable_url: str) -> None:
    engine = engine_of(durable_url)
    with engine.begin() as connection:
        migrate_to(connection, "head")
    migrated, version = described(engine), version_in(engine)
    METADATA.drop_all(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DROP TABLE {VERSION_TABLE}")

    migrate.ensure_schema(engine)

    assert (described(engine), version_in(engine)) == (migrated, version)
    assert len(migrated[1]) > len(METADATA.tables)
    engine.dispose()


def test_a_new_database_is_made_without_the_library_of_migrations(tmp_path: Path) -> None:
    program = f"""
import sys
import anyio
from opencode_a2a.server.store import open_store

async def main():
    for _ in range(2):
        async with open_store("sqlite:///{tmp_path}/tasks.db") as store:
            await store.commit()

anyio.run(main)
print("alembic" in sys.modules, "sqlalchemy.dialects.postgresql" in sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert run.stdout.split() == ["False", "False"]


def engine_of(url: str) -> Engine:
    return create_engine(make_url(url.replace("postgresql:", "postgresql+psycopg:")))


def migrate_to(connection: Connection, version: str) -> None:
    """What an earlier version of the application did to the database."""
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(opencode_a2a.server.store.database.migrations.__path__[0])))
    config.set_main_option("path_separator", "newline")
    command.upgrade(config, version)


OLD_TASK: Mapping[str, object] = {
    "task_id": "done",
    "context_id": "context-1",
    "principal": "ada",
    "state": "completed",
    "finished": True,
    "created_at": 1,
    "updated_at": 10,
    "session_id": "ses_1",
    "prompt_id": None,
    "last_seq": 4,
    "snapshot": b"\x00snapshot",
    "options": b"{}",
}
OLD_RUNNING = {**OLD_TASK, "task_id": "Running", "state": "working", "finished": False, "last_seq": 1}


def fill_first_schema(url: str) -> None:
    engine = engine_of(url)
    with engine.begin() as connection:
        migrate_to(connection, "0001")
        tables = MetaData()
        tables.reflect(connection)
        inserted: dict[str, list[Mapping[str, object]]] = {
            "task": [OLD_TASK, OLD_RUNNING],
            "task_event": [
                {"task_id": task_id, "first_seq": number, "last_seq": number, "body": b"[]"}
                for task_id, number in (("done", 5), ("Running", 1), ("Running", 2))
            ],
            "binding": [{"principal": "ada", "context_id": "context-1", "session_id": "ses_1"}],
        }
        for name, rows in inserted.items():
            connection.execute(tables.tables[f"opencode_a2a_{name}"].insert(), rows)
    engine.dispose()


def old_row(values: Mapping[str, object]) -> TaskRow:
    return TaskRow(**values, message_id="")  # type: ignore[arg-type] # a row as the first schema has it


async def test_a_database_of_the_first_schema_is_upgraded_with_all_it_holds(durable_url: str) -> None:
    fill_first_schema(durable_url)
    done, running = old_row(OLD_TASK), old_row(OLD_RUNNING)

    for _ in range(2):
        async with open_store(durable_url) as store:
            assert await store.task("done") == StoredTask(done, (event_row(5, task_id="done"),))
            assert await store.unfinished() == [StoredTask(running, (event_row(2, task_id="Running"),))]
            assert await store.session_of("ada", "context-1") == "ses_1"
            # Of the same moment: the order is by code points, descending.
            assert (await store.tasks(TaskQuery(principal="ada", limit=9))).rows == (done, running)
            assert await store.count() == 2
            assert (await store.tasks(TaskQuery(principal="ada", limit=1, state="working"))).total == 1
            assert await store.started_by("ada", "context-1", "message-1") is None
            assert await store.unfinished_pushes() == ()


async def test_an_upgraded_database_takes_everything_that_is_new(durable_url: str) -> None:
    fill_first_schema(durable_url)
    new = task_row("new")

    async with open_store(durable_url) as store:
        await store.commit((new, push_row(task_id="done"), EventsPruned(11)))

        assert await store.started_by("ada", "context-1", "message-1") == StoredTask(new, ())
        assert await store.tasks_of_message("ada", "message-1", 9) == (new,)
        assert await store.push_configs("done") == (push_row(task_id="done"),)
        assert [len(await store.events(task_id)) for task_id in ("done", "Running")] == [0, 2]


async def test_a_failed_upgrade_leaves_the_database_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "tasks.db"
    fill_first_schema(f"sqlite:///{path}")
    sqlite_script(path, "CREATE TABLE opencode_a2a_push (in_the_way TEXT)")

    with pytest.raises(StoreUnavailableError, match="opencode_a2a_push already exists"):
        async with open_store(f"sqlite:///{path}"):
            pass

    assert sqlite_rows(path, f"SELECT * FROM {VERSION_TABLE}") == [("0001",)]
    columns = sqlite_rows(path, "SELECT name FROM pragma_table_info('opencode_a2a_task')")
    assert ("message_id",) not in columns


def add_old_task(connection: Connection, number: int) -> None:
    """Write a task as a server of the fifth schema does."""
    columns = (*OLD_TASK, "message_id")
    values = {**OLD_RUNNING, "task_id": f"old {number}", "message_id": ""}
    names = ", ".join(columns)
    replaced = "state = excluded.state"
    mark = "?" if connection.dialect.name == "sqlite" else "%s"
    connection.exec_driver_sql(
        f"INSERT INTO opencode_a2a_task ({names}) VALUES ({', '.join([mark] * len(columns))})"
        f" ON CONFLICT (task_id) DO UPDATE SET {replaced}",
        tuple(values[name] for name in columns),
    )


async def test_a_server_of_the_schema_before_goes_on_working_while_its_database_is_upgraded(durable_url: str) -> None:
    engine = engine_of(durable_url)
    with engine.begin() as connection:
        migrate_to(connection, "0005")
    written = 0
    upgraded = anyio.Event()

    def write_some() -> None:
        nonlocal written
        for _ in range(5):
            with engine.begin() as connection:
                written += 1
                add_old_task(connection, written)

    async def write_until_upgraded() -> None:
        while not upgraded.is_set():
            await anyio.to_thread.run_sync(write_some)
        await anyio.to_thread.run_sync(write_some)

    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            group.start_soon(write_until_upgraded)
            await open_and_close(durable_url)
            upgraded.set()
        async with open_store(durable_url) as store:
            found = await store.unfinished()
            counted = await store.count()
    engine.dispose()

    assert len(found) == counted == written >= 5
    assert {stored.row.replica_id for stored in found} == {None}


async def test_an_upgrade_does_not_wait_for_ever_for_somebody_who_reads(
    postgresql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "LOCK_SECONDS", 0.2)
    engine = engine_of(postgresql)
    with engine.begin() as connection:
        migrate_to(connection, "0005")
    with engine.begin() as reading, anyio.fail_after(30):
        reading.exec_driver_sql("SELECT count(*) FROM opencode_a2a_task")
        with pytest.raises(StoreUnavailableError, match="lock timeout"):
            await open_and_close(postgresql)
    version = version_in(engine)
    await open_and_close(postgresql)
    versions = [version, version_in(engine)]
    engine.dispose()

    assert versions == ["0005", VERSIONS[-1]]


def version_in(engine: Engine) -> str:
    with engine.connect() as connection:
        return str(connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").scalar_one())


async def test_of_servers_that_start_at_once_on_an_old_schema_one_migrates_and_all_serve(postgresql: str) -> None:
    engine = engine_of(postgresql)
    with engine.begin() as connection:
        migrate_to(connection, "0005")
    engine.dispose()
    met = 0

    async def serve() -> None:
        nonlocal met
        async with open_store(postgresql, shared=True) as store:
            while len(await store.ownership.replicas()) < 3:  # noqa: ASYNC110 - they are in the database
                await anyio.sleep(0.02)
            met += 1
            if met == 3:
                done.set()
            await done.wait()  # none leaves before the others have seen it

    done = anyio.Event()
    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(serve)

    assert met == 3


async def test_a_server_serves_on_under_a_newer_schema_and_another_of_its_version_does_not_start(
    postgresql: str,
) -> None:
    async with open_store(postgresql, shared=True) as before:
        await before.commit((task_row("a"),))
        engine = engine_of(postgresql)
        with engine.begin() as connection:  # as a migration that expands does
            connection.exec_driver_sql("ALTER TABLE opencode_a2a_task ADD COLUMN later TEXT")
            connection.exec_driver_sql("UPDATE opencode_a2a_schema SET version_num = '9999'")
        with pytest.raises(SchemaError, match="9999, newer than this version"):
            async with open_store(postgresql, shared=True):
                pass
        await before.commit((task_row("a", last_seq=1),))
        found = await before.task("a")
        with engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE opencode_a2a_task DROP COLUMN later")
        engine.dispose()

    assert found is not None
    assert found.row.last_seq == 1
