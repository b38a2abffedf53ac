"""What one stream may take: bytes, seconds in all, seconds without an event; each limit on its own, none for 0."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio.limits import StreamBudget, StreamLimits

sizes = st.integers(1, 1000)
seconds = st.floats(0.001, 1000, allow_nan=False)


def test_nothing_is_no_limit() -> None:
    limits = StreamLimits()
    budget = StreamBudget(limits, 0.0)
    budget.take(10**12, 1.0)

    assert not limits.any
    assert limits.look_every is None
    assert budget.passed(10**9) is None


@pytest.mark.parametrize(
    ("limits", "every"),
    [
        (StreamLimits(bytes=5), None),
        (StreamLimits(duration=8.0), 2.0),
        (StreamLimits(idle=4.0), 1.0),
        (StreamLimits(duration=8.0, idle=4.0), 1.0),
    ],
)
def test_a_limit_of_time_is_looked_for_and_one_of_bytes_need_not_be(
    limits: StreamLimits, every: float | None
) -> None:
    assert limits.any
    assert limits.look_every == every


@given(st.lists(sizes), st.integers(1, 5000))
def test_a_stream_ends_behind_the_event_that_uses_up_its_bytes(told: list[int], most: int) -> None:
    budget = StreamBudget(StreamLimits(bytes=most), 0.0)
    sent = 0
    for size in told:
        budget.take(size, 1.0)
        sent += size
        limit = budget.passed(1.0)
        assert (limit is not None) == (sent >= most)
        assert limit is None or str(most) in limit


@given(st.lists(st.tuples(seconds, st.booleans()), min_size=1), seconds)
def test_events_do_not_lengthen_what_a_stream_may_last(steps: list[tuple[float, bool]], most: float) -> None:
    budget = StreamBudget(StreamLimits(duration=most), 100.0)
    now = 100.0
    for pause, event in steps:
        now += pause
        if event:
            budget.take(1, now)
        assert (budget.passed(now) is not None) == (now - 100.0 >= most)


@given(st.lists(st.tuples(seconds, st.booleans()), min_size=1), seconds)
def test_silence_is_counted_from_the_newest_event_and_at_first_from_the_beginning(
    steps: list[tuple[float, bool]], most: float
) -> None:
    budget = StreamBudget(StreamLimits(idle=most), 100.0)
    now = newest = 100.0
    for pause, event in steps:
        now += pause
        if event:
            budget.take(1, now)
            newest = now
        assert (budget.passed(now) is not None) == (now - newest >= most)
