"""Tasks are found by their state, and counted by triggers: the total of a list is there at once.

A server of the schema before can go on working: what it writes is counted as well. PostgreSQL lets nobody write tasks
until the migration is committed, which takes some seconds for a million of them.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

_TASK = "opencode_a2a_task"
_COUNT = "opencode_a2a_task_count"
_ADD = (
    f"INSERT INTO {_COUNT} (principal, state, session, tasks) {{rows}}"
    f" ON CONFLICT (principal, state, session) DO UPDATE SET tasks = {_COUNT}.tasks + excluded.tasks"
)
_ADDED = "NEW.principal, NEW.state, 0, 1"
_REMOVED = "OLD.principal, OLD.state, 0, -1"


def upgrade() -> None:
    op.create_table(
        _COUNT,
        sa.Column("principal", sa.Text, primary_key=True),
        sa.Column("state", sa.Text, primary_key=True),
        sa.Column("session", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("tasks", sa.BigInteger, nullable=False),
    )
    # First what keeps others from writing: what they have committed by then is counted below.
    if op.get_context().dialect.name == "postgresql":
        _on_postgresql()
    else:
        _on_sqlite("added", f"INSERT ON {_TASK}", _ADDED)
        _on_sqlite("removed", f"DELETE ON {_TASK}", _REMOVED)
        _on_sqlite("changed", f"UPDATE OF state ON {_TASK} WHEN OLD.state <> NEW.state", _REMOVED, _ADDED)
    op.execute(
        f"INSERT INTO {_COUNT} (principal, state, session, tasks)"
        f" SELECT principal, state, 0, count(*) FROM {_TASK} GROUP BY principal, state"
    )
    op.create_index("opencode_a2a_task_state", _TASK, ["principal", "state", "updated_at", "task_id"])


def _on_sqlite(name: str, event: str, *rows: str) -> None:
    statements = "; ".join(_ADD.format(rows=f"VALUES ({row})") for row in rows)
    op.execute(f"CREATE TRIGGER {_TASK}_{name} AFTER {event} BEGIN {statements}; END")


def _on_postgresql() -> None:
    session = "pg_backend_pid()"
    added = _ADD.format(rows=f"SELECT principal, state, {session}, count(*) FROM added GROUP BY principal, state")
    removed = _ADD.format(
        rows=f"SELECT principal, state, {session}, -count(*) FROM removed GROUP BY principal, state"
    )
    changed = _ADD.format(
        rows=f"VALUES (OLD.principal, OLD.state, {session}, -1), (NEW.principal, NEW.state, {session}, 1)"
    )
    op.execute(
        "CREATE OR REPLACE FUNCTION opencode_a2a_count_tasks() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF TG_OP = 'INSERT' THEN {added}; ELSIF TG_OP = 'DELETE' THEN {removed}; ELSE {changed}; END IF;"
        " RETURN NULL; END $$"
    )
    for name, event in (
        ("added", "INSERT ON {} REFERENCING NEW TABLE AS added FOR EACH STATEMENT"),
        ("removed", "DELETE ON {} REFERENCING OLD TABLE AS removed FOR EACH STATEMENT"),
        ("changed", "UPDATE OF state ON {} FOR EACH ROW WHEN (OLD.state <> NEW.state)"),
    ):
        op.execute(
            f"CREATE TRIGGER {_TASK}_{name} AFTER {event.format(_TASK)} EXECUTE FUNCTION opencode_a2a_count_tasks()"
        )
