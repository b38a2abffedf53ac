"""The span of a request: begun from its trace headers, ended with its answer.

The attributes are those of OpenTelemetry's semantic conventions for HTTP servers. The query is not among them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from opencode_a2a.logs import plain
from opencode_a2a.tracing.spans import Attributes, Span, SpanKind, Tracer
from sansio.a2a.bindings.http_messages import Request
from sansio.a2a.bindings.trace_context import HEADER, trace_context_of

_PATH: Final = 256  # characters
_NAME: Final = 80  # characters of a name or an id that a caller chose


def begin_request_span(tracer: Tracer, request: Request, scope: Mapping[str, Any]) -> Span:
    """Begin the span of a request; note it in the request, and its trace in the outcome. `scope`: ASGI's."""
    span = tracer.start(request.method, SpanKind.SERVER, trace_context_of(request.headers))
    request.trace = span.context
    request.outcome.trace_id = span.context.trace_id
    if span.recording:
        span.set(_attributes(request, scope))
    return span


def end_request_span(span: Span, request: Request) -> None:
    """End the span of a request once it is answered, or its client has left."""
    outcome = request.outcome
    error = ""
    if span.recording:
        if outcome.operation is not None:
            span.set({"rpc.method": plain(outcome.operation, _NAME)})
        if outcome.task_id is not None:
            span.set({"a2a.task.id": plain(outcome.task_id, _NAME)})
        if outcome.error is not None:
            span.set({"a2a.error.reason": outcome.error.reason})
        if outcome.status is None:
            error = "client_left"
        else:
            span.set({"http.response.status_code": outcome.status})
            error = str(outcome.status) if outcome.status >= 500 else ""
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
        "http.request.method": plain(request.method, _NAME),
        "url.path": plain(request.path, _PATH),
        "url.scheme": scope.get("scheme", "http"),
        "network.protocol.version": scope.get("http_version", ""),
    }
    if host:
        found["server.address"] = plain(host, _NAME)
    if port:
        found["server.port"] = int(port[:5])
    return found
