"""What the store's tests share: the databases they run against, rows to put there, a look into SQLite files.

The tests of PostgreSQL have a server of their own, unless TEST_POSTGRESQL names a database whose tables
may be dropped.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve
from sqlalchemy import Engine, create_engine, event, make_url

from opencode_a2a.server.store import (
    Binding,
    EventRow,
    PushRow,
    Store,
    TaskQuery,
    TaskRow,
    TaskRows,
    open_store,
)
from opencode_a2a.server.store.schema import METADATA, VERSION_TABLE
from tests.shell.earlier_databases import drop_earlier_tables


def empty_postgresql(url: str) -> None:
    """Leaves a database as if no store had ever been opened there."""
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    METADATA.drop_all(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DROP TABLE IF EXISTS {VERSION_TABLE}")
        drop_earlier_tables(connection)
    engine.dispose()


@pytest.fixture(name="postgresql")
def postgresql_url(postgresql_server: str) -> str:
    """An empty database of the server that this run has started, or of the one that the environment names."""
    empty_postgresql(postgresql_server)
    return postgresql_server


@pytest.fixture(name="durable_url", params=["sqlite", "postgresql"])
def any_durable_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/tasks.db"
    return str(request.getfixturevalue("postgresql"))


@pytest.fixture(name="url", params=["memory", "sqlite memory", "durable sqlite", "durable postgresql"])
def any_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    match request.param:
        case "durable sqlite":
            return f"sqlite:///{tmp_path}/tasks.db"
        case "durable postgresql":
            return str(request.getfixturevalue("postgresql"))
        case "sqlite memory":
            return "sqlite:///:memory:"
    return "memory"


@pytest.fixture(name="transactions")
def committed_transactions() -> Iterator[list[None]]:
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
        message_id="message-1",
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


def push_row(
    config_id: str = "config-1", *, task_id: str = "task-1", cursor: int = 0, finished: bool = False
) -> PushRow:
    return PushRow(
        task_id=task_id,
        config_id=config_id,
        form="v1",
        created_at=1_700_000_000_000,
        cursor=cursor,
        finished=finished,
        body=b'{"token": "private"}',
    )


async def paged(store: Store, query: TaskQuery) -> TaskRows:
    """All pages as one, from the first to the one that is not full; each counts the same."""
    page = await store.tasks(query)
    rows = list(page.rows)
    while len(page.rows) == query.limit:
        total = page.total
        page = await store.tasks(evolve(query, after=(rows[-1].updated_at, rows[-1].task_id)))
        assert page.total == total
        rows += page.rows
    return TaskRows(tuple(rows), page.total)


def sqlite_url(path: Path, timeout: float = 0.01) -> str:
    return f"sqlite:///{path}?timeout={timeout}"


async def open_and_close(url: str) -> None:
    async with open_store(url) as store:
        await store.commit((Binding("ada", "context-1", "ses_1"),))


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
