"""Which of the servers that share a database delivers the notifications of a push configuration.

A server of the schema before can go on working: it leaves the new column as it is.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("opencode_a2a_push", sa.Column("replica_id", sa.Text))
