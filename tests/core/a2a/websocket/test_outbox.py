"""Messages that wait: requests take turns, and each has a share."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from sansio.a2a.websocket.messages import LargeMessage
from sansio.a2a.websocket.outbox import Outbox


def test_requests_take_turns() -> None:
    outbox = Outbox()
    for key, message in (("a", b"1"), ("a", b"2"), ("a", b"3"), ("b", b"4"), ("c", b"5"), ("b", b"6")):
        outbox.put(key, message)
    assert outbox.size == 6
    sent = []
    while (found := outbox.take()) is not None:
        sent.append(found)
    assert sent == [("a", b"1"), ("b", b"4"), ("c", b"5"), ("a", b"2"), ("b", b"6"), ("a", b"3")]
    assert outbox.size == 0


def test_a_share_that_is_full_is_no_other_ones() -> None:
    outbox = Outbox(share=4)
    outbox.put("a", b"12345")
    assert not outbox.has_room("a")
    assert outbox.has_room("b")
    outbox.take()
    assert outbox.has_room("a")


def test_what_waits_for_a_request_can_be_forgotten() -> None:
    outbox = Outbox()
    outbox.put("a", b"1")
    outbox.put("b", b"2")
    outbox.drop("a")
    outbox.drop("nobody")
    assert outbox.take() == ("b", b"2")
    assert outbox.take() is None


@given(st.lists(st.tuples(st.integers(0, 3), st.binary(min_size=1, max_size=5))))
def test_each_request_gets_its_messages_in_their_order(given_messages: list[tuple[int, bytes]]) -> None:
    outbox = Outbox()
    expected: dict[object, list[bytes]] = defaultdict(list)
    for key, message in given_messages:
        outbox.put(key, message)
        expected[key].append(message)
    found: dict[object, list[bytes | LargeMessage]] = defaultdict(list)
    while (taken := outbox.take()) is not None:
        found[taken[0]].append(taken[1])
    assert found == expected
    assert outbox.size == 0


def test_all_messages_together_have_a_bound() -> None:
    outbox = Outbox(most=4)
    outbox.put("a", b"12")
    assert outbox.has_room("b")
    outbox.put("b", b"34")
    assert outbox.is_full
    assert not outbox.has_room("c")
    outbox.take()
    assert outbox.has_room("c")


def test_who_waits_for_room_gets_it_in_the_order_of_coming() -> None:
    outbox = Outbox(most=2)
    assert not outbox.wait("first")
    outbox.put("first", b"12")
    assert outbox.wait("second")
    assert outbox.wait("third")
    assert outbox.next_waiting() is None
    outbox.take()
    assert outbox.has_room("fourth")
    assert outbox.wait("fourth")  # others came before
    assert outbox.next_waiting() == "second"
    outbox.leave("second")
    assert outbox.next_waiting() == "third"
    outbox.leave("third")
    outbox.leave("fourth")
    outbox.leave("nobody")
    assert outbox.next_waiting() is None
    assert not outbox.wait("fifth")


def test_who_has_a_full_share_lets_others_go_first() -> None:
    outbox = Outbox(share=2, most=10)
    outbox.put("a", b"12")
    assert outbox.wait("a")
    assert outbox.next_waiting() is None
    assert outbox.wait("b")
    assert outbox.next_waiting() == "b"


def test_what_is_forgotten_makes_room() -> None:
    outbox = Outbox(most=2)
    outbox.put("a", b"12")
    assert outbox.wait("b")
    outbox.drop("a")
    assert outbox.next_waiting() == "b"
    assert outbox.size == 0
