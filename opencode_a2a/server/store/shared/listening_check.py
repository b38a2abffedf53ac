"""Checks that notifications which the store's connections send arrive at the connection that listens.

Blocks, for some seconds at most. Changes nothing. `sansio.doctor.listening` judges what is observed here.

An idle pool can give two connections the same session by chance, and all seems well. So a connection is asked whether
the process that the protocol named at its start is the session's: a pool makes that number up. Where it is not, other
connections take sessions, until one takes that of the first or the first gets another: a pool keeps it, or does not.
"""

from __future__ import annotations

import secrets
from contextlib import ExitStack
from time import monotonic
from typing import Any, Final

from attrs import evolve
from sqlalchemy import Connection, Engine

from opencode_a2a.server.store.database.engine import make_engine
from opencode_a2a.server.store.database.faults import refuses_options, store_fault
from opencode_a2a.server.store.database.urls import Database
from sansio.doctor.listening import ListeningFacts

SECONDS: Final = 3.0
"""Seconds that one exchange with the database may take, and a notification after its commit."""

_CHANNEL: Final = "opencode_a2a_check"
_OTHERS: Final = 4  # connections that try to take the session of the one that listens
_ROOM: Final = 1.0  # seconds that they wait for a session: a pool may have no more
_SESSION: Final = "SELECT pg_backend_pid()"
_SEEN: Final = (
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND classid = %s AND objid = %s"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


def check_listening(store: Engine, listening: Database, *, has_url: bool) -> ListeningFacts:
    """Observe the connection that listens. `store`: connects as the server's connections do.

    `has_url`: the setting gives that connection a URL of its own. Raises the errors of the store's own connection.
    """
    facts = ListeningFacts(has_url=has_url)
    engine = make_engine(listening, silence=SECONDS, patience=SECONDS)
    with ExitStack() as stack:
        try:
            raw = _connected(stack, engine)
            session = _session(raw)
            if session != raw.pgconn.backend_pid:
                facts = evolve(facts, is_direct=False, moves=_moves(listening, raw, session))
        except Exception as error:
            reason = str(store_fault(error, "be listened to", listening))
            return evolve(facts, error=reason, refuses_options=refuses_options(error))
        if facts.moves:
            return facts
        connection = stack.enter_context(store.connect())
        return _exchange(connection, raw, facts, listening)


def _exchange(connection: Connection, raw: Any, facts: ListeningFacts, listening: Database) -> ListeningFacts:
    """Lock and notify over the store's connection; look and wait over that which listens."""
    high, low, payload = secrets.randbits(31), secrets.randbits(32), secrets.token_hex(8)
    with connection.begin():
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (high << 32 | low,))
        try:
            if not raw.execute(_SEEN, (high, low)).fetchone()[0]:
                return evolve(facts, elsewhere=True)
            raw.execute(f"LISTEN {_CHANNEL}")
        except Exception as error:
            return evolve(facts, error=str(store_fault(error, "be listened to", listening)))
        connection.exec_driver_sql("SELECT pg_notify(%s, %s)", (_CHANNEL, payload))
    try:
        arrived = _arrives(raw, payload)
    except Exception as error:
        return evolve(facts, error=str(store_fault(error, "notify", listening)))
    return evolve(facts, arrived=arrived, seconds=SECONDS)


def _arrives(raw: Any, payload: str) -> bool:
    """Whether the notification comes; other processes may check at the same time."""
    deadline = monotonic() + SECONDS
    while (left := deadline - monotonic()) > 0:
        if any(one.payload == payload for one in raw.notifies(timeout=left, stop_after=1)):
            return True
    return False


def _moves(listening: Database, raw: Any, session: int) -> bool:
    """Whether a pool gives the session of a connection to another between its statements."""
    engine = make_engine(listening, silence=SECONDS, patience=_ROOM)
    with ExitStack() as stack:
        for _ in range(_OTHERS):
            try:
                other = _connected(stack, engine)
                other.execute("BEGIN")
                taken = _session(other)
            except Exception:  # a pool that keeps sessions has no more of them
                return False
            if taken == session or _session(raw) != session:
                return True
    return False


def _connected(stack: ExitStack, engine: Engine) -> Any:
    """Connect as the server does to listen; return psycopg's connection, which is closed with the stack."""
    connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    stack.callback(connection.close)
    stack.callback(connection.invalidate)  # nothing is rolled back, and no error of it is logged
    return connection.connection.driver_connection


def _session(raw: Any) -> int:
    """Return the process of the session that a statement has."""
    found: int = raw.execute(_SESSION).fetchone()[0]
    return found
