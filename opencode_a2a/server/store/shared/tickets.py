"""The SQL of tickets: who is next for a key, of all servers that share a database, in order of arrival.

A ticket counts while its server lives, or while its task is unfinished: then another server adopts both, and the turn
that the first has begun may still be running. PostgreSQL only.
"""

from __future__ import annotations

from collections.abc import Collection
from hashlib import blake2b
from typing import Final

from sqlalchemy import Connection, text

CHANNEL: Final = "opencode_a2a_ticket"
"""The channel on which the key of a ticket is notified that was given back."""

_LOCK: Final = text("SELECT pg_advisory_xact_lock(:number)")
# Of two with the same task, which is one that was adopted, the first place counts.
_TAKE: Final = text(
    "INSERT INTO opencode_a2a_ticket (key, holder, replica_id) VALUES (:key, :holder, :replica_id)"
    " ON CONFLICT (key, holder) DO UPDATE SET replica_id = excluded.replica_id"
    " RETURNING position"
)
_COUNTS: Final = (
    "(EXISTS (SELECT 1 FROM opencode_a2a_replica AS r WHERE r.replica_id = {ticket}.replica_id)"
    " OR EXISTS (SELECT 1 FROM opencode_a2a_task AS t"
    " WHERE t.task_id = {ticket}.holder AND t.replica_id IS NOT NULL AND NOT t.finished))"
)
_BEFORE: Final = (
    "SELECT 1 FROM opencode_a2a_ticket AS earlier"
    f" WHERE earlier.key = {{key}} AND earlier.position < {{position}} AND {_COUNTS.format(ticket='earlier')}"
)
_IS_FIRST: Final = text(f"SELECT NOT EXISTS ({_BEFORE.format(key=':key', position=':position')})")
_FIRST_OF: Final = text(
    "SELECT mine.key, mine.holder FROM opencode_a2a_ticket AS mine"
    " WHERE mine.key = ANY(:keys) AND mine.replica_id = :replica_id"
    f" AND NOT EXISTS ({_BEFORE.format(key='mine.key', position='mine.position')})"
)
_GIVE_BACK: Final = text(
    "WITH gone AS (DELETE FROM opencode_a2a_ticket"
    " WHERE key = :key AND holder = :holder AND replica_id = :replica_id RETURNING key)"
    f" SELECT pg_notify('{CHANNEL}', key) FROM gone"
)
_ADOPT: Final = text("UPDATE opencode_a2a_ticket SET replica_id = :replica_id WHERE holder = ANY(:holders)")
_SWEEP: Final = text(f"DELETE FROM opencode_a2a_ticket AS mine WHERE NOT {_COUNTS.format(ticket='mine')}")


def take_ticket(connection: Connection, key: str, holder: str, replica_id: str) -> bool:
    """Take the next place for a key, in a transaction of its own; True where it is the first.

    `holder`: a task's id, or any name of the holder. One that has a place for the key keeps it.
    """
    # One after the other, so that places become visible in their order.
    connection.execute(_LOCK, {"number": int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), signed=True)})
    position = connection.execute(_TAKE, {"key": key, "holder": holder, "replica_id": replica_id}).scalar_one()
    first: bool = connection.execute(_IS_FIRST, {"key": key, "position": position}).scalar_one()
    return first


def first_tickets(connection: Connection, keys: Collection[str], replica_id: str) -> frozenset[tuple[str, str]]:
    """The tickets of a server that are first now for some keys, as pairs of key and holder."""
    found = connection.execute(_FIRST_OF, {"keys": sorted(keys), "replica_id": replica_id})
    return frozenset((key, holder) for key, holder in found)


def give_back(connection: Connection, tickets: Collection[tuple[str, str, str]]) -> None:
    """Give back tickets, each a key, its holder and the server that took it for them.

    Whoever waits for a key is notified once this is committed. A ticket that another server has adopted stays.
    """
    for key, holder, replica_id in tickets:
        connection.execute(_GIVE_BACK, {"key": key, "holder": holder, "replica_id": replica_id})


def adopt_tickets(connection: Connection, holders: Collection[str], replica_id: str) -> None:
    """Keep the places of tasks that another server has adopted."""
    connection.execute(_ADOPT, {"holders": sorted(holders), "replica_id": replica_id})


def sweep_tickets(connection: Connection) -> int:
    """Remove the tickets that do not count any more; return how many there were."""
    return connection.execute(_SWEEP).rowcount
