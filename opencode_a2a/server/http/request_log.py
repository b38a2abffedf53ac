"""One line in the log for each request: what was asked, by whom, what came of it, and how long it took.

Holds nothing of what a message says; what a caller chose (paths, names, ids) is cut and without control characters.
"""

from __future__ import annotations

import logging

from opencode_a2a.log_format import word
from opencode_a2a.logs import log_event
from sansio.a2a.bindings import grpc
from sansio.a2a.bindings.http_messages import Outcome, Request
from sansio.a2a.errors import ErrorKind, ProtocolError
from sansio.http import PROBE_PATHS

_log = logging.getLogger(__name__)

_NAME = 80  # characters of a name or an id that a caller chose


def log_request(request: Request, seconds: float) -> None:
    """Log a request at INFO, once it is answered; a probe's at DEBUG, of which there are many a minute."""
    level = logging.DEBUG if request.path in PROBE_PATHS or request.path in grpc.HEALTH_PATHS else logging.INFO
    if not _log.isEnabledFor(level):
        return
    outcome = request.outcome
    words = [word(request.method, _NAME), word(request.path)]
    if outcome.operation is not None:
        words.append(word(outcome.operation, _NAME))
    words.append("client-left" if outcome.status is None else str(outcome.status))
    words.append(f"{seconds * 1000:.1f} ms")
    log_event(
        _log,
        level,
        " ".join(words),
        {
            "principal": outcome.principal,
            "credential": outcome.credential_id,
            "task": outcome.task_id,
            "context": outcome.context_id,
            "session": outcome.session_id,
            "trace": outcome.trace_id,
            **_refusal(outcome.error),
        },
        {
            "method": request.method,
            "path": request.path,
            "operation": outcome.operation,
            "status": outcome.status,
            "duration_ms": round(seconds * 1000, 1),
            "outcome": outcome_of(outcome),
        },
    )


def outcome_of(outcome: Outcome) -> str:
    """Name what came of a request: `ok`, `refused`, `failed` for an error of ours, `client-left`."""
    if outcome.status is None:
        return "client-left"
    if outcome.error is None:
        return "ok"
    return "failed" if outcome.error.kind is ErrorKind.INTERNAL_ERROR else "refused"


def _refusal(error: ProtocolError | None) -> dict[str, str]:
    """Why a request was refused: the kind of error and the fields it is about, never their values."""
    if error is None:
        return {}
    fields = ",".join(violation.field for violation in error.violations[:4])
    return {"refused": error.reason, "fields": fields} if fields else {"refused": error.reason}
