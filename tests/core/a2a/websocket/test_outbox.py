"""Messages that wait: requests take turns, and each has a share."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

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
    found: dict[object, list[bytes]] = defaultdict(list)
    while (taken := outbox.take()) is not None:
        found[taken[0]].append(taken[1])
    assert found == expected
    assert outbox.size == 0
