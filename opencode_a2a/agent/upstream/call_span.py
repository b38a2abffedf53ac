"""The span of a request to OpenCode, for whatever request or turn it is made; what nobody asked for has none.

The attributes are those of OpenTelemetry's semantic conventions for HTTP clients. The query names directories, and is
not among them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opencode_a2a.tracing.exchange_span import ExchangeSpan
from opencode_a2a.tracing.spans import CURRENT, NO_ATTRIBUTES, SpanKind, Tracer
from sansio.opencode.upstream.faults import TaskFailure
from sansio.opencode.upstream.identifiers import path_template
from sansio.opencode.upstream.requests import UpstreamCall


@contextmanager
def call_span(tracer: Tracer, call: UpstreamCall, host: str, port: int) -> Iterator[ExchangeSpan]:
    """Record a request from its first attempt to the end of its answer."""
    parent = CURRENT.get()
    if parent is None:
        yield ExchangeSpan()
        return
    name, attributes = call.method, NO_ATTRIBUTES
    if tracer.records(parent):
        template = path_template(call.target)
        name = f"{call.method} {template}"
        attributes = {
            "http.request.method": call.method,
            "url.template": template,
            "server.address": host,
            "server.port": port,
        }
    with ExchangeSpan(tracer.start(name, SpanKind.CLIENT, parent, attributes)) as exchange:
        try:
            yield exchange
        except Exception as exc:
            failure = getattr(exc, "failure", None)
            if isinstance(failure, TaskFailure):
                exchange.failed(failure.type, failure.status)
            raise
