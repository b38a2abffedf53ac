"""Makes the pool of connections to a database, and prepares each of them. Knows nothing of tables."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import NullPool, QueuePool, StaticPool

from opencode_a2a.distribution import how_to_install
from opencode_a2a.server.store.database.urls import Database
from opencode_a2a.server.store.rows import StoreError

SQLITE_BUSY_SECONDS: Final = 5.0
# A host that has gone silent must become an error, not a thread that waits for ever.
_POSTGRESQL_CONNECT: Final = {"keepalives_idle": "30"}
CONNECTING_SECONDS: Final = 10.0
SILENCE_SECONDS: Final = 30.0
STATEMENT_SECONDS: Final = 30.0
_OF_DATABASE: Final = 0.8  # of the bound on a statement: then the database ends it, and the connection stays


def make_engine(
    database: Database,
    *,
    connections: int = 0,
    silence: float = SILENCE_SECONDS,
    patience: float = STATEMENT_SECONDS,
    pooled: bool = False,
) -> Engine:
    """Return an engine with so many connections at most; 0: they are not pooled. Nothing is connected yet.

    `silence`: seconds after which a host that acknowledges nothing is given up. `patience`: seconds that a statement
    may take. `pooled`: a pool such as PgBouncer may give each transaction another session. A database in memory has
    one connection. Raises `StoreError` where the driver is not installed.
    """
    if database.is_sqlite:
        return _sqlite(database, connections)
    return _postgresql(database, connections, silence, patience, pooled=pooled)


def _postgresql(database: Database, connections: int, silence: float, patience: float, *, pooled: bool) -> Engine:
    given = database.url.query
    bounds = {
        "connect_timeout": str(math.ceil(min(CONNECTING_SECONDS, silence))),
        "tcp_user_timeout": str(int(silence * 1000)),
    }
    options: dict[str, Any] = {
        name: value for name, value in (_POSTGRESQL_CONNECT | bounds).items() if name not in given
    }
    if pooled:  # no session keeps what is prepared, and PgBouncer refuses what is set as a connection begins
        options["prepare_threshold"] = None
    else:
        words = given.get("options", ())
        own = (words,) if isinstance(words, str) else words
        bound = f"-c statement_timeout={int(patience * _OF_DATABASE * 1000)}"
        options["options"] = " ".join((bound, *own))  # the last one counts
    pool: dict[str, Any] = {"poolclass": NullPool}
    if connections:
        pool = {"pool_size": connections, "max_overflow": 0, "pool_pre_ping": True}
    try:
        from opencode_a2a.server.store.database.bounded_connection import BoundedConnection

        engine = create_engine(
            # Statements that wait for a row see it as it is then, whatever the database's default is.
            database.url,
            isolation_level="READ COMMITTED",
            connect_args=options,
            hide_parameters=True,
            **pool,
        )
    except ImportError:
        raise StoreError(f"PostgreSQL needs psycopg: {how_to_install('postgresql')}") from None

    def connect(_dialect: object, _record: object, arguments: Sequence[Any], named: Mapping[str, Any]) -> Any:
        made = BoundedConnection.connect(*arguments, **named)
        made.patience = patience
        return made

    def given_back(connection: Any, _record: object) -> None:
        if connection is not None:
            connection.patience = min(patience, silence, CONNECTING_SECONDS)  # for the ping before it is used again

    def taken(connection: Any, _record: object, _proxy: object) -> None:
        connection.patience = patience

    event.listen(engine, "do_connect", connect)
    event.listen(engine, "checkin", given_back)
    event.listen(engine, "checkout", taken)
    return engine


def bound(connection: Connection, seconds: float) -> None:
    """Give up a database of PostgreSQL that says nothing for so many seconds, until the connection is given back."""
    if connection.dialect.name == "postgresql":
        raw: Any = connection.connection.driver_connection
        raw.patience = min(raw.patience, seconds)


def unbound(connection: Connection) -> None:
    """Let the statements of a transaction take as long as they need, as those of a migration. It has begun."""
    if connection.dialect.name == "postgresql":
        raw: Any = connection.connection.driver_connection
        raw.patience = math.inf
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")


def _sqlite(database: Database, connections: int) -> Engine:
    url = database.url
    if database.path is None:
        pool: dict[str, Any] = {"poolclass": StaticPool}
    else:
        pool = {"poolclass": QueuePool, "pool_size": connections, "max_overflow": 0}
        url = url.set(database=str(Path(database.path).absolute()))
    timeout = {} if "timeout" in url.query else {"timeout": SQLITE_BUSY_SECONDS}
    engine = create_engine(url, connect_args={"check_same_thread": False, **timeout}, hide_parameters=True, **pool)
    event.listen(engine, "connect", _prepare_sqlite_connection)
    event.listen(engine, "begin", _begin_sqlite_transaction)
    return engine


def _prepare_sqlite_connection(connection: Any, _record: object) -> None:
    # The driver begins no transactions of its own: they would leave reads and schema changes outside.
    connection.isolation_level = None
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = OFF")


def _begin_sqlite_transaction(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("sqlite_begin", "BEGIN"))


def enter_wal_mode(engine: Engine, patience: float) -> None:
    """Let an SQLite file have a write-ahead log. Blocks for `patience` seconds at most.

    Retried, because two processes that change the mode at once do not wait for each other.
    """
    deadline = time.monotonic() + patience
    raw = engine.raw_connection()
    try:
        while True:
            try:
                raw.cursor().execute("PRAGMA journal_mode = WAL")
                return
            except Exception as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
    finally:
        raw.close()
