"""Brings a database's schema to the current version, however many processes try at once.

It knows alembic, and imports it only where there is something to migrate: most opens find the schema as it
should be, and a new database gets it at once.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, Text, column, inspect, select, table

from opencode_a2a.server.store.database.engine import unbound
from opencode_a2a.server.store.rows import SchemaError
from opencode_a2a.server.store.schema import METADATA, VERSION_TABLE, VERSIONS, create_tables
from opencode_a2a.server.store.task_counts import create_triggers, fold_sessions

# Any number will do, as long as every process takes the same one.
_POSTGRESQL_LOCK: Final = 0x6F70656E63_A2A

LOCK_SECONDS: float = 5.0
_STOPPED_MS: Final = 60_000  # between two statements: the rows of an import are made there, some hundred at once

# alembic keeps the migration that runs in module-level state.
_ALEMBIC: Final = threading.Lock()


def ensure_schema(engine: Engine) -> None:
    """Migrates if need be, in one transaction; SchemaError if the database is ahead of this version.

    Migrations only add, so a server of an earlier version can go on working on the database meanwhile and after. It
    cannot be started there again.
    """
    with engine.connect() as connection:
        behind = _version(connection) != VERSIONS[-1]
    if not (behind or engine.dialect.name == "postgresql"):
        return
    with engine.connect().execution_options(sqlite_begin="BEGIN IMMEDIATE") as connection, connection.begin():
        lock_schema(connection)
        if _version(connection) != VERSIONS[-1]:
            _bound_waiting(connection)
            if _is_new(connection):
                create_tables(connection)
                create_triggers(connection)
            else:
                _upgrade(connection)
        if connection.dialect.name == "postgresql":
            fold_sessions(connection)


def lock_schema(connection: Connection) -> None:
    """Keep every other process from migrating or importing, to the end of the transaction.

    SQLite needs no more than the transaction, begun as IMMEDIATE. PostgreSQL cuts off a process that stops meanwhile.
    """
    unbound(connection)
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SET LOCAL idle_in_transaction_session_timeout = {_STOPPED_MS}")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_POSTGRESQL_LOCK})")


def _bound_waiting(connection: Connection) -> None:
    """Give up where a table stays locked, by a backup for example: whoever uses it meanwhile waits behind this."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {int(LOCK_SECONDS * 1000)}")


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    version = select(column("version_num", Text)).select_from(table(VERSION_TABLE))
    found = connection.execute(version).scalars().first()
    if found is not None and found not in VERSIONS:
        raise SchemaError(
            f"the database has schema version {found}, newer than this version of opencode-a2a knows"
            f" ({VERSIONS[-1]}); upgrade opencode-a2a or use another database"
        )
    return found


def _is_new(connection: Connection) -> bool:
    """Whether no version ever made a table here."""
    return set(inspect(connection).get_table_names()).isdisjoint((VERSION_TABLE, *METADATA.tables))


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    # A per cent sign in a path would be read as an interpolation.
    folder = str(Path(__file__).parent / "migrations").replace("%", "%%")
    config.set_main_option("script_location", folder)
    config.set_main_option("path_separator", "newline")
    with _ALEMBIC:
        command.upgrade(config, "head")
