"""The SQL by which servers that share a PostgreSQL database join it, stay, take over others, and leave.

All times are by the clock of the database. A transaction of a server's begins with `fence`, which locks the server's
row so weakly that renewals of its lease pass, and so strongly that nobody removes it before the transaction ends.

Each of the others is one statement, which needs no transaction around it: a process that stops cannot stop between
its statements, and keep the rows locked that the others look at.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection

from opencode_a2a.server.store.database import driver_cursor
from opencode_a2a.server.store.rows import FencedError, Replica
from opencode_a2a.server.store.schema import REPLICA
from sansio.a2a.replicas.changes import ORPHANS, Changes, changes_text

CHANNEL: Final = "opencode_a2a"
_NOW: Final = "(extract(epoch from clock_timestamp()) * 1000)::bigint"

_JOIN: Final = (
    f"INSERT INTO {REPLICA.name} (replica_id, expires_at, began_at, name) VALUES (%s, {_NOW} + %s, {_NOW}, %s)"
)
_OTHERS: Final = f"SELECT count(*) FROM {REPLICA.name} WHERE expires_at >= {_NOW} AND replica_id <> %s"
_RENEW: Final = f"UPDATE {REPLICA.name} SET expires_at = {_NOW} + %s WHERE replica_id = %s RETURNING ({_OTHERS})"
_NOTIFYING: Final = "SELECT replica_id, name, pg_notify('" + CHANNEL + "', %s) FROM gone"
_LEAVE: Final = (
    f"WITH gone AS (DELETE FROM {REPLICA.name} WHERE replica_id = %s RETURNING replica_id, name) {_NOTIFYING}"
)
# A server whose lease is over and that is in a transaction works yet: the next look finds it, or its transaction is
# cut off as idle. So nobody waits here, and two servers that look at once do not either.
_TAKE_OVER: Final = (
    f"WITH gone AS (DELETE FROM {REPLICA.name} WHERE replica_id IN (SELECT replica_id FROM {REPLICA.name}"
    f" WHERE expires_at < {_NOW} AND replica_id <> %s FOR UPDATE SKIP LOCKED) RETURNING replica_id, name)"
    f" {_NOTIFYING}"
)
_TIMEOUT: Final = "set_config('idle_in_transaction_session_timeout', %s, true)"
_LOCKED: Final = f"FROM {REPLICA.name} WHERE replica_id = %s FOR KEY SHARE"
_FENCE: Final = f"SELECT {_TIMEOUT} {_LOCKED}"
_FENCE_AND_NOTIFY: Final = f"SELECT {_TIMEOUT}, pg_notify('{CHANNEL}', %s) {_LOCKED}"
_NOTIFY: Final = f"SELECT pg_notify('{CHANNEL}', %s)"
_LIVING: Final = (
    f"SELECT replica_id, name, began_at, expires_at - {_NOW} FROM {REPLICA.name} ORDER BY began_at, replica_id"
)


def join(connection: Connection, replica_id: str, name: str, lease_ms: int) -> None:
    """Add a server."""
    connection.exec_driver_sql(_JOIN, (replica_id, lease_ms, name))


def renew(connection: Connection, replica_id: str, lease_ms: int) -> int | None:
    """Begin a server's lease again, also one that is over; None if the server was taken over.

    Returns the number of servers that have a lease, this one among them.
    """
    others = connection.exec_driver_sql(_RENEW, (lease_ms, replica_id, replica_id)).scalar()
    return None if others is None else others + 1


def leave(connection: Connection, replica_id: str) -> None:
    """Remove a server that leaves, and notify the others: its tasks are nobody's."""
    connection.exec_driver_sql(_LEAVE, (replica_id, changes_text(replica_id, ORPHANS)))


def take_over(connection: Connection, replica_id: str) -> Sequence[str]:
    """Remove the other servers whose leases are over, and notify of it. Waits for nobody.

    Returns the id of each, with its name after it where it has one.
    """
    parameters = (replica_id, changes_text(replica_id, ORPHANS))
    rows = connection.exec_driver_sql(_TAKE_OVER, parameters).all()
    return [f"{gone} ({name})" if name else gone for gone, name, _ in rows]


def fence(connection: Connection, replica_id: str, lease_ms: int, changes: Changes | None = None) -> None:
    """Keep the server from being taken over until the transaction ends. Raises `FencedError` where it was.

    A server that stops within the transaction is cut off by the database after as long as a lease. `changes`: what
    the others are notified of, once the transaction is committed. One statement does it all: each costs a round trip.
    """
    if changes:
        parameters: tuple[str, ...] = (str(lease_ms), changes_text(replica_id, changes), replica_id)
        found = driver_cursor.execute(connection, _FENCE_AND_NOTIFY, parameters)
    else:
        found = driver_cursor.execute(connection, _FENCE, (str(lease_ms), replica_id))
    if not found.rowcount:
        raise taken_over(replica_id)


def taken_over(replica_id: str) -> FencedError:
    """Make the error of a server whose tasks another one has taken over."""
    return FencedError(f"another server has taken over the tasks of this one (replica {replica_id})")


def notify(connection: Connection, replica_id: str, changes: Changes) -> None:
    """Notify all servers, once the transaction is committed."""
    connection.exec_driver_sql(_NOTIFY, (changes_text(replica_id, changes),))


def living(connection: Connection) -> list[Replica]:
    """The servers that nobody has taken over, the oldest first."""
    return [
        Replica(replica_id=replica_id, name=name, began_at=began_at, remaining=remaining / 1000)
        for replica_id, name, began_at, remaining in connection.exec_driver_sql(_LIVING)
    ]
