"""The span of a request: begun from its trace headers, ended with its answer.

The attributes are those of OpenTelemetry's semantic conventions for HTTP servers. The query is not among them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from opencode_a2a.logs import plain
from opencode_a2a.tracing.spans import NO_ATTRIBUTES, NO_TRACER, Attributes, Span, SpanKind, Tracer
from sansio.a2a.bindings.http_messages import Request
from sansio.a2a.bindings.trace_context import HEADER, trace_context_of
from sansio.a2a.errors import ErrorKind
from sansio.http import HEALTH_PATH, PROBE_PATHS

_UNRECORDED: Final = PROBE_PATHS | {HEALTH_PATH}  # an orchestrator asks for them many times a minute
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})
_PATH: Final = 256  # characters
_NAME: Final = 80  # characters of a name or an id that a caller chose


def begin_request_span(tracer: Tracer, request: Request, scope: Mapping[str, Any]) -> Span:
    """Begin the span of a request; note it in the request, and its trace in the outcome. `scope`: ASGI's."""
    if request.path in _UNRECORDED:
        tracer = NO_TRACER
    attributes = _attributes(request, scope) if tracer.records else NO_ATTRIBUTES
    name = request.method if request.method in _METHODS else "HTTP"
    span = tracer.start(name, SpanKind.SERVER, trace_context_of(request.headers), attributes)
    request.trace = span.context
    request.outcome.trace_id = span.context.trace_id
    return span


def end_request_span(span: Span, request: Request) -> None:
    """End the span of a request once it is answered, or its client has left."""
    outcome = request.outcome
    error = ""
    if span.recording:
        found: dict[str, str | int | float | bool] = {}
        if outcome.operation is not None:
            found["a2a.operation"] = operation = plain(outcome.operation, _NAME)
            if outcome.error is None or outcome.error.kind is not ErrorKind.METHOD_NOT_FOUND:
                span.rename(f"{request.method} {operation}")  # names of spans are few: no text of the caller's
        if outcome.task_id is not None:
            found["a2a.task.id"] = plain(outcome.task_id, _NAME)
        if outcome.error is not None:
            found["a2a.error.reason"] = outcome.error.reason
        if outcome.status is not None:
            found["http.response.status_code"] = outcome.status
        span.set(found)
        error = "client_left" if outcome.status is None else str(outcome.status) if outcome.status >= 500 else ""
    span.end(error)


def trace_headers(request: Request) -> tuple[tuple[str, str], ...]:
    """Return the headers by which an answer names its trace, and the span to look for.

    Level 1 of the standard has none for answers. That of the draft of level 2, `traceresponse`, says the same.
    """
    return () if request.trace is None else ((HEADER, request.trace.traceparent),)


def _attributes(request: Request, scope: Mapping[str, Any]) -> Attributes:
    host, _, port = request.headers.get("host", "").rpartition(":")
    if not port.isdigit():
        host, port = request.headers.get("host", ""), ""
    found: dict[str, str | int | float | bool] = {
        "http.request.method": request.method if request.method in _METHODS else "_OTHER",
        "url.path": plain(request.path, _PATH),
        "url.scheme": scope.get("scheme", "http"),
        "network.protocol.version": scope.get("http_version", ""),
    }
    if host:
        found["server.address"] = plain(host, _NAME)
    if port:
        found["server.port"] = int(port[:5])
    return found
