"""The span of a request: begun from its trace headers, ended with its answer.

The name and the attributes are those of OpenTelemetry's semantic conventions for HTTP servers: the method and the
template of the path. A request by JSON-RPC, which all have one path, is named by its own method instead. The query is
not among the attributes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from opencode_a2a.logs import plain
from opencode_a2a.tracing.spans import NO_ATTRIBUTES, NO_TRACER, Attributes, Span, SpanKind, Tracer
from sansio.a2a.bindings import grpc
from sansio.a2a.bindings.http_messages import Outcome, Request
from sansio.a2a.bindings.trace_context import HEADER, trace_context_of
from sansio.a2a.errors import ErrorKind
from sansio.a2a.serving.rpc_call import PATH as RPC_PATH
from sansio.http import HEALTH_PATH, METRICS_PATH, PROBE_PATHS, route_template

_UNRECORDED: Final = PROBE_PATHS | grpc.HEALTH_PATHS | {HEALTH_PATH, METRICS_PATH}
"""The paths that programs ask for many times a minute."""

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})
_PATH: Final = 256  # characters
_NAME: Final = 80  # characters of a name or an id that a caller chose


def begin_request_span(tracer: Tracer, request: Request, scope: Mapping[str, Any]) -> Span:
    """Begin the span of a request; note it in the request, and its trace in the outcome. `scope`: ASGI's."""
    if request.path in _UNRECORDED:
        tracer = NO_TRACER
    parent = trace_context_of(request.headers)
    name, attributes = "", NO_ATTRIBUTES
    if tracer.records(parent):
        route = route_template(request.method, request.path)
        name = span_name(request.method, route)
        attributes = server_attributes(request.method, request.path, route, request.headers, scope)
    span = tracer.start(name, SpanKind.SERVER, parent, attributes)
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
            if request.path == RPC_PATH and _is_known(outcome):
                span.rename(f"{request.method} {operation}")
        if outcome.task_id is not None:
            found["a2a.task.id"] = plain(outcome.task_id, _NAME)
        if outcome.error is not None:
            found["a2a.error.reason"] = outcome.error.reason
        if outcome.status is not None:
            found["http.response.status_code"] = outcome.status
        span.set(found)
        error = "client_left" if outcome.status is None else str(outcome.status) if outcome.status >= 500 else ""
    span.end(error)


def _is_known(outcome: Outcome) -> bool:
    """Whether the method of a JSON-RPC request is one of ours. Names of spans are few: no text of the caller's."""
    return bool(outcome.label) and (outcome.error is None or outcome.error.kind is not ErrorKind.METHOD_NOT_FOUND)


def trace_headers(request: Request) -> tuple[tuple[str, str], ...]:
    """Return the headers by which an answer names its trace, and the span to look for.

    Level 1 of the standard has none for answers. That of the draft of level 2, `traceresponse`, says the same.
    """
    return () if request.trace is None else ((HEADER, request.trace.traceparent),)


def span_name(method: str, route: str | None) -> str:
    """Return the name of a request's span: the method and the template of its path, as far as they are known."""
    known = method if method in _METHODS else "HTTP"
    return known if route is None else f"{known} {route}"


def server_attributes(
    method: str, path: str, route: str | None, headers: Mapping[str, str], scope: Mapping[str, Any]
) -> Attributes:
    """Return the attributes that a request has before it is answered. `headers`: by lower-case names."""
    host, _, port = headers.get("host", "").rpartition(":")
    if not (port.isascii() and port.isdigit()):
        host, port = headers.get("host", ""), ""
    found: dict[str, str | int | float | bool] = {
        "http.request.method": method if method in _METHODS else "_OTHER",
        "url.path": plain(path, _PATH),
        "url.scheme": scope.get("scheme", "http"),
        "network.protocol.version": scope.get("http_version", ""),
    }
    if route is not None:
        found["http.route"] = route
    if host:
        found["server.address"] = plain(host, _NAME)
    if port:
        found["server.port"] = int(port[:5])
    return found
