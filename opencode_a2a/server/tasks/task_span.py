"""The spans of the work on a task: an invocation of the agent, as OpenTelemetry's conventions for GenAI name it, and
the commits that somebody waits for.

A request may be answered long before its work ends. A restart of the server begins another span in the same trace.
Chunks are stored by commits that many tasks share, and have no spans: their number grows with an answer's length.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final

from opencode_a2a.server.tasks.active_task import ActiveTask, Facts
from opencode_a2a.tracing.spans import NO_ATTRIBUTES, Span, SpanKind, Tracer
from sansio.a2a.bindings.trace_context import TraceContext
from sansio.a2a.model import TaskState

_OPERATION: Final = "invoke_agent"
_NAME: Final = 80  # characters
_CONTEXT: Final = 128  # characters; a client chooses it
_UNRECORDED: Final = nullcontext()
_FAILED: Final = frozenset({TaskState.FAILED, TaskState.REJECTED, TaskState.AUTH_REQUIRED})


def begin_task_span(tracer: Tracer, agent: str, facts: Facts, parent: TraceContext | None) -> Span:
    """Begin the span of the work on a task. `agent`: its name, empty for none; `parent`: the request's span."""
    attributes = NO_ATTRIBUTES
    if tracer.records(parent):
        attributes = {
            "gen_ai.operation.name": _OPERATION,
            "gen_ai.conversation.id": facts.context_id[:_CONTEXT],
            "a2a.task.id": facts.task_id,
            **({"gen_ai.agent.name": agent[:_NAME]} if agent else {}),
        }
    return tracer.start(f"{_OPERATION} {agent[:_NAME]}".strip(), SpanKind.INTERNAL, parent, attributes)


def end_task_span(active: ActiveTask) -> None:
    """End the span of the work on a task, whatever state that has left it in."""
    span, state = active.span, active.log.state
    if span is None:
        return
    span.set({"a2a.task.state": state.value})
    span.end(state.value if state in _FAILED else "")


def commit_span(tracer: Tracer, active: ActiveTask, rows: int) -> AbstractContextManager[None]:
    """Record a commit of a task, with the time that it waits for others. `rows`: how many it has."""
    parent = active.trace
    if parent is None or not tracer.records(parent):
        return _UNRECORDED
    return _recorded(tracer, parent, rows)


@contextmanager
def _recorded(tracer: Tracer, parent: TraceContext, rows: int) -> Iterator[None]:
    span = tracer.start("store commit", SpanKind.INTERNAL, parent, {"a2a.store.rows": rows})
    error = "cancelled"
    try:
        yield
        error = ""
    except Exception as exc:
        error = type(exc).__name__
        raise
    finally:
        span.end(error)
