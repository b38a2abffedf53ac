"""The header of W3C Trace Context."""

from __future__ import annotations

import pytest

from sansio.a2a.bindings.trace_context import trace_id_of, traceparent

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_what_is_rendered_is_read() -> None:
    assert traceparent(TRACE, SPAN) == f"00-{TRACE}-{SPAN}-01"
    assert trace_id_of(traceparent(TRACE, SPAN)) == TRACE


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "00",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01x",
    ],
)
def test_what_is_not_valid_has_no_trace(header: str | None) -> None:
    assert trace_id_of(header) is None


def test_a_later_version_may_say_more() -> None:
    assert trace_id_of(f"01-{TRACE}-{SPAN}-01-more") == TRACE
