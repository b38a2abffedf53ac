"""Where tasks and sessions can be worked on, of the places that an agent has.

A server of the schema before can go on working: it leaves the new columns at their default, the first place.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    for table in ("opencode_a2a_task", "opencode_a2a_binding", "opencode_a2a_session"):
        op.add_column(table, sa.Column("affinity", sa.Text, nullable=False, server_default=""))
