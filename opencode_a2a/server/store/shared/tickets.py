"""The SQL of tickets: who is next for a key, of all servers that share a database, in order of arrival.

A ticket counts while its server lives, or while its task is unfinished: then another server adopts both, and the turn
that the first has begun may still be running. PostgreSQL only.
"""

from __future__ import annotations

from collections.abc import Collection
from hashlib import blake2b
from typing import Final

from sqlalchemy import Connection, text

from opencode_a2a.server.store.database import driver_cursor

CHANNEL: Final = "opencode_a2a_ticket"
"""The channel on which the key of a ticket is notified that was given back, or swept."""

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
_TURNS_OF: Final = text(
    f"SELECT mine.key, mine.holder, NOT EXISTS ({_BEFORE.format(key='mine.key', position='mine.position')})"
    " FROM opencode_a2a_ticket AS mine WHERE mine.key = ANY(:keys) AND mine.replica_id = :replica_id"
)
_TICKETS_OF: Final = text(
    "SELECT key, holder FROM opencode_a2a_ticket WHERE holder = ANY(:holders) AND replica_id = :replica_id"
)
# Of several keys at once: a lock that another server has is waited for by nobody.
_TRY_LOCKS: Final = "SELECT number FROM unnest(%s::bigint[]) AS number WHERE pg_try_advisory_xact_lock(number)"
_TAKE_SEVERAL: Final = (
    "WITH taken AS (INSERT INTO opencode_a2a_ticket (key, holder, replica_id)"
    " SELECT asked.key, asked.holder, %s FROM unnest(%s::text[], %s::text[]) AS asked (key, holder)"
    " ON CONFLICT (key, holder) DO UPDATE SET replica_id = excluded.replica_id RETURNING key, holder, position)"
    f" SELECT key, holder, NOT EXISTS ({_BEFORE.format(key='taken.key', position='taken.position')}) FROM taken"
)
# Each notification wakes all servers: where no other ticket is seen, and none is being taken, there is none.
_GIVE_BACK: Final = (
    "WITH gone AS (DELETE FROM opencode_a2a_ticket AS ticket"
    " USING unnest(%s::text[], %s::text[], %s::text[], %s::boolean[])"
    " AS given (key, holder, replica_id, locked) WHERE ticket.key = given.key AND ticket.holder = given.holder"
    " AND ticket.replica_id = given.replica_id RETURNING ticket.key, ticket.position, given.locked)"
    f" SELECT pg_notify('{CHANNEL}', key) FROM (SELECT DISTINCT gone.key FROM gone WHERE NOT gone.locked OR EXISTS"
    " (SELECT 1 FROM opencode_a2a_ticket AS other WHERE other.key = gone.key AND other.position <> gone.position))"
    " AS noted"
)
_ADOPT: Final = text("UPDATE opencode_a2a_ticket SET replica_id = :replica_id WHERE holder = ANY(:holders)")
# A ticket that a server takes or adopts meanwhile stays: whether that server lives, this statement cannot see.
_SWEEP: Final = text(
    "WITH left_over AS (SELECT * FROM opencode_a2a_ticket AS one"
    f" WHERE NOT {_COUNTS.format(ticket='one')}),"
    " gone AS (DELETE FROM opencode_a2a_ticket AS mine USING left_over WHERE mine.key = left_over.key"
    " AND mine.holder = left_over.holder AND mine.replica_id = left_over.replica_id RETURNING mine.key),"
    f" noted AS (SELECT pg_notify('{CHANNEL}', key) FROM (SELECT DISTINCT key FROM gone) AS keys)"
    " SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM noted)"
)


def take_ticket(connection: Connection, key: str, holder: str, replica_id: str) -> bool:
    """Take the next place for a key, in a transaction of its own; True where it is the first.

    `holder`: a task's id, or any name of the holder. One that has a place for the key keeps it.
    """
    # One after the other, so that places become visible in their order.
    connection.execute(_LOCK, {"number": _number_of(key)})
    position = connection.execute(_TAKE, {"key": key, "holder": holder, "replica_id": replica_id}).scalar_one()
    first: bool = connection.execute(_IS_FIRST, {"key": key, "position": position}).scalar_one()
    return first


def take_tickets(
    connection: Connection, asked: Collection[tuple[str, str]], replica_id: str
) -> dict[tuple[str, str], bool]:
    """Take the next places for several keys, no two alike, in a transaction of their own.

    `asked`: pairs of key and holder. Returns for each whether it is the first. Those are missing whose key another
    server takes a place for just then: `take_ticket` waits for it.
    """
    locked = _locked(connection, [key for key, _ in asked])
    free = [(key, holder) for key, holder in asked if key in locked]
    if not free:
        return {}
    keys, holders = map(list, zip(*free, strict=True))
    found = driver_cursor.execute(connection, _TAKE_SEVERAL, (replica_id, keys, holders))
    return {(key, holder): first for key, holder, first in found}


def _locked(connection: Connection, keys: Collection[str]) -> set[str]:
    """Those of the keys for which no place can be taken by others before the transaction ends."""
    numbers = {key: _number_of(key) for key in keys}
    found = driver_cursor.execute(connection, _TRY_LOCKS, (sorted(set(numbers.values())),))
    got = {number for (number,) in found}
    return {key for key, number in numbers.items() if number in got}


def _number_of(key: str) -> int:
    """The number of the advisory lock of a key."""
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), signed=True)


def turns_of(connection: Connection, keys: Collection[str], replica_id: str) -> dict[tuple[str, str], bool]:
    """The tickets of a server for some keys, as pairs of key and holder, each with whether it is its turn."""
    found = connection.execute(_TURNS_OF, {"keys": sorted(keys), "replica_id": replica_id})
    return {(key, holder): first for key, holder, first in found}


def tickets_of(connection: Connection, holders: Collection[str], replica_id: str) -> frozenset[tuple[str, str]]:
    """The tickets that a server has for some holders, as pairs of key and holder."""
    found = connection.execute(_TICKETS_OF, {"holders": sorted(holders), "replica_id": replica_id})
    return frozenset((key, holder) for key, holder in found)


def give_back(connection: Connection, tickets: Collection[tuple[str, str, str]]) -> None:
    """Give back tickets, each a key, its holder and the server that took it for them.

    Whoever waits for a key is notified once this is committed. A ticket that another server has adopted stays.
    """
    if not tickets:
        return
    keys, holders, replica_ids = map(list, zip(*tickets, strict=True))
    locked = _locked(connection, keys)
    known = [key in locked for key in keys]
    driver_cursor.execute(connection, _GIVE_BACK, (keys, holders, replica_ids, known))


def adopt_tickets(connection: Connection, holders: Collection[str], replica_id: str) -> None:
    """Keep the places of tasks that another server has adopted."""
    connection.execute(_ADOPT, {"holders": sorted(holders), "replica_id": replica_id})


def sweep_tickets(connection: Connection) -> int:
    """Remove the tickets that do not count any more, and notify whoever waits; return how many there were."""
    swept: int = connection.execute(_SWEEP).scalar_one()
    return swept
