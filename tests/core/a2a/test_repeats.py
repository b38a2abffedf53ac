"""A message that is sent again is recognised, by its parts and by a filter of ids."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from sansio.a2a.model import (
    DataPart,
    FilePart,
    Message,
    Part,
    Role,
    Task,
    TaskState,
    TaskStatus,
    TextPart,
)
from sansio.a2a.tasks.repeated_messages import MessageFilter, first_message, same_parts
from sansio.a2a.tasks.task_log_codec import decode_task, encode_task
from sansio.opencode.send_options import same_target
from tests.strategies import messages

PARTS: dict[str, Part] = {
    "text": TextPart(text="hi"),
    "other text": TextPart(text="hi "),
    "text in markdown": TextPart(text="hi", media_type="text/markdown"),
    "text with metadata": TextPart(text="hi", metadata={"a": 1}),
    "text with other metadata": TextPart(text="hi", metadata={"a": True}),
    "bytes": FilePart(raw="aGk="),
    "bytes with a name": FilePart(raw="aGk=", filename="a.txt"),
    "address": FilePart(url="https://example.com/"),
    "number": DataPart(data={"a": 1}),
    "truth": DataPart(data={"a": True}),
    "text as data": DataPart(data="hi"),
    "nothing": DataPart(data=None),
}


@pytest.mark.parametrize("one", PARTS)
def test_parts_are_the_same_only_as_themselves(one: str) -> None:
    assert [other for other in PARTS if same_parts([PARTS[one]], [PARTS[other]])] == [one]


def test_number_and_order_of_parts_count() -> None:
    one, two = PARTS["text"], PARTS["bytes"]

    assert not same_parts([one], [one, one])
    assert not same_parts([one, two], [two, one])
    assert same_parts([one, two], [one, two])


def test_what_is_empty_is_absent_and_members_have_no_order() -> None:
    empty = evolve(PARTS["text"], metadata={}, media_type="", filename="")

    assert same_parts([empty], [PARTS["text"]])
    assert same_parts([DataPart(data={"a": 1, "b": 2})], [DataPart(data={"b": 2, "a": 1})])


@given(st.sampled_from(["0.3", "1.0"]).flatmap(messages))
def test_a_stored_message_is_the_same(message: Message) -> None:
    message = evolve(message, role=Role.USER)
    task = Task(id="t", context_id="c", status=TaskStatus(state=TaskState.COMPLETED), history=(message,))

    stored = first_message(decode_task(encode_task(task)), message.message_id)

    assert stored is not None
    assert same_parts(stored.parts, message.parts)


SESSION: dict[str, Any] = {"session": "ses_1"}


@pytest.mark.parametrize(
    ("kept", "session_id", "other", "same"),
    [
        ({}, None, {}, True),
        ({}, "ses_1", {}, True),
        ({"modes": "text", "codec": "gateway"}, "ses_1", {}, True),
        (SESSION, None, SESSION, True),
        (SESSION, "ses_1", {}, False),
        (SESSION, None, {}, False),
        ({}, "ses_1", SESSION, True),
        ({}, "ses_2", SESSION, False),
        ({}, None, SESSION, False),
        ({"place": "/a"}, "ses_1", {"place": "/a"}, True),
        ({"place": "/a"}, "ses_1", {"place": "/b"}, False),
        ({"model": ["p", "m"]}, "ses_1", {"model": ["p", "m"]}, True),
        ({"model": ["p", "m"]}, "ses_1", {}, False),
    ],
)
def test_what_a_message_is_for_counts(
    kept: dict[str, Any], session_id: str | None, other: dict[str, Any], same: bool
) -> None:
    assert same_target(kept, session_id, other) is same


def test_a_filter_that_is_not_complete_holds_everything() -> None:
    known = MessageFilter()
    assert known.may_hold("ada", "m")

    known.complete = True
    assert not known.may_hold("ada", "m")


@given(st.sets(st.tuples(st.text(max_size=9), st.text(max_size=9)), max_size=50))
def test_a_filter_finds_all_that_was_added(pairs: set[tuple[str, str]]) -> None:
    known = MessageFilter()
    known.complete = True
    for pair in pairs:
        known.add(*pair)

    assert all(known.may_hold(*pair) for pair in pairs)


def test_a_filter_seldom_finds_what_was_not_added() -> None:
    known = MessageFilter()
    known.complete = True
    for number in range(20_000):
        known.add("ada", f"m-{number}")

    assert sum(known.may_hold("ada", f"n-{number}") for number in range(20_000)) < 20
