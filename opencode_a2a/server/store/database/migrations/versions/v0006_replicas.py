"""Servers that share a database, and which of them works on a task.

A server of the schema before can go on working: it leaves the new column empty, and the new tables alone.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "opencode_a2a_replica",
        sa.Column("replica_id", sa.Text, primary_key=True),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("began_at", sa.BigInteger, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
    )
    op.add_column("opencode_a2a_task", sa.Column("replica_id", sa.Text))
    op.create_table(
        "opencode_a2a_ticket",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("holder", sa.Text, primary_key=True),
        sa.Column("position", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("replica_id", sa.Text, nullable=False),
    )
    op.create_index("opencode_a2a_ticket_position", "opencode_a2a_ticket", ["key", "position"])
    op.create_index("opencode_a2a_ticket_holder", "opencode_a2a_ticket", ["holder"])
    op.create_table(
        "opencode_a2a_command",
        sa.Column("command_id", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("replica_id", sa.Text, nullable=False),
        sa.Column("asked_by", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("answer", sa.LargeBinary),
    )
    op.create_index("opencode_a2a_command_replica", "opencode_a2a_command", ["replica_id", "number"])
    op.create_index("opencode_a2a_command_asked_by", "opencode_a2a_command", ["asked_by"])
