"""A lease is renewed in time, and only a server that has had a quiet lease takes over others."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from sansio.a2a.replicas.lease import Lease

SECONDS = 10.0
gaps = st.floats(0, 30, allow_nan=False)


def joined(now: float = 100.0) -> Lease:
    lease = Lease(SECONDS)
    lease.join(now)
    return lease


def test_a_lease_is_renewed_every_quarter_of_it() -> None:
    lease = joined()

    assert [lease.pause(now) for now in (100.0, 101.0, 102.5, 200.0)] == [2.5, 1.5, 0.0, 0.0]


def test_a_renewal_that_failed_is_tried_again_sooner() -> None:
    lease = joined()
    lease.fail()
    soon = lease.pause(100.0)
    lease.renew(101.0)

    assert (soon, lease.pause(101.0)) == (SECONDS / 16, 2.5)


def test_a_lease_is_over_once_it_was_not_renewed_for_as_long_as_it_is() -> None:
    lease = joined()
    before = [lease.over(now) for now in (109.9, 110.0)]
    lease.renew(115.0)

    assert (before, lease.over(115.0)) == ([False, True], False)


def test_a_new_server_takes_over_others_after_one_lease() -> None:
    lease = joined()
    for now in (102.5, 105.0, 107.5):
        lease.renew(now)

    assert [lease.settled(now) for now in (107.5, 109.9, 110.0)] == [False, False, True]


def test_a_server_that_was_cut_off_gives_the_others_a_lease_to_come_back() -> None:
    lease = joined(0.0)
    for now in (2.5, 5.0, 7.5, 10.0):
        lease.renew(now)
    settled = lease.settled(10.0)
    lease.renew(15.1)  # later than half of a lease
    for now in (17.5, 20.0, 22.5, 25.0):
        lease.renew(now)

    assert settled
    assert [lease.settled(now) for now in (25.0, 25.2)] == [False, True]


@given(st.lists(gaps, max_size=12))
def test_whoever_is_settled_has_renewed_without_a_gap_for_a_whole_lease(pauses: list[float]) -> None:
    lease, now = joined(0.0), 0.0
    renewals = [0.0]
    for pause in pauses:
        now += pause
        if lease.settled(now):
            recent = [one for one in renewals if one > now - SECONDS]
            assert all(later - earlier <= SECONDS / 2 for earlier, later in pairwise(recent))
            assert now - renewals[-1] < SECONDS
        lease.renew(now)
        renewals.append(now)


@given(gaps, st.booleans())
def test_a_pause_never_leads_past_the_end_of_a_lease(later: float, failed: bool) -> None:
    lease = joined(0.0)
    if failed:
        lease.fail()

    assert 0 <= lease.pause(later) <= SECONDS / 4


def test_the_age_of_a_lease_is_the_time_since_its_renewal_whatever_failed_later() -> None:
    lease = joined(5.0)
    before = lease.age(7.0)
    lease.renew(8.0)
    lease.fail()

    assert (before, lease.age(11.5)) == (2.0, 3.5)
