"""Pauses between attempts: they grow to their bound and stay there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio.a2a.backoff import Backoff


def test_the_last_pause_repeats() -> None:
    backoff = Backoff((0.1, 0.5, 2.0))

    assert [backoff.pause(done) for done in range(5)] == [0.1, 0.5, 2.0, 2.0, 2.0]


def test_pauses_grow_up_to_their_bound() -> None:
    assert Backoff.growing(2.0, 20.0).pauses == (2.0, 4.0, 8.0, 16.0, 20.0)
    assert Backoff.growing(1.0, 3.0, factor=1.5).pauses == (1.0, 1.5, 2.25, 3.0)
    assert Backoff.growing(5.0, 5.0).pauses == (5.0,)


def test_without_a_pause_there_is_no_backoff() -> None:
    with pytest.raises(ValueError, match="pauses"):
        Backoff(())


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_chance_takes_a_part_of_the_pause(done: int, chance: float) -> None:
    backoff = Backoff.growing(0.25, 5.0)

    assert 0 <= backoff.pause(done, chance=chance) <= backoff.pause(done) <= 5.0
