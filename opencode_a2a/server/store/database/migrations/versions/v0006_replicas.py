"""Servers that share a database, and which of them works on a task.

A server of the schema before can go on working: it leaves the new column empty, and the new table alone.
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
