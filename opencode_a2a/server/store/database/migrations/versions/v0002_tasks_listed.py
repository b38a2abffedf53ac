"""Tasks are listed, found by their message, and pruned of their events; owners and places of sessions; push."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_TASK = "opencode_a2a_task"
_EVENT = "opencode_a2a_task_event"


def upgrade() -> None:
    on_postgresql = op.get_context().dialect.name == "postgresql"
    task_id = sa.Text(collation="C") if on_postgresql else sa.Text()
    op.add_column(_TASK, sa.Column("message_id", sa.Text, nullable=False, server_default=""))
    if on_postgresql:
        # Both, because columns of different collations cannot be compared. Neither table is rewritten.
        for table in (_TASK, _EVENT):
            op.alter_column(table, "task_id", type_=task_id, existing_type=sa.Text)
    op.drop_index("opencode_a2a_task_principal", _TASK)
    op.drop_index("opencode_a2a_task_context", _TASK)
    paged = ["updated_at", "task_id", "state"]
    op.create_index("opencode_a2a_task_principal", _TASK, ["principal", *paged])
    op.create_index("opencode_a2a_task_context", _TASK, ["principal", "context_id", *paged])
    op.create_index("opencode_a2a_task_message", _TASK, ["principal", "message_id", "context_id"])
    op.create_table(
        "opencode_a2a_prunable",
        sa.Column("task_id", task_id, primary_key=True),
        sa.Column("finished_at", sa.BigInteger, nullable=False),
    )
    op.create_index("opencode_a2a_prunable_finished", "opencode_a2a_prunable", ["finished_at"])
    # The first schema removed the event rows of finished tasks, but not those beyond the last snapshot.
    op.execute(
        f"INSERT INTO opencode_a2a_prunable (task_id, finished_at) SELECT task_id, updated_at FROM {_TASK}"
        f" WHERE finished AND task_id IN (SELECT task_id FROM {_EVENT})"
    )
    op.create_table(
        "opencode_a2a_session",
        sa.Column("session_id", sa.Text, primary_key=True),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("claimed_until", sa.BigInteger),
        sa.Column("place", sa.Text, nullable=False),
    )
    op.create_table(
        "opencode_a2a_push",
        sa.Column("task_id", task_id, primary_key=True),
        sa.Column("config_id", sa.Text, primary_key=True),
        sa.Column("form", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("cursor", sa.BigInteger, nullable=False),
        sa.Column("finished", sa.Boolean, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    unfinished = sa.column("finished", sa.Boolean) == sa.false()
    op.create_index(
        "opencode_a2a_push_unfinished",
        "opencode_a2a_push",
        ["finished"],
        sqlite_where=unfinished,
        postgresql_where=unfinished,
    )
