"""A PostgreSQL database with the current schema, and the servers that share it, as rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection, Engine, create_engine, insert, make_url

from opencode_a2a.server.store.database.migrate import ensure_schema
from opencode_a2a.server.store.schema import REPLICA, TASK


@pytest.fixture(name="engine")
def engine_of_postgresql(postgresql: str) -> Iterator[Engine]:
    engine = create_engine(make_url(postgresql).set(drivername="postgresql+psycopg"), pool_size=20)
    ensure_schema(engine)
    yield engine
    engine.dispose()


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    with engine.connect() as connection, connection.begin():
        yield connection


def join(engine: Engine, *replica_ids: str) -> None:
    """Servers that live."""
    with transaction(engine) as connection:
        rows = [{"replica_id": one, "expires_at": 0, "began_at": 0, "name": ""} for one in replica_ids]
        connection.execute(insert(REPLICA), rows)


def die(engine: Engine, replica_id: str) -> None:
    """A server whose lease was taken."""
    with transaction(engine) as connection:
        connection.execute(REPLICA.delete().where(REPLICA.c.replica_id == replica_id))


def work_on(engine: Engine, task_id: str, replica_id: str | None, *, finished: bool = False) -> None:
    """A task of a server."""
    row = {
        "task_id": task_id,
        "context_id": "context-1",
        "principal": "ada",
        "message_id": "m",
        "state": "completed" if finished else "working",
        "finished": finished,
        "created_at": 1,
        "updated_at": 1,
        "last_seq": 1,
        "snapshot": b"{}",
        "options": b"{}",
        "replica_id": replica_id,
    }
    with transaction(engine) as connection:
        connection.execute(TASK.delete().where(TASK.c.task_id == task_id))
        connection.execute(insert(TASK), [row])
