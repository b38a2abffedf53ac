"""Keeps a PostgreSQL database for one server: an advisory lock of the writer's session.

The database gives it up when the session ends, however it ends.
"""

from __future__ import annotations

import time
from typing import Final

from sqlalchemy import Connection

from opencode_a2a.server.store.rows import StoreInUseError

# Any number will do, as long as every process takes the same one, and migrations take another.
_KEY: Final = 0x6F70656E63_A2B
HOLDER: Final = (
    "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1"
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
        if time.monotonic() >= deadline:
            raise StoreInUseError(
                f"the database is in use by another opencode-a2a (PostgreSQL session {holder or 'unknown'});"
                " stop that one, or give this one a database of its own"
            )
        time.sleep(0.1)
