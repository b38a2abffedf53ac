"""The SQL by which a server that shares a PostgreSQL database takes tasks, in a transaction that `fence` began.

Two statements at least take a task: one locks it, another looks again at who has it, and writes. A statement sees the
servers as they were when it began, and the rows that it had to wait for as they are: so the first alone could take a
task from a server that joined meanwhile. No server takes tasks at an isolation above READ COMMITTED.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from sqlalchemy import Connection

from opencode_a2a.server.store.rows import RESTING
from opencode_a2a.server.store.schema import REPLICA, TASK
from opencode_a2a.server.store.shared.replica_statements import notify
from sansio.a2a.replicas.changes import Changes

_UNOWNED: Final = (
    "(task.replica_id IS NULL OR NOT EXISTS"
    f" (SELECT 1 FROM {REPLICA.name} AS replica WHERE replica.replica_id = task.replica_id))"
)
# `= false` rather than NOT: the partial index is used for the expression it was made with.
_ORPHANED: Final = f"task.finished = false AND task.state <> ALL(%s::text[]) AND {_UNOWNED}"
_SERVED: Final = "(%s::text[] IS NULL OR task.affinity = ANY(%s::text[]))"
_RELEASE: Final = f"UPDATE {TASK.name} SET replica_id = NULL WHERE replica_id = %s AND task_id = ANY(%s::text[])"
_LOCK_ORPHANS: Final = (
    f"SELECT task.task_id FROM {TASK.name} AS task WHERE {_ORPHANED} AND {_SERVED}"
    " ORDER BY task.created_at, task.task_id LIMIT %s FOR UPDATE OF task SKIP LOCKED"
)
_ADOPT: Final = (
    f"UPDATE {TASK.name} AS task SET replica_id = %s WHERE task.task_id = ANY(%s::text[]) AND {_ORPHANED}"
    " RETURNING task.task_id"
)
_ORPHANS: Final = f"SELECT EXISTS (SELECT 1 FROM {TASK.name} AS task WHERE {_ORPHANED} AND {_SERVED})"
_OWNER: Final = (
    f"SELECT replica.replica_id FROM {TASK.name} AS task JOIN {REPLICA.name} AS replica USING (replica_id)"
    " WHERE task.task_id = %s AND task.finished = false"
)
_OWNERS_OF: Final = (
    f"SELECT DISTINCT replica_id FROM {TASK.name} WHERE principal = %s AND state = %s AND finished = false"
)
_RESTING: Final = sorted(RESTING)


def adopt(
    connection: Connection, replica_id: str, limit: int, affinities: Collection[str] | None = None
) -> Sequence[str]:
    """Take the unfinished tasks that nobody works on, `limit` at most, oldest first; return their ids.

    What another server is about to take is passed over. `affinities`: of the tasks that the server can work on; None:
    any.
    """
    served = _listed(affinities)
    locked = connection.exec_driver_sql(_LOCK_ORPHANS, (_RESTING, served, served, limit)).scalars().all()
    if not locked:
        return ()
    adopted = connection.exec_driver_sql(_ADOPT, (replica_id, list(locked), _RESTING)).scalars().all()
    if adopted:
        notify(connection, replica_id, Changes(tuple(adopted)))
    return adopted


def release(connection: Connection, replica_id: str, task_ids: Sequence[str]) -> None:
    """Give up those of the tasks that the server has."""
    connection.exec_driver_sql(_RELEASE, (replica_id, list(task_ids)))


def orphaned(connection: Connection, affinities: Collection[str] | None = None) -> bool:
    """Whether there are unfinished tasks that `adopt` would take."""
    served = _listed(affinities)
    return bool(connection.exec_driver_sql(_ORPHANS, (_RESTING, served, served)).scalar_one())


def _listed(affinities: Collection[str] | None) -> list[str] | None:
    return None if affinities is None else sorted(affinities)


def owner(connection: Connection, task_id: str) -> str | None:
    """The server that has an unfinished task, and that nobody has taken over."""
    return connection.exec_driver_sql(_OWNER, (task_id,)).scalars().first()


def owners_of(connection: Connection, principal: str, state: str) -> frozenset[str | None]:
    """The servers that have a principal's unfinished tasks of a state, or had them; None: some are nobody's."""
    return frozenset(connection.exec_driver_sql(_OWNERS_OF, (principal, state)).scalars())
