"""The SQL of tickets and sessions of pages: any server issues one, any other takes it; a ticket once.

Times are by the clock of the database. PostgreSQL only.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection

from opencode_a2a.server.store.database import driver_cursor
from opencode_a2a.server.store.schema import CONNECTION_TICKET
from sansio.access.tickets import SealedTicket, TicketBounds

_TABLE: Final = CONNECTION_TICKET.name
_NOW: Final = "(extract(epoch from clock_timestamp()) * 1000)::bigint"
# What others remove just then is passed over, so that nobody waits.
_SELECT: Final = f"SELECT digest FROM {_TABLE} WHERE {{}} FOR UPDATE SKIP LOCKED"
_EXPIRED: Final = _SELECT.format(f"expires_at <= {_NOW}")
_BEYOND: Final = _SELECT.format(f"digest IN (SELECT digest FROM {_TABLE} {{}} ORDER BY expires_at DESC OFFSET %s)")
_ISSUE: Final = (
    f"WITH expired AS ({_EXPIRED}), own AS ({_BEYOND.format('WHERE principal = %s')}),"
    f" rest AS ({_BEYOND.format('')}),"
    " gone AS (SELECT digest FROM expired UNION SELECT digest FROM own UNION SELECT digest FROM rest),"
    f" removed AS (DELETE FROM {_TABLE} AS kept USING gone WHERE kept.digest = gone.digest)"
    f" INSERT INTO {_TABLE} (digest, principal, expires_at, body) VALUES (%s, %s, {_NOW} + %s, %s)"
)
_REDEEM: Final = f"DELETE FROM {_TABLE} WHERE digest = %s RETURNING principal, body, expires_at > {_NOW}"
_FIND: Final = f"SELECT principal, body FROM {_TABLE} WHERE digest = %s AND expires_at > {_NOW}"
_END: Final = f"DELETE FROM {_TABLE} WHERE digest = %s"
_SWEEP: Final = f"DELETE FROM {_TABLE} WHERE digest IN ({_EXPIRED})"


def issue(connection: Connection, ticket: SealedTicket, bounds: TicketBounds) -> None:
    """Keep a ticket; the oldest beyond the bounds goes, and so do all that are too old."""
    given = (ticket.digest, ticket.principal, int(bounds.seconds * 1000), ticket.body)
    own, rest = bounds.each - 1, bounds.total - 1
    driver_cursor.execute(connection, _ISSUE, (ticket.principal, own, rest, *given))


def redeem(connection: Connection, digest: bytes) -> SealedTicket | None:
    """Return a ticket, and use it up; None where it is none, is used, or too old."""
    found = driver_cursor.execute(connection, _REDEEM, (digest,)).fetchone()
    if found is None or not found[2]:
        return None
    return SealedTicket(digest=digest, principal=found[0], body=bytes(found[1]))


def find(connection: Connection, digest: bytes) -> SealedTicket | None:
    """Return a session, which is kept as a ticket is, and leave it; None where it is none, or too old."""
    found = driver_cursor.execute(connection, _FIND, (digest,)).fetchone()
    return None if found is None else SealedTicket(digest=digest, principal=found[0], body=bytes(found[1]))


def end(connection: Connection, digest: bytes) -> None:
    """Keep a session no longer."""
    driver_cursor.execute(connection, _END, (digest,))


def sweep_connection_tickets(connection: Connection) -> int:
    """Remove the tickets that are too old; return how many there were."""
    return connection.exec_driver_sql(_SWEEP).rowcount
