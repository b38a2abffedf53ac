"""The settings of how long tasks are kept, and how many.

Knows no store.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from opencode_a2a.config import settings_values as values
from opencode_a2a.config.groups.settings_identity import IdentitySettings
from opencode_a2a.config.settings_rows import row

_KEPT: Final = "How long tasks are kept"


@frozen(kw_only=True, init=False, repr=False, eq=False)
class RetentionSettings(IdentitySettings):
    """The rows of retention."""

    task_retention_seconds: float = row(
        _KEPT,
        "A2A_TASK_RETENTION_SECONDS",
        values.seconds(zero=True),
        0.0,
        "how long a task is kept after its end, with everything that is its own: seconds; 0 keeps it for ever",
    )
    max_tasks_per_principal: int = row(
        _KEPT,
        "A2A_MAX_TASKS_PER_PRINCIPAL",
        values.whole(0),
        0,
        "how many tasks a principal has at most; the ones that ended first go first: a whole number; 0 sets no limit",
    )
