"""Where a stream goes on: told in a header, or in metadata by clients that cannot set one; else refused by name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio.a2a.bindings.last_event_id import cursor_in
from sansio.a2a.errors import ErrorKind, ProtocolError
from sansio.a2a.model import JsonObject
from tests import strategies

FIELD = "metadata.shared.resume.last_event_id"


def resuming(value: object) -> JsonObject:
    return {"shared": {"resume": {"last_event_id": value}}}


def refused(header: str | None, metadata: JsonObject | None) -> str:
    with pytest.raises(ProtocolError) as caught:
        cursor_in(header, metadata)
    assert caught.value.kind is ErrorKind.INVALID_PARAMS
    [violation] = caught.value.violations
    return violation.field


@pytest.mark.parametrize(
    "metadata",
    [
        *(None, {}, {"shared": None}, {"shared": {}}, {"shared": {"session": {"id": "s"}}}),
        *({"shared": {"resume": None}}, {"shared": {"resume": {}}}, resuming(None)),
        *({"last_event_id": "5"}, {"resume": {"last_event_id": "5"}}),
    ],
)
@pytest.mark.parametrize("header", [None, "", "  "])
def test_a_stream_begins_now_where_nobody_says_otherwise(header: str | None, metadata: JsonObject | None) -> None:
    assert cursor_in(header, metadata) is None


@given(st.integers(0, 10**18 - 1))
def test_an_events_id_is_its_number_wherever_it_is_told(number: int) -> None:
    assert cursor_in(str(number), None) == number
    assert cursor_in(f"  {number}\t", None) == number
    assert cursor_in(None, resuming(str(number))) == number
    assert cursor_in(None, resuming(number)) == number
    assert cursor_in("", resuming(str(number))) == number


def test_the_header_counts_before_the_metadata() -> None:
    assert cursor_in("7", resuming("8")) == 7
    assert cursor_in("7", resuming("nonsense")) == 7


BAD = ["x", "-1", "+1", "1.5", "1e3", "0x10", "1 2", "\N{ARABIC-INDIC DIGIT ONE}", "\N{SUPERSCRIPT TWO}", "1" * 19]


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_events_id_is_refused_by_the_name_of_its_place(text: str) -> None:
    assert refused(text, None) == "Last-Event-ID"
    assert refused(text, resuming("8")) == "Last-Event-ID"
    assert refused(None, resuming(text)) == FIELD


@pytest.mark.parametrize("value", ["", True, -1, 1.5, [], {}, [5], {"id": "5"}], ids=str)
def test_values_of_another_kind_are_refused_by_the_fields_name(value: object) -> None:
    assert refused(None, resuming(value)) == FIELD


@pytest.mark.parametrize("metadata", [{"shared": "x"}, {"shared": []}, {"shared": {"resume": "5"}}], ids=str)
def test_a_place_that_cannot_be_looked_into_is_refused(metadata: JsonObject) -> None:
    assert refused(None, metadata) == FIELD


@given(st.none() | st.text(max_size=20), strategies.metadata | st.builds(resuming, strategies.json_values))
def test_anything_is_a_number_nothing_or_refused(header: str | None, metadata: JsonObject | None) -> None:
    try:
        cursor = cursor_in(header, metadata)
    except ProtocolError:
        assert refused(header, metadata) == ("Last-Event-ID" if header and header.strip() else FIELD)
    else:
        assert cursor is None or cursor >= 0
