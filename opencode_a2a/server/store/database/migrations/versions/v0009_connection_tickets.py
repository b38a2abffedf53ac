"""Tickets by which pages open WebSocket connections, for all servers that share a database.

A server of the schema before can go on working: it keeps its own tickets to itself.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "opencode_a2a_connection_ticket",
        sa.Column("digest", sa.LargeBinary, primary_key=True),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    for name, columns in (("principal", ["principal", "expires_at"]), ("expires", ["expires_at"])):
        op.create_index(f"opencode_a2a_connection_ticket_{name}", "opencode_a2a_connection_ticket", columns)
