"""Events that wait for the store are bounded: tasks fail, the largest first, and leave room for the others."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sansio.a2a.tasks.backlog import Backlog


def test_nobody_fails_below_half_of_the_bound() -> None:
    backlog = Backlog(1000)

    assert backlog.overdue(499, {"a": 499}) == []
    assert not backlog.reached


def test_the_largest_fails_first_and_the_others_have_half_of_what_is_left() -> None:
    backlog = Backlog(1000)

    assert backlog.overdue(500, {"a": 100, "b": 300, "c": 100}) == ["b"]
    assert backlog.overdue(749, {"a": 200, "c": 249}) == []
    assert backlog.overdue(750, {"a": 201, "c": 249}) == ["c"]
    assert backlog.overdue(874, {"a": 325}) == []
    assert backlog.reached


def test_all_that_publish_fail_at_the_bound() -> None:
    assert Backlog(1000).overdue(1000, {"a": 1, "b": 2, "c": 0}) == ["b", "a", "c"]


def test_a_task_that_publishes_nothing_does_not_fail() -> None:
    assert Backlog(1000).overdue(2000, {}) == []


def test_it_begins_anew_once_most_is_stored() -> None:
    backlog = Backlog(1000)
    backlog.overdue(600, {"a": 600})

    assert backlog.overdue(250, {"b": 250}) == []
    assert backlog.overdue(249, {"b": 249}) == []
    assert not backlog.reached
    assert backlog.overdue(500, {"b": 500}) == ["b"]


@given(st.lists(st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 200), max_size=6), max_size=60))
def test_what_waits_stays_within_the_bound_and_one_look_more(looks: list[dict[str, int]]) -> None:
    backlog, held, ended = Backlog(1000), dict.fromkeys("abcdef", 0), set[str]()
    for look in looks:
        published = {task: size for task, size in look.items() if task not in ended}
        for task, size in published.items():
            held[task] += size
        ended |= set(backlog.overdue(sum(held.values()), {task: held[task] for task in published}))
        assert sum(held.values()) < 1000 + 6 * 200
