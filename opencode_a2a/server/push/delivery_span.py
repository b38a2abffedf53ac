"""The span of an attempt to deliver a push notification, and the headers by which the receiver continues the trace.

Of the receiver's URL it has the host and the port: the path may be a secret of the receiver's.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from opencode_a2a.server.tasks.active_task import ActiveTask
from opencode_a2a.tracing.exchange_span import ExchangeSpan
from opencode_a2a.tracing.spans import NO_ATTRIBUTES, SpanKind, Tracer


def delivery_span(tracer: Tracer, active: ActiveTask, url: str, failures: int) -> ExchangeSpan:
    """Begin the span of an attempt that follows so many failures. Without a trace of the task's, a new one begins."""
    attributes = NO_ATTRIBUTES
    if tracer.records(active.trace):
        parts = urlsplit(url)
        attributes = {
            "http.request.method": "POST",
            "server.address": (parts.hostname or "")[:255],
            "server.port": parts.port or (443 if parts.scheme == "https" else 80),
            "http.request.resend_count": failures,
            "a2a.task.id": active.facts.task_id,
        }
    return ExchangeSpan(tracer.start("POST push notification", SpanKind.CLIENT, active.trace, attributes))
