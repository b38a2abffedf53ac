"""The headers of W3C Trace Context, level 1."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio.a2a.bindings.trace_context import STATE_LIMIT, TraceContext, trace_context_of

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"


def state_of(text: str) -> str:
    found = trace_context_of({"traceparent": PARENT, "tracestate": text})
    assert found is not None
    return found.state


def test_the_headers_that_are_rendered_are_parsed() -> None:
    context = TraceContext(TRACE, SPAN, state="a=1,b=2")

    assert dict(context.headers) == {"traceparent": PARENT, "tracestate": "a=1,b=2"}
    assert trace_context_of(dict(context.headers)) == context


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
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-0G",
        f"{PARENT}, {PARENT}",
        f"{PARENT}\n",
        17,
    ],
)
def test_without_a_valid_traceparent_there_is_no_trace(header: object) -> None:
    assert trace_context_of({"traceparent": header, "tracestate": "a=1"}) is None


@pytest.mark.parametrize("header", [f"01-{TRACE}-{SPAN}-01-more", f"cc-{TRACE}-{SPAN}-01", f" {PARENT}\t"])
def test_a_later_version_is_read_as_far_as_this_one_goes(header: str) -> None:
    found = trace_context_of({"traceparent": header})

    assert found == TraceContext(TRACE, SPAN)
    assert found.traceparent == PARENT


@pytest.mark.parametrize(("flags", "passed_on"), [("00", "00"), ("01", "01"), ("02", "00"), ("ff", "01")])
def test_the_sampled_flag_alone_is_passed_on(flags: str, passed_on: str) -> None:
    found = trace_context_of({"traceparent": f"00-{TRACE}-{SPAN}-{flags}"})

    assert found is not None
    assert found.child("b7ad6b7169203331").traceparent == f"00-{TRACE}-b7ad6b7169203331-{passed_on}"


@pytest.mark.parametrize(
    ("text", "passed_on"),
    [
        ("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
        ("a=1 ,\t b=2,,", "a=1,b=2"),
        ("0tenant@vendor=x y", "0tenant@vendor=x y"),
        ("a/b*c_d-e=!~", "a/b*c_d-e=!~"),
    ],
)
def test_a_tracestate_is_passed_on(text: str, passed_on: str) -> None:
    assert state_of(text) == passed_on


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "A=1",
        "=1",
        "a=",
        "a=1=2",
        "a=ü",
        "a=1\r\nx: y",
        "a=1,a=2",
        "1a=1",
        "t@vendor-name-too-long=1",
        f"{'k' * 257}=1",
        f"a={'v' * 257}",
        ",".join(f"k{number}=1" for number in range(33)),
    ],
    ids=range(13),
)
def test_a_malformed_tracestate_is_dropped(text: str) -> None:
    assert state_of(text) == ""


def test_a_long_tracestate_loses_its_long_members_first_and_then_its_last() -> None:
    long = f"long={'v' * 200}"
    short = [f"k{number:02}={'v' * 60}" for number in range(9)]

    found = state_of(",".join([long, *short]))

    assert found == ",".join(short[:7])


@given(st.text() | st.lists(st.from_regex(r"[a-z]{1,4}=[a-z]{0,200}", fullmatch=True)).map(",".join))
def test_any_tracestate_is_passed_on_in_bounds_and_parsed_alike(text: str) -> None:
    found = state_of(text)

    assert len(found) <= STATE_LIMIT
    assert state_of(found) == found
