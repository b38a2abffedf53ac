"""Finished tasks are found by when they finished, to be removed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    finished = sa.column("finished", sa.Boolean) == sa.true()
    op.create_index(
        "opencode_a2a_task_finished",
        "opencode_a2a_task",
        ["updated_at", "task_id"],
        sqlite_where=finished,
        postgresql_where=finished,
    )
