"""The interface of tracing, and the tracer that records nothing: it passes contexts on, and makes ids.

A span's parent is an argument, since turns and deliveries run in tasks of their own. Within one such task,
`CURRENT` hands it to calls far below. Knows no OpenTelemetry: `opentelemetry_spans` does.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from enum import Enum, auto
from typing import Final, Protocol, TypeAlias

from attrs import frozen

from sansio.a2a.bindings.trace_context import TraceContext

Attributes: TypeAlias = Mapping[str, str | int | float | bool]

NO_ATTRIBUTES: Final[Attributes] = {}


class SpanKind(Enum):
    """The kinds of OpenTelemetry."""

    SERVER = auto()
    CLIENT = auto()
    INTERNAL = auto()


class Span(Protocol):
    """A unit of work. `context`: what belongs to it has this as its parent. `recording`: attributes are of use."""

    @property
    def context(self) -> TraceContext: ...

    @property
    def recording(self) -> bool: ...

    def rename(self, name: str) -> None:
        """Change the name, where it is known only later."""

    def set(self, attributes: Attributes) -> None:
        """Add attributes. They hold nothing of what messages say, and no credentials."""

    def end(self, error: str = "") -> None:
        """End the span. `error`: the low-cardinality type of what went wrong; empty: nothing."""


class Tracer(Protocol):
    """Makes spans."""

    def records(self, parent: TraceContext | None) -> bool:
        """Whether attributes may be of use for a span with this parent. Whoever makes them asks first."""

    def start(
        self,
        name: str,
        kind: SpanKind,
        parent: TraceContext | None,
        attributes: Attributes = NO_ATTRIBUTES,
        *,
        begun: int | None = None,
    ) -> Span:
        """Begin a span; without a parent, a trace. `begun`: when, in epoch nanoseconds; None: now."""


@frozen
class UnrecordedSpan:
    """A span that nobody records."""

    context: TraceContext
    recording: bool = False

    def rename(self, name: str) -> None:
        """Change nothing."""

    def set(self, attributes: Attributes) -> None:
        """Keep nothing."""

    def end(self, error: str = "") -> None:
        """Report nothing."""


class PassingTracer:
    """Records nothing. A request gets a span id of its own, and all that is done for it bears that.

    A trace that begins here is marked as sampled, though the standard proposes the opposite: the log names the
    trace, and a server behind this one that records should not be kept from it.
    """

    def records(self, parent: TraceContext | None) -> bool:
        """Never record."""
        return False

    def start(
        self,
        name: str,
        kind: SpanKind,
        parent: TraceContext | None,
        attributes: Attributes = NO_ATTRIBUTES,
        *,
        begun: int | None = None,
    ) -> Span:
        """Return a span that is not recorded."""
        if parent is None:
            return UnrecordedSpan(TraceContext(secrets.token_hex(16), secrets.token_hex(8)))
        return UnrecordedSpan(parent.child(secrets.token_hex(8)) if kind is SpanKind.SERVER else parent)


NO_TRACER: Final[Tracer] = PassingTracer()

CURRENT: Final[ContextVar[TraceContext | None]] = ContextVar("CURRENT", default=None)
"""The span that the running task works for; None: for no request and no turn."""


@contextmanager
def working_for(context: TraceContext | None) -> Iterator[None]:
    """Have what is called meanwhile, and the tasks it starts, belong to a span."""
    token = CURRENT.set(context)
    try:
        yield
    finally:
        CURRENT.reset(token)
