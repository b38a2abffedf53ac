"""Tasks are found by the id of their message alone, the newest first."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    columns = ["principal", "message_id", "created_at", "task_id"]
    op.create_index("opencode_a2a_task_repeat", "opencode_a2a_task", columns)
