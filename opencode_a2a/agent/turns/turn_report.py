"""One line in the log for each turn: its task, its session, how it ended, and how long it took.

Holds no text of the turn, whether of a person, the model or the provider, but for an error text that no client
may read: that is logged in full, without credentials, with the reference that the client has.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from opencode_a2a.logs import plain
from opencode_a2a.server.tasks.active_task import ActiveTask
from sansio.a2a.model import Task, TaskState
from sansio.opencode.upstream.faults import TaskFailure
from sansio.opencode.upstream.plain_reasons import redact_text

_log = logging.getLogger(__name__)

_DETAIL_LIMIT = 4000  # characters of an error text

_TROUBLED = frozenset({TaskState.FAILED, TaskState.AUTH_REQUIRED, TaskState.REJECTED})


def log_turn(active: ActiveTask, seconds: float, failure: TaskFailure | None = None) -> None:
    """Log the end of a turn: at WARNING where it failed or wants other credentials, else at INFO.

    An error text that its client was not given is logged with the reference that it has instead.
    """
    state = active.log.state
    level = logging.WARNING if state in _TROUBLED else logging.INFO
    if not _log.isEnabledFor(level):
        return
    why = _why(active.task()) if state in _TROUBLED else ""
    _log.log(
        level,
        "task=%s session=%s principal=%s %s %.0f ms%s",
        active.facts.task_id,
        plain(active.session_id or "none", 80),
        plain(active.facts.principal, 80),
        state.value,
        seconds * 1000,
        why,
    )
    if failure is not None and failure.detail:
        text = plain(redact_text(failure.detail), _DETAIL_LIMIT)
        _log.log(level, "task=%s reference=%s %s", active.facts.task_id, failure.reference, text)


def _why(task: Task) -> str:
    """The type of the error and the upstream status, as the task's metadata says them."""
    opencode = (task.metadata or {}).get("opencode")
    error = opencode.get("error") if isinstance(opencode, Mapping) else None
    if not isinstance(error, Mapping):
        return ""
    found = f" error={plain(error.get('type'), 80)}"
    status = error.get("upstream_status")
    return found if status is None else f"{found} upstream_status={plain(status, 20)}"
