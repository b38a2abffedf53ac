"""The numbers of tasks by principal and state, which the database itself keeps: a list names its total at once.

Triggers keep them, so that servers of earlier versions, which know nothing of them, count as well. On PostgreSQL each
session counts in rows of its own: servers that commit at once would wait for each other's rows.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, func, select

from opencode_a2a.server.store.schema import TASK, TASK_COUNT

_FUNCTION: Final = "opencode_a2a_count_tasks"
_ADD: Final = (
    f"INSERT INTO {TASK_COUNT.name} (principal, state, session, tasks) {{rows}}"
    f" ON CONFLICT (principal, state, session) DO UPDATE SET tasks = {TASK_COUNT.name}.tasks + excluded.tasks"
)


def _sqlite_trigger(name: str, event: str, *rows: str) -> str:
    statements = "; ".join(_ADD.format(rows=f"VALUES ({row})") for row in rows)
    return f"CREATE TRIGGER {TASK.name}_{name} AFTER {event} BEGIN {statements}; END"


_NEW: Final = "NEW.principal, NEW.state, 0, 1"
_OLD: Final = "OLD.principal, OLD.state, 0, -1"

_SESSION: Final = "pg_backend_pid()"


def _grouped(rows: str, sign: str = "") -> str:
    return _ADD.format(
        rows=f"SELECT principal, state, {_SESSION}, {sign}count(*) FROM {rows} GROUP BY principal, state"
    )


def _postgresql_function() -> str:
    changed = _ADD.format(
        rows=f"VALUES (OLD.principal, OLD.state, {_SESSION}, -1), (NEW.principal, NEW.state, {_SESSION}, 1)"
    )
    return (
        f"CREATE OR REPLACE FUNCTION {_FUNCTION}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF TG_OP = 'INSERT' THEN {_grouped('added')};"
        f" ELSIF TG_OP = 'DELETE' THEN {_grouped('removed', '-')};"
        f" ELSE {changed}; END IF; RETURN NULL; END $$"
    )


def _postgresql_trigger(name: str, event: str) -> str:
    return f"CREATE TRIGGER {TASK.name}_{name} AFTER {event} EXECUTE FUNCTION {_FUNCTION}()"


_STATEMENTS: Final = {
    "sqlite": (
        _sqlite_trigger("added", f"INSERT ON {TASK.name}", _NEW),
        _sqlite_trigger("removed", f"DELETE ON {TASK.name}", _OLD),
        _sqlite_trigger("changed", f"UPDATE OF state ON {TASK.name} WHEN OLD.state <> NEW.state", _OLD, _NEW),
    ),
    "postgresql": (
        _postgresql_function(),
        _postgresql_trigger("added", f"INSERT ON {TASK.name} REFERENCING NEW TABLE AS added FOR EACH STATEMENT"),
        _postgresql_trigger("removed", f"DELETE ON {TASK.name} REFERENCING OLD TABLE AS removed FOR EACH STATEMENT"),
        _postgresql_trigger("changed", f"UPDATE OF state ON {TASK.name} FOR EACH ROW WHEN (OLD.state <> NEW.state)"),
    ),
}

_GONE: Final = (
    f"WITH gone AS (DELETE FROM {TASK_COUNT.name} WHERE session <> 0"
    " AND session NOT IN (SELECT pid FROM pg_stat_activity) RETURNING principal, state, tasks) "
    + _ADD.format(rows="SELECT principal, state, 0, sum(tasks) FROM gone GROUP BY principal, state")
)


def create_triggers(connection: Connection) -> None:
    """Make the triggers in a database whose tables have just been made, as the migrations would leave them."""
    for statement in _STATEMENTS[connection.dialect.name]:
        connection.exec_driver_sql(statement)


def fold_sessions(connection: Connection) -> None:
    """Add the rows of PostgreSQL's sessions that are gone to one row for each principal and state."""
    connection.exec_driver_sql(_GONE)


def count(connection: Connection, principal: str | None = None, state: str | None = None) -> int:
    """Return the number of tasks, of all or of a principal, in all states or in one."""
    query = select(func.coalesce(func.sum(TASK_COUNT.c.tasks), 0))
    for column, value in ((TASK_COUNT.c.principal, principal), (TASK_COUNT.c.state, state)):
        if value is not None:
            query = query.where(column == value)
    return int(connection.execute(query).scalar_one())
