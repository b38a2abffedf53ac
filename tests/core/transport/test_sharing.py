"""Who of several processes accepts the next connection: nobody runs away, nobody waits for one that is gone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sansio.transport.sharing import ABSENT, AcceptShare


def test_a_process_that_has_more_lets_others_go_first() -> None:
    counts = [0, 0]
    first, second = AcceptShare(counts, 0), AcceptShare(counts, 1)
    first.note(3)

    assert first.lets_others_first
    assert not second.lets_others_first
    second.note(1)
    assert not first.lets_others_first


def test_nobody_waits_for_a_process_that_accepts_nothing() -> None:
    counts = [0, 0]
    first, second = AcceptShare(counts, 0), AcceptShare(counts, 1)
    first.note(10)
    second.leave()
    second.note(1)  # its last connections still end

    assert counts == [10, ABSENT]
    assert not first.lets_others_first
    assert not first.others_accept
    assert second.others_accept
    second.join()
    assert first.lets_others_first


def test_one_process_waits_for_nobody() -> None:
    counts = [0]
    alone = AcceptShare(counts, 0)
    alone.note(100)

    assert not alone.lets_others_first


@given(st.integers(2, 8), st.lists(st.integers(0, 7), max_size=300))
def test_whoever_is_fastest_the_counts_stay_close(processes: int, fastest: list[int]) -> None:
    counts = [0] * processes
    shares = [AcceptShare(counts, place) for place in range(processes)]
    for one in fastest:
        order = [(one + step) % processes for step in range(processes)]
        place = next((place for place in order if not shares[place].lets_others_first), order[0])
        shares[place].note(counts[place] + 1)

    assert max(counts) - min(counts) <= 3 + max(counts) // 16
