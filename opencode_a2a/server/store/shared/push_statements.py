"""The SQL by which a server takes over push configurations, in a transaction that `fence` began. PostgreSQL only.

As with tasks, one statement locks what is taken, and another looks again at who has it. A configuration that a living
server has is written by that one alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection

from opencode_a2a.server.store.rows import RESTING, PushRow
from opencode_a2a.server.store.schema import PUSH, REPLICA, TASK

_UNOWNED: Final = (
    "(push.replica_id IS NULL OR NOT EXISTS"
    f" (SELECT 1 FROM {REPLICA.name} AS replica WHERE replica.replica_id = push.replica_id))"
)
# Of a task at work, its owner takes them. One at rest has something to deliver only beyond what was delivered.
_DUE: Final = (
    f"push.finished = false AND {_UNOWNED} AND (task.task_id IS NULL OR task.finished"
    " OR (task.state = ANY(%s::text[]) AND push.cursor < task.last_seq)"
    " OR (task.state <> ALL(%s::text[]) AND task.replica_id = %s))"
)
_JOINED: Final = f"{PUSH.name} AS push LEFT JOIN {TASK.name} AS task ON task.task_id = push.task_id"
_IS_DUE: Final = f"SELECT EXISTS (SELECT 1 FROM {_JOINED} WHERE {_DUE})"
_LOCK_DUE: Final = (
    f"SELECT push.task_id, push.config_id FROM {_JOINED} WHERE {_DUE}"
    " ORDER BY push.created_at, push.task_id, push.config_id LIMIT %s FOR UPDATE OF push SKIP LOCKED"
)
_COLUMNS: Final = ", ".join(f"push.{column.name}" for column in PUSH.columns)
_MINE: Final = f"SELECT {_COLUMNS} FROM {PUSH.name} AS push WHERE push.finished = false AND push.replica_id = %s"
_TAKE: Final = (
    f"UPDATE {PUSH.name} AS push SET replica_id = %s"
    " FROM unnest(%s::text[], %s::text[]) AS wanted (task_id, config_id)"
    " WHERE push.task_id = wanted.task_id AND push.config_id = wanted.config_id"
    f" AND push.finished = false AND {_UNOWNED} RETURNING {_COLUMNS}"
)
_LOCK_OF: Final = f"SELECT 1 FROM {PUSH.name} WHERE task_id = %s ORDER BY config_id FOR UPDATE"
_TAKE_OF: Final = (
    f"UPDATE {PUSH.name} AS push SET replica_id = %s WHERE push.task_id = %s AND push.finished = false"
    f" AND (push.replica_id = %s OR {_UNOWNED}) RETURNING {_COLUMNS}"
)
_LOCK_ONE: Final = f"SELECT replica_id FROM {PUSH.name} WHERE task_id = %s AND config_id = %s FOR UPDATE"
_TAKE_ONE: Final = (
    f"UPDATE {PUSH.name} AS push SET replica_id = %s WHERE push.task_id = %s AND push.config_id = %s AND {_UNOWNED}"
)
_RESTING: Final = sorted(RESTING)


def are_due(connection: Connection, replica_id: str) -> bool:
    """Whether there are push configurations that this server may deliver, and nobody does."""
    return bool(connection.exec_driver_sql(_IS_DUE, (_RESTING, _RESTING, replica_id)).scalar_one())


def adopt(connection: Connection, replica_id: str, limit: int) -> list[PushRow]:
    """Take push configurations that nobody delivers, `limit` at most, oldest first."""
    parameters = (_RESTING, _RESTING, replica_id, limit)
    locked = [tuple(key) for key in connection.exec_driver_sql(_LOCK_DUE, parameters)]
    if not locked:
        return []
    task_ids, config_ids = (list(names) for names in zip(*locked, strict=True))
    return _rows(connection, _TAKE, (replica_id, task_ids, config_ids))


def owned(connection: Connection, replica_id: str) -> list[PushRow]:
    """The unfinished push configurations that a server has."""
    return _rows(connection, _MINE, (replica_id,))


def claim_of_task(connection: Connection, replica_id: str, task_id: str) -> list[PushRow]:
    """Take the unfinished push configurations of a task but for those that another server delivers."""
    connection.exec_driver_sql(_LOCK_OF, (task_id,))
    return _rows(connection, _TAKE_OF, (replica_id, task_id, replica_id))


def claim(connection: Connection, replica_id: str, task_id: str, config_id: str) -> str | None:
    """Take a push configuration unless another server delivers it; return the server that has it.

    None where there is no such configuration.
    """
    found = connection.exec_driver_sql(_LOCK_ONE, (task_id, config_id)).first()
    if found is None:
        return None
    taken = connection.exec_driver_sql(_TAKE_ONE, (replica_id, task_id, config_id)).rowcount == 1
    return replica_id if taken else found[0]


def _rows(connection: Connection, sql: str, parameters: Sequence[object]) -> list[PushRow]:
    found = connection.exec_driver_sql(sql, tuple(parameters)).mappings()
    rows = [PushRow(**{**row, "body": bytes(row["body"])}) for row in found]
    return sorted(rows, key=lambda row: (row.created_at, row.task_id, row.config_id))
