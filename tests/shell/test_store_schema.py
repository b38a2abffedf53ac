"""How a database gets the tables, whoever opens it first and whatever it held before."""

import stat
import sys
from pathlib import Path

import anyio
import pytest
from sqlalchemy import create_engine, make_url

from opencode_a2a.store import SchemaError, open_store
from opencode_a2a.store.schema import METADATA, VERSION_TABLE, VERSIONS
from tests.shell.store_cases import any_durable_url as any_durable_url
from tests.shell.store_cases import open_and_close, sqlite_rows, sqlite_script, task_row
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
