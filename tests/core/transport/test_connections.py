"""Connections within their bounds: how many, and until when."""

from __future__ import annotations

import math

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from sansio.transport.addresses import Networks, group_of
from sansio.transport.connections import Connection, ConnectionLimits, Connections, Phase, affordable

LIMITS = ConnectionLimits(total=4, per_address=2, head=10, idle=75, write=60, gone=5, closing=2)
OUTSIDE = "203.0.113.7"


def one(now: float = 0.0) -> Connection:
    opened, evicted = Connections(LIMITS).admit(OUTSIDE, now)
    assert opened is not None
    assert evicted is None
    return opened


def end_of(connection: Connection) -> float:
    """The second at which it has to end, to a quarter; infinite where that is beyond an hour."""
    return next((tick / 4 for tick in range(4 * 3600) if connection.overdue(tick / 4)), math.inf)


def test_a_head_that_does_not_become_complete_ends_the_connection() -> None:
    connection = one()
    connection.received(9)

    assert end_of(connection) == 10


def test_a_request_that_is_answered_has_no_end_of_its_own() -> None:
    connection = one()
    connection.busy()

    assert end_of(connection) == math.inf


def test_between_two_requests_a_connection_may_idle_longer_and_then_begin_a_head() -> None:
    connection = one()
    connection.busy()
    connection.idle(20)
    assert end_of(connection) == 95

    connection.received(90)
    connection.received(99)
    assert (connection.phase, end_of(connection)) == (Phase.HEAD, 100)


def test_bytes_between_two_requests_keep_no_multiplexed_connection() -> None:
    connection = one()
    connection.multiplexed = True
    connection.idle(1)  # there was no request yet: still waiting for the first
    assert end_of(connection) == 10

    connection.busy()
    connection.idle(20)
    connection.received(60)
    connection.idle(60)
    assert end_of(connection) == 95


def test_a_write_that_is_not_taken_ends_the_connection() -> None:
    connection = one()
    connection.busy()
    connection.writing(0, 3)
    assert end_of(connection) == 63

    connection.written(0)
    connection.writing(1, 10)
    connection.writing(3, 5)
    assert end_of(connection) == 65

    connection.written(3)
    assert end_of(connection) == 70


def test_a_client_that_ended_its_side_gets_its_answer_soon_or_not_at_all() -> None:
    connection = one()
    connection.busy()
    connection.ended(7)
    connection.ended(11)

    assert end_of(connection) == 12


def test_a_client_of_http_2_that_ended_its_side_waits_for_nothing() -> None:
    connection = one()
    connection.multiplexed = True
    connection.busy()
    connection.ended(7)

    assert end_of(connection) == 7


def test_a_closing_connection_ends_whatever_comes() -> None:
    connection = one()
    connection.busy()
    connection.closing(30)
    connection.busy()
    connection.idle(31)
    connection.received(31)

    assert end_of(connection) == 32


def test_one_connection_too_many_takes_the_place_of_the_longest_waiting() -> None:
    connections = Connections(LIMITS)
    first, second = (connections.admit(address, 0)[0] for address in ("198.51.100.1", "198.51.100.2"))
    third, fourth = (connections.admit(address, 1)[0] for address in ("198.51.100.3", "198.51.100.4"))
    assert first is not None
    assert second is not None
    assert third is not None
    first.busy()
    third.busy()
    first.idle(2)

    added, evicted = connections.admit("198.51.100.5", 3)
    assert (added is not None, evicted) == (True, second)
    assert connections.waiting() == [fourth, first, added]
    assert len(connections.open) == 4


def test_connections_with_a_request_are_not_ended_for_new_ones() -> None:
    connections = Connections(LIMITS)
    for number in range(4):
        opened, _ = connections.admit(f"198.51.100.{number}", 0)
        assert opened is not None
        opened.busy()

    assert connections.admit(OUTSIDE, 1) == (None, None)


def test_an_address_has_a_bound_of_its_own_and_makes_room_for_itself_alone() -> None:
    connections = Connections(LIMITS)
    other, _ = connections.admit("198.51.100.1", 0)
    first, _ = connections.admit(OUTSIDE, 0)
    second, _ = connections.admit(OUTSIDE, 0)
    assert first is not None
    assert second is not None
    first.busy()

    third, evicted = connections.admit(OUTSIDE, 1)
    assert third is not None
    assert evicted is second
    third.busy()
    assert connections.admit(OUTSIDE, 1) == (None, None)
    assert other in connections.open

    connections.remove(first)
    connections.remove(first)
    assert connections.admit(OUTSIDE, 2)[0] is not None


def test_loopback_counts_in_the_total_alone() -> None:
    connections = Connections(LIMITS)
    opened = [connections.admit(address, 0) for address in ("127.0.0.1", "127.8.0.1", "::1", "::ffff:127.0.0.1")]

    assert all(added is not None and evicted is None for added, evicted in opened)
    assert connections.admit("127.0.0.1", 1)[1] is opened[0][0]


def test_connections_of_a_proxy_count_in_the_total_alone() -> None:
    connections = Connections(evolve(LIMITS, uncounted=Networks.of(["10.1.0.0/16"])))
    opened = [connections.admit("10.1.0.5", 0) for _ in range(4)]

    assert all(added is not None and evicted is None for added, evicted in opened)
    assert connections.admit("::ffff:10.1.0.6", 1)[1] is opened[0][0]


@pytest.mark.parametrize(
    ("address", "group"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("::1", None),
    ],
)
def test_the_peers_an_address_is_counted_with(address: str, group: str | None) -> None:
    assert group_of(address) == group


@pytest.mark.parametrize(
    ("descriptors", "wanted", "connections"),
    [(1024, 0, 768), (1024, 100, 100), (1024, 5000, 768), (65536, 0, 65024), (64, 0, 32), (20, 0, 8)],
)
def test_connections_stay_below_the_file_descriptors(descriptors: int, wanted: int, connections: int) -> None:
    assert affordable(descriptors, wanted) == connections


ACTS = ("admit", "busy", "idle", "received", "ended", "closing", "remove", "overdue")


@given(st.lists(st.tuples(st.sampled_from(ACTS), st.integers(0, 5), st.floats(0, 30)), max_size=60))
def test_whatever_happens_the_counts_hold_and_who_waits_is_open(acts: list[tuple[str, int, float]]) -> None:
    connections, now = Connections(LIMITS), 0.0
    known: list[Connection] = []
    for act, number, passed in acts:
        now += passed
        if act == "admit":
            added, _ = connections.admit(f"198.51.100.{number % 3}", now)
            known += [added] if added is not None else []
        elif act == "overdue":
            for late in connections.overdue(now):
                connections.remove(late)
        elif known:
            one = known[number % len(known)]
            if act == "remove":
                connections.remove(one)
            elif act == "busy":
                one.busy()
            else:
                getattr(one, act)(now)

        assert len(connections.open) <= LIMITS.total
        assert set(connections.waiting()) == {one for one in connections.open if one.waits}
        groups = [one.group for one in connections.open]
        assert all(groups.count(group) <= LIMITS.per_address for group in groups)


def test_a_client_that_was_sent_a_ping_has_to_send_something() -> None:
    connection, _ = Connections(ConnectionLimits(pong=20)).admit("192.0.2.1", 0.0)
    assert connection is not None
    connection.busy()
    connection.pinged(100.0)
    connection.pinged(110.0)
    assert not connection.overdue(119.0)
    assert connection.overdue(120.0)
    connection.received(119.0)
    assert not connection.overdue(1000.0)
