"""A record of what was imported from the tables of earlier releases."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "opencode_a2a_import",
        sa.Column("source", sa.Text, primary_key=True),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("imported_at", sa.BigInteger, nullable=False),
    )
