"""The first schema: tasks, their events, and the sessions contexts are bound to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "opencode_a2a_task",
        sa.Column("task_id", sa.Text, primary_key=True),
        sa.Column("context_id", sa.Text, nullable=False),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("finished", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("session_id", sa.Text),
        sa.Column("prompt_id", sa.Text),
        sa.Column("last_seq", sa.BigInteger, nullable=False),
        sa.Column("snapshot", sa.LargeBinary, nullable=False),
        sa.Column("options", sa.LargeBinary, nullable=False),
    )
    op.create_index("opencode_a2a_task_principal", "opencode_a2a_task", ["principal", "updated_at"])
    op.create_index("opencode_a2a_task_context", "opencode_a2a_task", ["context_id"])
    unfinished = sa.column("finished", sa.Boolean) == sa.false()
    op.create_index(
        "opencode_a2a_task_unfinished",
        "opencode_a2a_task",
        ["finished"],
        sqlite_where=unfinished,
        postgresql_where=unfinished,
    )
    op.create_table(
        "opencode_a2a_task_event",
        sa.Column("task_id", sa.Text, primary_key=True),
        sa.Column("first_seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("last_seq", sa.BigInteger, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "opencode_a2a_binding",
        sa.Column("principal", sa.Text, primary_key=True),
        sa.Column("context_id", sa.Text, primary_key=True),
        sa.Column("session_id", sa.Text, nullable=False),
    )
    op.create_index("opencode_a2a_binding_session", "opencode_a2a_binding", ["session_id"])
