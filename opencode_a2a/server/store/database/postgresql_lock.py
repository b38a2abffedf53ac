"""Keeps a PostgreSQL database for one server, or for those that share it: never for both.

A server that has it for itself has an advisory lock of the writer's session, which the database gives up when the
session ends, however it ends. Those that share it need no session: each has a row, added while nobody has the lock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from sqlalchemy import Connection, Engine

from opencode_a2a.server.store.rows import StoreInUseError
from opencode_a2a.server.store.shared import replica_statements

# Any number will do, as long as every process takes the same one, and migrations take another.
_KEY: Final = 0x6F70656E63_A2B
HOLDER: Final = (
    "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND mode = 'ExclusiveLock'"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    f" AND classid = {_KEY >> 32} AND objid = {_KEY & 0xFFFFFFFF}"
)
"""The query for the process of the session that has the lock."""


def hold_postgresql(connection: Connection, patience: float = 0.0) -> None:
    """Blocks until this session has the lock, for `patience` seconds: a session that was cut may take long to end.

    StoreInUseError names the session that has it.
    """
    deadline = time.monotonic() + patience
    while True:
        with connection.begin():
            if connection.exec_driver_sql(f"SELECT pg_try_advisory_lock({_KEY})").scalar_one():
                return
            holder = connection.exec_driver_sql(HOLDER).scalars().first()
        _wait(deadline, f"PostgreSQL session {holder or 'unknown'}")


def exclude_replicas(connection: Connection, patience: float = 0.0) -> None:
    """Make sure that no servers share the database, whose lock this session has. Blocks for `patience` seconds.

    Those whose lease is over are taken over. StoreInUseError names another.
    """
    deadline = time.monotonic() + patience
    while True:
        with connection.begin():
            replica_statements.take_over(connection, "")
            living = replica_statements.living(connection)
        if not living:
            return
        _wait(deadline, f"replica {living[0].replica_id} {living[0].name}".rstrip())


def join_postgresql(engine: Engine, join: Callable[[Connection], None], patience: float = 0.0) -> None:
    """Call `join` in a transaction in which no server has the database for itself. Blocks for `patience` seconds.

    StoreInUseError names the session of one that has.
    """
    deadline = time.monotonic() + patience
    while True:
        with engine.connect() as connection, connection.begin():
            # A process that stops now is cut off: nobody could have the database for itself.
            connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 10000")
            if connection.exec_driver_sql(f"SELECT pg_try_advisory_xact_lock_shared({_KEY})").scalar_one():
                join(connection)
                return
            holder = connection.exec_driver_sql(HOLDER).scalars().first()
        _wait(deadline, f"PostgreSQL session {holder or 'unknown'}")


def _wait(deadline: float, holder: str) -> None:
    """Wait a moment before another try. Raises StoreInUseError after the deadline."""
    if time.monotonic() >= deadline:
        raise StoreInUseError(
            f"the database is in use by another opencode-a2a ({holder});"
            " stop that one, or give this one a database of its own"
        )
    time.sleep(0.1)
