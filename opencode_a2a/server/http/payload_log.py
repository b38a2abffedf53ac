"""The bodies of requests and answers in the log, at DEBUG, for an operator who asks for them. They are cut.

Never those of `opencode.sessions.…`, which hold whole conversations of OpenCode, nor of a request that was not
understood, which may be one of them. A stream's answer is left out: its events are in its task.
"""

from __future__ import annotations

import base64
import logging
from typing import Final

from attrs import frozen

from opencode_a2a.log_format import word
from opencode_a2a.logs import log_event
from sansio.a2a.bindings.grpc import is_grpc
from sansio.a2a.bindings.http_messages import Request, Response
from sansio.a2a.errors import ErrorKind

_log = logging.getLogger(__name__)

MOST: Final = 16_384
"""Bytes of a body that are logged at most."""
WITHHELD: Final = "opencode.sessions."
"""The beginning of the names of methods whose bodies are never logged."""


@frozen
class PayloadLog:
    """`limit`: bytes of each body that are logged."""

    limit: int

    @classmethod
    def of(cls, on: bool, limit: int) -> PayloadLog | None:
        """Make it as the settings say: None where it is off. A `limit` of 0, the default of 1.4.0, is the most."""
        return cls(min(limit or MOST, MOST)) if on else None

    def log(self, request: Request, answer: Response | None) -> None:
        """Log a request's body, and that of its answer; None: it is a stream."""
        if not _log.isEnabledFor(logging.DEBUG) or not request.outcome.label:
            return
        name, error = request.outcome.operation or "", request.outcome.error
        unknown = error is not None and error.kind is ErrorKind.METHOD_NOT_FOUND
        if unknown or name.startswith(WITHHELD):
            log_event(_log, logging.DEBUG, f"{word(name, 80)} is withheld", self._fields(request))
            return
        if request.body:
            self._body(request, "request", request.body[: self.limit], len(request.body))
        if answer is not None:
            self._body(request, "answer", self._beginning(answer), answer.length)

    def _body(self, request: Request, kind: str, body: bytes, length: int) -> None:
        text = base64.b64encode(body).decode() if is_grpc(request.headers) else body.decode("utf-8", "replace")
        text += "…" if length > len(body) else ""
        message = f"{kind} {word(request.outcome.operation or '', 80)} {length} bytes"
        log_event(_log, logging.DEBUG, message, self._fields(request), {"payload": kind, "bytes": length}, body=text)

    def _beginning(self, answer: Response) -> bytes:
        found = answer.body[: self.limit]
        for piece in answer.more:
            if len(found) >= self.limit:
                break
            found += piece[: self.limit - len(found)]
        return found

    def _fields(self, request: Request) -> dict[str, object]:
        return {"task": request.outcome.task_id, "trace": request.outcome.trace_id}
