"""One table gives a summary's reader and its schema: what is taken has the published type, the rest is left out."""

from __future__ import annotations

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio.a2a.model import JsonObject
from sansio.opencode.projections.summaries import (
    FILE_DIFF,
    FILLED,
    FLAG,
    MODEL,
    NUMBER,
    PROVIDER,
    SESSION,
    STATUS,
    TEXT,
    TODO,
    WHOLE,
    Plain,
    Summary,
    taken,
)
from tests.strategies import json_values

INNER = Summary({}, {"part_id": ("partID", FILLED)})
THING = Summary(
    {"id": TEXT, "title": ("title", TEXT)},
    {"url": ("share.url", FILLED), "inner": ("inner", INNER), **taken(WHOLE, ("count",))},
)
MADE: dict[str, tuple[Summary, JsonObject]] = {
    "SESSION": (SESSION, {"id": "s", "title": ""}),
    "STATUS": (STATUS, {"session_id": "s", "type": "busy"}),
    "TODO": (TODO, {"id": "1"}),
    "FILE_DIFF": (FILE_DIFF, {"file": ""}),
    "PROVIDER": (PROVIDER, {"provider_id": "p", "name": "p", "connected": True, "model_count": 0}),
    "MODEL": (MODEL, {"provider_id": "p", "model_id": "m", "name": "m", "default": False, "connected": False}),
}


def test_members_are_taken_from_where_they_stand() -> None:
    answer = {"title": "t", "share": {"url": "u"}, "inner": {"partID": "p", "x": 1}, "count": 3, "other": 1}

    assert THING.of(answer, id="i", title="") == {
        "id": "i",
        "title": "t",
        "url": "u",
        "inner": {"part_id": "p"},
        "count": 3,
    }


def test_what_is_of_another_type_is_left_out_or_stays_as_it_was_filled_in() -> None:
    answer = {"title": 5, "share": "u", "inner": [], "count": True}

    assert THING.of(answer, id="i", title="") == {"id": "i", "title": ""}
    assert THING.of({"share": {"url": " "}, "count": 1.5}, id="i") == {"id": "i"}


@pytest.mark.parametrize(
    ("kind", "value", "fits"),
    [(FLAG, False, True), (FLAG, 0, False), (NUMBER, 1.5, True), (NUMBER, True, False), (TEXT, "", True)],
)
def test_a_kind_takes_values_of_its_type_alone(kind: Plain, value: object, fits: bool) -> None:
    assert (kind.take(value) is not None) is fits


def test_the_schema_has_all_members_and_requires_the_required() -> None:
    text = {"type": "string"}
    inner = {"type": "object", "properties": {"part_id": text}, "required": []}

    assert THING.schema() == {
        "type": "object",
        "properties": {"id": text, "title": text, "url": text, "inner": inner, "count": {"type": "integer"}},
        "required": ["id", "title"],
    }


@pytest.mark.parametrize("name", MADE)
@given(data=st.data())
def test_whatever_was_answered_the_summary_is_of_its_schema(name: str, data: st.DataObject) -> None:
    summary, filled = MADE[name]
    sources = ["id", "title", "share", "revert", "limit", "capabilities", "attempt", "next", "file", "additions"]
    nested = st.dictionaries(st.sampled_from(["url", "messageID", "context", "reasoning"]), json_values)
    answer = data.draw(st.dictionaries(st.sampled_from(sources), json_values | nested))

    jsonschema.validate(summary.of(answer, **filled), summary.schema())
