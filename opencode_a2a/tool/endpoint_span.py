"""The span of a request to the tool's endpoint, as a part of the turn whose call it brings.

OpenCode passes no trace on, and the turn of a call is found only after the call has come. So the span begins late,
with the time of the request: once a call's turn is found, or at the end where none is.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, MutableMapping
from types import TracebackType
from typing import Any, Final, Self

from opencode_a2a.server.http.asgi import Scope, Send
from opencode_a2a.server.http.request_span import server_attributes, span_name
from opencode_a2a.tracing.spans import NO_ATTRIBUTES, Span, SpanKind, Tracer
from sansio.a2a.bindings.trace_context import TraceContext, trace_context_of

_FAILED: Final = 500


class EndpointSpan:
    """The span of one request; use it in a `with`. `headers`: by lower-case names; `route`: the endpoint's path."""

    def __init__(self, tracer: Tracer, scope: Scope, headers: Mapping[str, str], route: str) -> None:
        self._tracer = tracer
        self._scope = scope
        self._headers = headers
        self._route = route
        self._begun = time.time_ns()
        self._span: Span | None = None
        self._status: int | None = None

    def within(self, turn: TraceContext | None) -> TraceContext:
        """Return the parent of a call's span. `turn`: the span of its turn; None where that is not known.

        That is the request's own span, which the first call makes a part of its turn. Another turn's call in the same
        request keeps its own turn as the parent: a span has one trace.
        """
        if self._span is None:
            self._span = self._begin(turn)
        own = self._span.context
        return own if turn is None or turn.trace_id == own.trace_id else turn

    def sending(self, send: Send) -> Send:
        """Return `send`, which notes the status of the answer."""

        async def noting(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                self._status = message["status"]
            await send(message)

        return noting

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        span = self._begin(None) if self._span is None else self._span
        if self._status is None:
            span.end("client_left")
            return
        span.set({"http.response.status_code": self._status})
        span.end(str(self._status) if self._status >= _FAILED else "")

    def _begin(self, turn: TraceContext | None) -> Span:
        """Begin the span. A client that passes the turn's trace on knows the parent better than the turn does."""
        given = trace_context_of(self._headers)
        parent = given if turn is None or (given is not None and given.trace_id == turn.trace_id) else turn
        method, attributes = self._scope["method"], NO_ATTRIBUTES
        if self._tracer.records(parent):
            attributes = server_attributes(method, self._route, self._route, self._headers, self._scope)
        return self._tracer.start(
            span_name(method, self._route), SpanKind.SERVER, parent, attributes, begun=self._begun
        )
