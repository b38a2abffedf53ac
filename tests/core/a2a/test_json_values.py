"""Members of JSON that others wrote: whatever its shape, a reader answers, and with the type it promises."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sansio.a2a.codecs.json_values import (
    integer_at,
    list_at,
    member,
    number_at,
    object_at,
    objects_at,
    text_at,
    texts_at,
    weight_of,
)
from tests.strategies import json_values

GIVEN = {"text": "", "whole": 7, "part": 0.5, "yes": True, "none": None, "many": ["a", 1, {"b": "c"}, ["d"]]}
NAMES = st.lists(st.sampled_from(["shared", "", *GIVEN]), max_size=3)


def test_a_member_is_found_through_objects_alone() -> None:
    assert member({"outer": GIVEN}, "outer", "many") == GIVEN["many"]
    assert member(GIVEN) is GIVEN
    assert [member(GIVEN, *names) for names in (("absent",), ("many", "b"), ("text", "x"), ("none", "x"))] == [
        None
    ] * 4


def test_each_reader_takes_its_own_type_alone() -> None:
    assert {name for name in GIVEN if text_at(GIVEN, name) is not None} == {"text"}
    assert {name for name in GIVEN if integer_at(GIVEN, name) is not None} == {"whole"}
    assert {name for name in GIVEN if number_at(GIVEN, name) is not None} == {"whole", "part"}
    assert {name for name in GIVEN if list_at(GIVEN, name)} == {"many"}
    assert {name for name in GIVEN if object_at({"outer": {name: GIVEN}}, "outer", name)} == set(GIVEN)
    assert object_at(GIVEN, "many") == {}


def test_other_items_of_a_list_are_passed_over() -> None:
    assert objects_at(GIVEN, "many") == [{"b": "c"}]
    assert texts_at(GIVEN, "many") == ["a"]
    assert objects_at(GIVEN["many"]) == [{"b": "c"}]


@given(st.one_of(json_values, st.just({"shared": GIVEN})), NAMES)
def test_a_reader_never_raises(value: Any, names: list[str]) -> None:
    assert isinstance(text_at(value, *names), str | None)
    assert isinstance(integer_at(value, *names), int | None)
    assert isinstance(number_at(value, *names), int | float | None)
    assert isinstance(object_at(value, *names), dict)
    assert all(isinstance(item, dict) for item in objects_at(value, *names))
    assert all(isinstance(item, str) for item in texts_at(value, *names))


def test_weight_counts_characters_names_and_each_value() -> None:
    assert weight_of("four") == 20
    assert weight_of({"ab": ["c", None]}) == 4 * 16 + 3
    assert weight_of([[]] * 1000) == 1001 * 16
