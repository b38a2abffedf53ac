"""The trace that a request belongs to: the two headers of W3C Trace Context, level 1.

Pure: ids are arguments. The standard is at https://www.w3.org/TR/trace-context-1/.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from attrs import field, frozen

HEADER: Final = "traceparent"
STATE_HEADER: Final = "tracestate"

MOST_MEMBERS: Final = 32
"""Members of `tracestate`; a header with more is malformed (section 3.3.1.1)."""

STATE_LIMIT: Final = 512
"""Bytes of `tracestate` that are passed on (section 3.3.1.5)."""

_LONG_MEMBER: Final = 128  # bytes; longer members are dropped first (section 3.3.1.5)
_SAMPLED: Final = 1
_VALUE: Final = re.compile(
    r"(?P<version>(?!ff)[0-9a-f]{2})-(?P<trace>(?!0{32})[0-9a-f]{32})-(?P<span>(?!0{16})[0-9a-f]{16})"
    r"-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)
_MEMBER: Final = re.compile(
    r"(?P<key>[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})"
    r"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)


@frozen
class TraceContext:
    """A span of a trace, as the next server gets to know it.

    `trace_id`: 32 hex digits, `span_id`: 16; neither of zeros alone. `sampled`: the trace may have been recorded.
    `state`: the value of `tracestate`, empty for none.
    """

    trace_id: str
    span_id: str
    sampled: bool = True
    state: str = field(default="", repr=False)

    @property
    def traceparent(self) -> str:
        """The header's value, in version 00. Of its flags, level 1 knows the sampled one alone."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """The headers of a request that belongs to this span."""
        parent = (HEADER, self.traceparent)
        return (parent, (STATE_HEADER, self.state)) if self.state else (parent,)

    def child(self, span_id: str) -> TraceContext:
        """Return another span of the same trace. `span_id`: 16 hex digits."""
        return TraceContext(self.trace_id, span_id, self.sampled, self.state)


def trace_context_of(headers: Mapping[str, object]) -> TraceContext | None:
    """Parse the headers of a request, by lower-case names; None where `traceparent` is absent or not valid.

    Without a valid `traceparent`, `tracestate` counts for nothing; a malformed `tracestate` does not harm
    `traceparent`. A version above 00 is read as far as 00 goes.
    """
    value = headers.get(HEADER)
    found = _VALUE.fullmatch(value.strip(" \t")) if isinstance(value, str) else None
    if found is None or (found["more"] is not None and found["version"] == "00"):
        return None
    state = headers.get(STATE_HEADER)
    return TraceContext(
        found["trace"],
        found["span"],
        bool(int(found["flags"], 16) & _SAMPLED),
        _bounded_state(state) if isinstance(state, str) and state else "",
    )


def _bounded_state(text: str) -> str:
    """Return the members of `tracestate` that are passed on, in their order; empty where it is malformed."""
    members = [member for part in text.split(",") if (member := part.strip(" \t"))]
    keys = [found["key"] if (found := _MEMBER.fullmatch(member)) else "" for member in members]
    if len(members) > MOST_MEMBERS or "" in keys or len(set(keys)) < len(keys):
        return ""
    if _length(members) > STATE_LIMIT:
        members = [member for member in members if len(member) <= _LONG_MEMBER]
    while _length(members) > STATE_LIMIT:
        members.pop()
    return ",".join(members)


def _length(members: list[str]) -> int:
    return sum(map(len, members)) + len(members) - 1
