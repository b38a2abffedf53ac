"""The trace that a request belongs to: the header of W3C Trace Context, level 1.

Pure: ids are arguments. The standard is at https://www.w3.org/TR/trace-context/.
"""

from __future__ import annotations

import re
from typing import Final

HEADER: Final = "traceparent"

_VALUE: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?P<trace>(?!0{32})[0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?"
)


def trace_id_of(header: str | None) -> str | None:
    """Return the trace's id: 32 hex digits; None where the header is absent or is not valid."""
    found = _VALUE.fullmatch((header or "").strip())
    return found["trace"] if found is not None else None


def traceparent(trace_id: str, span_id: str) -> str:
    """Render the header. `trace_id`: 32 hex digits, `span_id`: 16; neither of zeros alone. The trace is sampled."""
    return f"00-{trace_id}-{span_id}-01"
