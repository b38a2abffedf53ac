"""Who goes next: bounds hold, no place is idle, nobody waits for more than one turn of each other principal."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sansio.fair_queue import FairQueue

Waiting = tuple[str, str, int]

MOST, OF_PRINCIPAL, OF_RECEIVER = 4, 3, 2
names = st.sampled_from(("a", "b", "c"))
joins = st.tuples(st.just("join"), names, names)
ends = st.tuples(st.sampled_from(("end", "leave")), st.integers(0, 50), st.just(""))


def queue_of(most: int = MOST) -> FairQueue[Waiting]:
    return FairQueue(most=most, of_principal=OF_PRINCIPAL, of_receiver=OF_RECEIVER)


def eligible(one: Waiting, taken: list[Waiting]) -> bool:
    """Whether a place may be given to one, besides those that are taken; told without the queue."""
    principals = Counter(principal for principal, _, _ in taken)
    receivers = Counter((principal, receiver) for principal, receiver, _ in taken)
    return len(taken) < MOST and principals[one[0]] < OF_PRINCIPAL and receivers[one[0], one[1]] < OF_RECEIVER


@example([*[("join", "a", "a")] * (OF_RECEIVER + 1), ("leave", 0, "")])
@given(st.lists(joins | ends, max_size=60))
def test_bounds_hold_and_no_place_is_idle(steps: list[tuple[str, str | int, str]]) -> None:
    queue = queue_of()
    waiting: list[Waiting] = []
    taken: list[Waiting] = []
    passed: Counter[str] = Counter()  # places that others were given while a principal could have had one
    for number, (what, who, receiver) in enumerate(steps):
        if what == "join":
            one = (str(who), receiver, number)
            waiting.append(one)
            queue.join(one[0], one[1], one)
        elif what == "end" and taken:
            done = taken.pop(int(who) % len(taken))
            queue.give_back(done[0], done[1])
        elif what == "leave" and waiting:
            left = waiting.pop(int(who) % len(waiting))
            queue.leave(left[0], left[1], left)
        while (given_ := queue.take()) is not None:
            assert eligible(given_, taken)
            line = [one for one in waiting if one[:2] == given_[:2]]
            assert given_ == line[0]  # what waits for one receiver goes in order
            could = {one[0] for one in waiting if eligible(one, taken)}
            passed[given_[0]] = 0
            for principal in ("a", "b", "c"):
                passed[principal] = passed[principal] + 1 if principal in could - {given_[0]} else 0
            assert max(passed.values()) <= 2  # each other principal once
            waiting.remove(given_)
            taken.append(given_)
        assert not any(eligible(one, taken) for one in waiting)


def test_receivers_that_hang_delay_no_other_principal() -> None:
    queue = queue_of()
    for number in range(256):
        queue.join("a", str(number), ("a", str(number), number))
    while queue.take() is not None:
        pass

    queue.join("b", "x", ("b", "x", 0))

    assert queue.take() == ("b", "x", 0)


def test_the_receivers_of_a_principal_have_their_turns() -> None:
    queue = queue_of(most=1)
    for number in range(3):
        for receiver in ("x", "y"):
            queue.join("a", receiver, ("a", receiver, number))
    order = []
    while (given_ := queue.take()) is not None:
        order.append(given_[1:])
        queue.give_back("a", given_[1])

    assert order == [("x", 0), ("y", 0), ("x", 1), ("y", 1), ("x", 2), ("y", 2)]


def test_a_place_that_was_not_taken_cannot_be_given_back() -> None:
    with pytest.raises(ValueError, match="no such place"):
        queue_of().give_back("a", "x")


def test_what_does_not_wait_cannot_leave() -> None:
    with pytest.raises(ValueError, match="does not wait"):
        queue_of().leave("a", "x", ("a", "x", 0))
