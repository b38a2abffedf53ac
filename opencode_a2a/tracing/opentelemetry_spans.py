"""Spans of OpenTelemetry, sent to a collector by OTLP over HTTP. Needs the extra `otel`.

The SDK reads the variables for the sampler, the resource and the limits. Its own spans are not used: one costs some
95 us of CPU to make and to encode, and these cost 7. A thread of its own encodes and sends them.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Mapping, Sequence
from typing import Final

import anyio
import anyio.to_thread
from attrs import define
from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanLimits as SdkLimits
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState, set_span_in_context
from opentelemetry.trace import SpanKind as SdkKind

from opencode_a2a.redaction import redacted
from opencode_a2a.tracing.otlp_sender import OtlpSender
from opencode_a2a.tracing.span_queue import QueueLimits, SpanQueue
from opencode_a2a.tracing.spans import NO_ATTRIBUTES, NO_TRACER, Attributes, Span, SpanKind, UnrecordedSpan
from sansio.a2a.bindings.trace_context import TraceContext
from sansio.otlp import CLIENT, INTERNAL, SERVER, EndedSpan, SpanEncoder, SpanLimits, Value

CLOSING_SECONDS: Final = 2.0
"""Seconds that the end of the program waits for spans that are not sent yet."""

_SERVICE: Final = "opencode-a2a"
_SAMPLER: Final = "OTEL_TRACES_SAMPLER"
_BY_PARENT: Final = frozenset({"", "parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio"})
_NUMBERS: Final = {SpanKind.SERVER: SERVER, SpanKind.CLIENT: CLIENT, SpanKind.INTERNAL: INTERNAL}
_KINDS: Final = {
    SpanKind.SERVER: SdkKind.SERVER,
    SpanKind.CLIENT: SdkKind.CLIENT,
    SpanKind.INTERNAL: SdkKind.INTERNAL,
}


@define(eq=False)
class RecordedSpan:
    """A span that is sent once it has ended. `ended` 0: it has not. See `EndedSpan` for the others."""

    _queue: SpanQueue
    name: str
    kind: int
    context: TraceContext
    parent: TraceContext | None
    remote: bool
    started: int
    attributes: dict[str, str | int | float | bool]
    ended: int = 0
    error: str = ""

    @property
    def recording(self) -> bool:
        """Whether it can still change."""
        return not self.ended

    def rename(self, name: str) -> None:
        """Change the name."""
        self.name = name

    def set(self, attributes: Attributes) -> None:
        """Add attributes."""
        if not self.ended:
            self.attributes.update(attributes)

    def end(self, error: str = "") -> None:
        """End the span, once."""
        if not self.ended:
            self.error = error
            self.ended = time.time_ns()
            self._queue.put(self)


class OpenTelemetryTracer:
    """Records spans, and sends them. `version`: of the server. Raises errors of any type for bad variables."""

    def __init__(self, version: str, environ: Mapping[str, str] = os.environ) -> None:
        own = Resource({SERVICE_NAME: _SERVICE, SERVICE_VERSION: version})
        resource = own.merge(OTELResourceDetector().detect())  # what the variables say goes before it
        provider = TracerProvider(resource=Resource.create().merge(resource), shutdown_on_exit=False)
        self._sampler = provider.sampler
        self._by_parent = environ.get(_SAMPLER, "").strip().lower() in _BY_PARENT
        limits = SdkLimits()
        self._encoder = SpanEncoder.of(
            {name: _plain(value) for name, value in provider.resource.attributes.items()},
            _SERVICE,
            version,
            SpanLimits(limits.max_span_attribute_length, limits.max_span_attributes),
        )
        self._sender = OtlpSender(environ, f"{_SERVICE}/{version}")
        self._queue = SpanQueue(QueueLimits.of(environ), self._send)

    def records(self, parent: TraceContext | None) -> bool:
        """Whether attributes may be of use: not in a trace whose parent was left out by its sampler."""
        return parent is None or parent.sampled or not self._by_parent

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
        if not self.records(parent):
            return NO_TRACER.start(name, kind, parent)
        span_id = f"{random.getrandbits(64) or 1:016x}"
        if parent is not None and self._by_parent:
            context = parent.child(span_id)
        else:
            context, attributes = self._sampled(name, kind, parent, attributes, span_id)
            if not context.sampled:
                return UnrecordedSpan(context)
        return RecordedSpan(
            self._queue,
            name,
            _NUMBERS[kind],
            context,
            parent,
            parent is not None and kind is SpanKind.SERVER,
            time.time_ns() if begun is None else begun,
            dict(attributes),
        )

    async def close(self) -> None:
        """Send what is left, in `CLOSING_SECONDS` at most. A collector that hangs does not hold the program up."""
        self._sender.close()
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._queue.close, CLOSING_SECONDS)

    def _sampled(
        self, name: str, kind: SpanKind, parent: TraceContext | None, attributes: Attributes, span_id: str
    ) -> tuple[TraceContext, Attributes]:
        """Ask the sampler; return the context of the span, and its attributes."""
        trace_id = random.getrandbits(128) or 1 if parent is None else int(parent.trace_id, 16)
        context = Context() if parent is None else _context_of(parent, remote=kind is SpanKind.SERVER)
        found = self._sampler.should_sample(context, trace_id, name, _KINDS[kind], dict(attributes), ())
        state = found.trace_state.to_header() if found.trace_state else ""
        sampled = found.decision is Decision.RECORD_AND_SAMPLE
        return TraceContext(f"{trace_id:032x}", span_id, sampled, state), {**attributes, **(found.attributes or {})}

    def _send(self, spans: Sequence[EndedSpan]) -> None:
        for span in spans:
            if isinstance(span, RecordedSpan):
                span.name = redacted(span.name)
                _hide_secrets(span.attributes)
        self._sender.send(self._encoder.encode(spans))


def _hide_secrets(attributes: dict[str, str | int | float | bool]) -> None:
    """Take out of attributes what no log may hold. One look at all of them, since most hold nothing."""
    between = "\0".join(value for value in attributes.values() if isinstance(value, str))
    if redacted(between) != between:
        for name, value in attributes.items():
            if isinstance(value, str):
                attributes[name] = redacted(value)


def _plain(value: object) -> Value | Sequence[Value]:
    """An attribute of the resource, which may be a sequence."""
    if isinstance(value, str | int | float | bool):
        return value
    return [str(one) for one in value] if isinstance(value, Sequence) else str(value)


def _context_of(parent: TraceContext, *, remote: bool) -> Context:
    state = TraceState.from_header([parent.state]) if parent.state else None
    flags = TraceFlags(TraceFlags.SAMPLED if parent.sampled else TraceFlags.DEFAULT)
    own = SpanContext(int(parent.trace_id, 16), int(parent.span_id, 16), remote, flags, state)
    return set_span_in_context(NonRecordingSpan(own), Context())
