"""Spans of OpenTelemetry, sent to a collector by OTLP over HTTP. Needs the extra `otel`.

The SDK reads its variables `OTEL_…` itself. Spans are encoded and sent by a thread of its own. Nothing of the SDK is
made global: what else runs in the process stays as it is.
"""

from __future__ import annotations

import logging
import time
from threading import Thread
from typing import Final

import anyio
import anyio.to_thread
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)
from opentelemetry.trace import Span as SdkSpan
from opentelemetry.trace import SpanKind as SdkKind

from opencode_a2a.tracing.spans import NO_ATTRIBUTES, Attributes, Span, SpanKind
from sansio.a2a.bindings.trace_context import TraceContext

CLOSING_SECONDS: Final = 2.0
"""Seconds that the end of the program waits for spans that are not sent yet."""

_SERVICE: Final = "opencode-a2a"
_COMPLAINT_SECONDS: Final = 60.0  # between two lines in the log about a collector that takes nothing
_EXPORTERS_LOG: Final = logging.getLogger(OTLPSpanExporter.__module__)
_KINDS: Final = {
    SpanKind.SERVER: SdkKind.SERVER,
    SpanKind.CLIENT: SdkKind.CLIENT,
    SpanKind.INTERNAL: SdkKind.INTERNAL,
}
_NO_PARENT: Final = Context()
_FAILED: Final = Status(StatusCode.ERROR)


class RecordedSpan:
    """A span of the SDK's. One that the sampler leaves out has a context all the same."""

    def __init__(self, span: SdkSpan) -> None:
        self._span = span
        self._context: TraceContext | None = None

    @property
    def context(self) -> TraceContext:
        """The span as the parent of others."""
        if self._context is None:
            own = self._span.get_span_context()
            state = own.trace_state.to_header() if own.trace_state else ""
            trace_id, span_id = f"{own.trace_id:032x}", f"{own.span_id:016x}"
            self._context = TraceContext(trace_id, span_id, own.trace_flags.sampled, state)
        return self._context

    @property
    def recording(self) -> bool:
        """Whether it is sent once it has ended."""
        return self._span.is_recording()

    def rename(self, name: str) -> None:
        """Change the name."""
        self._span.update_name(name)

    def set(self, attributes: Attributes) -> None:
        """Add attributes."""
        self._span.set_attributes(attributes)

    def end(self, error: str = "") -> None:
        """End the span."""
        if error:
            self._span.set_attribute("error.type", error)
            self._span.set_status(_FAILED)
        self._span.end()


class OpenTelemetryTracer:
    """Records spans, and sends them. `version`: of the server. Raises errors of any type for bad variables."""

    records = True

    def __init__(self, version: str) -> None:
        own = Resource({SERVICE_NAME: _SERVICE, SERVICE_VERSION: version})
        resource = own.merge(OTELResourceDetector().detect())  # what the variables say goes before it
        self._provider = TracerProvider(resource=Resource.create().merge(resource), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer(_SERVICE, version)
        self._seldom = _Seldom()
        _EXPORTERS_LOG.addFilter(self._seldom)

    def start(
        self,
        name: str,
        kind: SpanKind,
        parent: TraceContext | None,
        attributes: Attributes = NO_ATTRIBUTES,
        *,
        begun: int | None = None,
    ) -> Span:
        """Begin a span; without a parent, a trace. The sampler decides on it by its parent."""
        context = _NO_PARENT if parent is None else _context_of(parent, remote=kind is SpanKind.SERVER)
        return RecordedSpan(self._tracer.start_span(name, context, _KINDS[kind], attributes, start_time=begun))

    async def close(self) -> None:
        """Send what is left, in `CLOSING_SECONDS` at most. A collector that hangs does not hold the program up."""
        closing = Thread(target=self._provider.shutdown, name="traces", daemon=True)
        closing.start()
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(closing.join, CLOSING_SECONDS)
        _EXPORTERS_LOG.removeFilter(self._seldom)


def _context_of(parent: TraceContext, *, remote: bool) -> Context:
    state = TraceState.from_header([parent.state]) if parent.state else None
    flags = TraceFlags(TraceFlags.SAMPLED if parent.sampled else TraceFlags.DEFAULT)
    own = SpanContext(int(parent.trace_id, 16), int(parent.span_id, 16), remote, flags, state)
    return set_span_in_context(NonRecordingSpan(own), _NO_PARENT)


class _Seldom(logging.Filter):
    """Lets one record through now and then: the exporter reports each attempt, several times a batch."""

    _next = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + _COMPLAINT_SECONDS
        return True
