"""One line in the log for each request: what was asked, by whom, what came of it, and how long it took.

Holds nothing of what a message says; what a caller chose (paths, names, ids) is cut and without control characters.
"""

from __future__ import annotations

import logging

from opencode_a2a.logs import plain
from sansio.a2a.bindings.http_messages import Request
from sansio.a2a.errors import ProtocolError
from sansio.http import PROBE_PATHS

_log = logging.getLogger(__name__)

_NAME = 80  # characters of a name or an id that a caller chose


def log_request(request: Request, seconds: float) -> None:
    """Log a request at INFO, once it is answered; a probe's at DEBUG, of which there are many a minute."""
    level = logging.DEBUG if request.path in PROBE_PATHS else logging.INFO
    if not _log.isEnabledFor(level):
        return
    outcome = request.outcome
    words = [plain(request.method, _NAME), plain(request.path)]
    if outcome.operation is not None:
        words.append(plain(outcome.operation, _NAME))
    words.append("client-left" if outcome.status is None else str(outcome.status))
    words.append(f"{seconds * 1000:.1f} ms")
    if outcome.principal is not None:
        words.append(f"principal={plain(outcome.principal, _NAME)}")
    if outcome.task_id is not None:
        words.append(f"task={plain(outcome.task_id, _NAME)}")
    if outcome.error is not None:
        words.append(_refusal(outcome.error))
    _log.log(level, "%s", " ".join(words))


def _refusal(error: ProtocolError) -> str:
    """Why a request was refused: the kind of error and the fields it is about, never their values."""
    fields = ",".join(violation.field for violation in error.violations[:4])
    about = f" fields={plain(fields)}" if fields else ""
    return f"refused={plain(error.reason)}{about}"
