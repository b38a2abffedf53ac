"""The tokens of paged lists: they lead back to where a page ended, and nothing else is taken for one."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest
from attrs import evolve
from hypothesis import example, given
from hypothesis import strategies as st

from sansio.a2a.bindings.page_tokens import page_of_configs, page_token, read_page_token
from sansio.a2a.errors import ErrorKind, ProtocolError
from sansio.a2a.model import ListPushConfigsRequest, PushConfig

moments = st.integers(-(2**53) + 1, 2**53 - 1)


def encoded(value: Any) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(value)).decode().rstrip("=")


# --- tasks ------------------------------------------------------------------------------------------------


@given(moments, st.text(alphabet=st.characters(codec="utf-8")))
def test_a_token_leads_back_to_where_the_page_ended(updated_at: int, task_id: str) -> None:
    assert read_page_token(page_token(updated_at, task_id)) == (updated_at, task_id)


@given(moments, st.text(alphabet=st.characters(codec="utf-8")))
def test_a_token_can_stand_in_a_query_as_it_is(updated_at: int, task_id: str) -> None:
    token = page_token(updated_at, task_id)

    assert token
    assert token.isascii()
    assert all(letter.isalnum() or letter in "-_" for letter in token)


@given(st.tuples(moments, st.uuids().map(str)), st.tuples(moments, st.uuids().map(str)))
def test_places_have_the_same_token_only_where_they_are_the_same(
    one: tuple[int, str], other: tuple[int, str]
) -> None:
    assert (page_token(*one) == page_token(*other)) is (one == other)


@pytest.mark.parametrize(
    "token",
    [
        *("x", "====", "not a token", "bm8gdG9rZW4", "ÄÖÜ", "\0", "+/+/", "A" * 10_001),
        *(
            encoded(value)
            for value in (
                *(None, 5, "text", {}, [], [1], ["t"], [1, "t", 2], ["t", 1], [1, 2], [None, "t"], [1, None]),
                *([1.0, "t"], [True, "t"], [2**53, "t"], [-(2**53), "t"], [[1, "t"]], {"0": 1, "1": "t"}),
            )
        ),
    ],
)
def test_what_is_no_token_is_refused_by_the_fields_name(token: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        read_page_token(token)

    assert caught.value.kind is ErrorKind.INVALID_PARAMS
    assert [violation.field for violation in caught.value.violations] == ["pageToken"]


@given(st.text())
@example(encoded([1, "t"])[:-1])
@example(encoded([1, "t"]) + "!")
def test_any_text_is_a_place_or_refused(token: str) -> None:
    try:
        updated_at, task_id = read_page_token(token)
    except ProtocolError:
        return
    assert read_page_token(page_token(updated_at, task_id)) == (updated_at, task_id)


# --- push configurations ----------------------------------------------------------------------------------


def asked(size: int | None = None, token: str | None = None) -> ListPushConfigsRequest:
    return ListPushConfigsRequest(task_id="t", page_size=size, page_token=token)


@given(st.lists(st.text(min_size=1), unique=True, max_size=12), st.none() | st.integers(1, 14))
def test_pages_of_configurations_hold_each_of_them_once_in_order(ids: list[str], size: int | None) -> None:
    configs = [PushConfig(url="u", id=name) for name in ids]
    seen: list[PushConfig] = []
    token = None
    while token != "":
        page = page_of_configs(configs, asked(size, token))
        assert len(page.configs) <= (size or len(configs))
        seen += page.configs
        token = page.next_page_token

    assert seen == configs


def test_a_page_goes_on_after_the_one_its_token_names_though_others_came_and_went() -> None:
    before = [PushConfig(url="u", id=name) for name in "abcd"]
    after = [PushConfig(url="u", id=name) for name in "bcde"]

    token = page_of_configs(before, asked(2)).next_page_token

    assert [config.id for config in page_of_configs(after, asked(2, token)).configs] == ["c", "d"]


def test_configurations_that_name_interrupts_only_are_pages_of_their_own() -> None:
    configs = [PushConfig(url="u", id=name, interrupts_only=name in "bd") for name in "abcd"]

    first = page_of_configs(configs, evolve(asked(1), interrupts_only=True))
    second = page_of_configs(configs, evolve(asked(1, first.next_page_token), interrupts_only=True))

    assert [*first.configs, *second.configs] == [configs[1], configs[3]]
    assert second.next_page_token == ""


@pytest.mark.parametrize("token", ["x", "A", "a "])
def test_a_token_of_no_configuration_is_refused_by_the_fields_name(token: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        page_of_configs([PushConfig(url="u", id="a")], asked(1, token))

    assert [violation.field for violation in caught.value.violations] == ["pageToken"]
