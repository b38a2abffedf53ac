"""Changes are what they were after they have been a text, and no text is too long or without a meaning."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sansio.a2a.replicas.changes import (
    EVERYTHING,
    MOST_BYTES,
    MOST_TASKS,
    NO_CHANGES,
    ORPHANS,
    Changes,
    changes_text,
    merged,
    parse_changes,
)

uuids = st.uuids().map(str)
plain = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=60)
changes = st.builds(
    Changes, st.lists(uuids | plain, max_size=40, unique=True).map(tuple), st.just(False), st.booleans()
) | st.sampled_from([EVERYTHING, ORPHANS, NO_CHANGES, Changes(everything=True, orphans=True)])
senders = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=32)


@given(senders, changes)
def test_a_text_says_who_changed_what(sender: str, given_changes: Changes) -> None:
    text = changes_text(sender, given_changes)

    assert text.isascii()
    assert parse_changes(text) == (sender, given_changes)


@given(senders, st.lists(st.text(max_size=300), max_size=400), st.booleans())
def test_no_text_is_too_long_and_none_names_fewer_tasks(sender: str, task_ids: list[str], orphans: bool) -> None:
    text = changes_text(sender, Changes(tuple(task_ids), orphans=orphans))
    said_by, parsed = parse_changes(text)

    assert len(text.encode()) <= MOST_BYTES
    assert (said_by, parsed.orphans) == (sender, orphans)
    assert parsed.everything or set(parsed.task_ids) == set(task_ids)


def test_three_hundred_tasks_have_room_in_one_text() -> None:
    task_ids = tuple(f"{number:08x}-0000-4000-8000-000000000000" for number in range(400))

    assert parse_changes(changes_text("0123456789abcdef", Changes(task_ids[:300])))[1] == Changes(task_ids[:300])
    assert parse_changes(changes_text("0123456789abcdef", Changes(task_ids)))[1] == EVERYTHING


@given(st.text(max_size=200))
def test_any_text_has_a_meaning(text: str) -> None:
    sender, parsed = parse_changes(text)

    assert sender == text.split(" ")[0]
    assert len(set(parsed.task_ids)) == len(parsed.task_ids)


def test_a_word_of_a_later_version_may_be_about_any_task() -> None:
    assert parse_changes("a =b ?c") == ("a", EVERYTHING)
    assert parse_changes("a ~short") == ("a", EVERYTHING)


@given(st.lists(changes, max_size=6))
def test_many_changes_are_one_and_name_each_task_once_in_order(several: list[Changes]) -> None:
    one_by_one = NO_CHANGES
    for one in several:
        one_by_one = one_by_one.then(one)
    named = tuple(dict.fromkeys(task_id for one in several for task_id in one.task_ids))

    assert one_by_one == merged(several)
    assert one_by_one.everything == any(one.everything for one in several)
    assert one_by_one.orphans == any(one.orphans for one in several)
    assert one_by_one.task_ids == (() if one_by_one.everything else named)
    assert bool(one_by_one) == any(several)


def test_changes_that_nobody_reads_stay_bounded() -> None:
    half = tuple(str(number) for number in range(MOST_TASKS))

    assert Changes(half).then(Changes(("one more",))) == EVERYTHING
    assert Changes(half).then(Changes(half)) == Changes(half)
