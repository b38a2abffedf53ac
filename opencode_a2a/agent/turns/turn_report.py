"""Two lines in the log for each turn, when it begins and ends: its task, its session, how it ended, how long it took.
Attributes of its span.

Holds no text of the turn, whether of a person, the model or the provider, but for an error text that no client
may read: that is logged in full, without credentials, with the reference that the client has.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from opencode_a2a.logs import log_event, plain
from opencode_a2a.server.tasks.active_task import ActiveTask
from sansio.a2a.codecs.json_values import object_at
from sansio.a2a.model import Task, TaskState
from sansio.opencode.upstream.faults import TaskFailure
from sansio.opencode.upstream.plain_reasons import redact_text
from sansio.opencode.upstream.requests import Model

_log = logging.getLogger(__name__)

_ID = 128  # characters of an id or a name
_DETAIL_LIMIT = 4000  # characters of an error text

_TROUBLED = frozenset({TaskState.FAILED, TaskState.AUTH_REQUIRED, TaskState.REJECTED})


def log_turn_begun(active: ActiveTask, seconds: float) -> None:
    """Log at INFO that OpenCode gets the prompt of a turn. `seconds`: for which it waited for its place."""
    if _log.isEnabledFor(logging.INFO):
        milliseconds = round(seconds * 1000)
        message = f"begun after {milliseconds} ms"
        log_event(_log, logging.INFO, message, _fields(active), {"turn": "begun", "waited_ms": milliseconds})


def log_turn(active: ActiveTask, seconds: float, failure: TaskFailure | None = None) -> None:
    """Log the end of a turn: at WARNING where it failed or wants other credentials, else at INFO.

    An error text that its client was not given is logged with the reference that it has instead.
    """
    state = active.log.state
    level = logging.WARNING if state in _TROUBLED else logging.INFO
    if not _log.isEnabledFor(level):
        return
    milliseconds = round(seconds * 1000)
    log_event(
        _log,
        level,
        f"{state.value} {milliseconds} ms",
        {**_fields(active), **(_why(active.task()) if state in _TROUBLED else {})},
        {"turn": "ended", "state": state.value, "duration_ms": milliseconds},
    )
    if failure is not None and failure.detail:
        text = plain(redact_text(failure.detail), _DETAIL_LIMIT)
        _log.log(level, "task=%s reference=%s %s", active.facts.task_id, failure.reference, text)


def describe_turn(active: ActiveTask, model: Model | None) -> None:
    """Add to the task's span what OpenCode makes known of the turn. `model`: the one that the message asks for."""
    span = active.span
    if span is None or not span.recording:
        return
    found: dict[str, str | int | float | bool] = {}
    if active.session_id is not None:
        found["opencode.session.id"] = active.session_id[:_ID]
    if model is not None:
        found["gen_ai.provider.name"] = model.provider_id[:_ID]
        found["gen_ai.request.model"] = model.model_id[:_ID]
    usage = object_at(active.task().metadata or {}, "shared", "usage")
    for name in ("input_tokens", "output_tokens"):
        if isinstance(count := usage.get(name), int):
            found[f"gen_ai.usage.{name}"] = count
    span.set(found)


def _fields(active: ActiveTask) -> dict[str, object]:
    facts = active.facts
    return {
        "task": facts.task_id,
        "context": facts.context_id,
        "session": active.session_id or "none",
        "principal": facts.principal,
        "trace": active.trace.trace_id if active.trace is not None else None,
    }


def _why(task: Task) -> dict[str, object]:
    """The type of the error and the upstream status, as the task's metadata says them."""
    opencode = (task.metadata or {}).get("opencode")
    error = opencode.get("error") if isinstance(opencode, Mapping) else None
    if not isinstance(error, Mapping):
        return {}
    return {"error": str(error.get("type")), "upstream_status": error.get("upstream_status")}
