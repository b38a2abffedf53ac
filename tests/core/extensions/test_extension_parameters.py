"""The parameters of the extension methods: what their rows take, and how anything else is refused by name."""

from __future__ import annotations

from typing import Any

import jsonschema
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio.a2a.codecs.fields import DEEPEST, MOST_ITEMS
from sansio.a2a.errors import ErrorKind, ProtocolError, jsonrpc_error
from sansio.extensions.methods.method_rows import MethodRow
from sansio.extensions.methods.method_table import METHODS
from sansio.extensions.methods.parameters import Arguments, Parameter, read
from sansio.extensions.methods.shapes import (
    AnyJson,
    Choice,
    Flag,
    Identifier,
    Many,
    MapOf,
    Number,
    Record,
    Shape,
    Text,
)
from sansio.extensions.methods.types import params_schema
from tests.strategies import json_values

SESSION = {"session_id": "ses_1"}
PART = {"type": "text", "text": "x"}


def arguments(method: str, params: object) -> Arguments:
    row = METHODS[f"opencode.{method}"]
    return read(row.parameters, params, row.unsupported)


def refusal(method: str, params: object) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        arguments(method, params)
    assert caught.value.kind is ErrorKind.INVALID_PARAMS
    return caught.value


def prompt(**request: object) -> dict[str, Any]:
    return {**SESSION, "request": {"parts": [PART], **request}}


def test_no_parameters_are_an_empty_object() -> None:
    assert arguments("projects.list", None).values == {}


@pytest.mark.parametrize("params", [[], [1], "x", 5, True])
def test_parameters_by_position_are_refused(params: object) -> None:
    error = refusal("projects.list", params)

    assert error.message == "params must be an object"


def test_a_limit_has_a_default_and_bounds() -> None:
    assert arguments("sessions.list", {})["limit"] == 20
    assert arguments("sessions.list", {"limit": 100})["limit"] == 100
    assert refusal("sessions.list", {"limit": 101}).data == {"type": "INVALID_FIELD", "field": "limit", "max": 100}
    assert refusal("sessions.list", {"limit": 0}).data == {"type": "INVALID_FIELD", "field": "limit", "min": 1}
    assert refusal("sessions.list", {"limit": True}).data == {"type": "INVALID_FIELD", "field": "limit"}


def test_the_same_may_be_said_twice_but_not_two_things() -> None:
    assert arguments("sessions.list", {"limit": 5, "query": {"limit": 5}})["limit"] == 5
    assert arguments("sessions.list", {"query": {"limit": 5, "search": "x"}})["search"] == "x"

    error = refusal("sessions.list", {"limit": 5, "query": {"limit": 6}})

    assert error.data == {"type": "INVALID_FIELD", "field": "limit", "fields": ["limit", "query.limit"]}


@pytest.mark.parametrize("params", [{"cursor": "x"}, {"page": 1, "size": 2}, {"query": {"page": 1}}])
def test_other_ways_to_page_are_refused_as_such(params: dict[str, Any]) -> None:
    error = refusal("sessions.list", params)

    assert error.data == {
        "type": "INVALID_PAGINATION_MODE",
        "supported": ["limit"],
        "unsupported": ["cursor", "page", "size"],
    }


def test_what_no_row_names_is_refused_by_name() -> None:
    assert refusal("sessions.get", {**SESSION, "b": 1, "a": 2}).data == {
        "type": "INVALID_FIELD",
        "fields": ["a", "b"],
    }
    assert refusal("sessions.fork", {**SESSION, "request": {"x": 1}}).data == {
        "type": "INVALID_FIELD",
        "fields": ["request.x"],
        "field": "request",
    }


def test_metadata_of_others_is_nobodys_business() -> None:
    given = arguments("projects.list", {"metadata": {"https://example.org/x": {"a": 1}, "opencode": {"more": 1}}})

    assert given.values == {}


@pytest.mark.parametrize(
    ("metadata", "field"),
    [
        ({"opencode": 5}, "metadata.opencode"),
        ({"opencode": {"directory": 5}}, "metadata.opencode.directory"),
        ({"opencode": {"workspace": "w"}}, "metadata.opencode.workspace"),
        ({"opencode": {"workspace": {"id": []}}}, "metadata.opencode.workspace.id"),
    ],
)
def test_a_wrong_place_is_refused_by_name(metadata: dict[str, Any], field: str) -> None:
    error = refusal("projects.list", {"metadata": metadata})

    assert error.data["field"] == field


@pytest.mark.parametrize(
    ("params", "type", "field"),
    [
        ({}, "MISSING_FIELD", "session_id"),
        ({"session_id": " "}, "INVALID_FIELD", "session_id"),
        ({"session_id": "../x"}, "INVALID_FIELD", "session_id"),
        (SESSION, "MISSING_FIELD", "request"),
        ({**SESSION, "request": []}, "INVALID_FIELD", "request"),
        ({**SESSION, "request": {}}, "INVALID_FIELD", "request.parts"),
        ({**SESSION, "request": {"parts": []}}, "INVALID_FIELD", "request.parts"),
        ({**SESSION, "request": {"parts": [5]}}, "INVALID_FIELD", "request.parts[0]"),
        ({**SESSION, "request": {"parts": [PART, {"type": "x"}]}}, "INVALID_FIELD", "request.parts[1].type"),
        ({**SESSION, "request": {"parts": [{"type": "text"}]}}, "INVALID_FIELD", "request.parts[0].text"),
        (
            {**SESSION, "request": {"parts": [{"type": "file", "mime": "text/plain", "url": "file:///etc/passwd"}]}},
            "INVALID_FIELD",
            "request.parts[0].url",
        ),
        (
            {**SESSION, "request": {"parts": [{"type": "file", "mime": "application/zip", "url": "data:,x"}]}},
            "INVALID_FIELD",
            "request.parts[0].mime",
        ),
        ({**SESSION, "request": {"parts": [{**PART, "x": 1}]}}, "INVALID_FIELD", "request.parts[0].x"),
        (prompt(messageID="x"), "INVALID_FIELD", "request.messageID"),
        (prompt(model={"providerID": "p"}), "INVALID_FIELD", "request.model.modelID"),
        (prompt(tools={"bash": "no"}), "INVALID_FIELD", "request.tools.bash"),
        (prompt(format={"type": "xml"}), "INVALID_FIELD", "request.format.type"),
        (prompt(format={"type": "json_schema"}), "INVALID_FIELD", "request.format.schema"),
        (prompt(noReply=1), "INVALID_FIELD", "request.noReply"),
    ],
)
def test_a_prompt_is_checked_field_by_field(params: dict[str, Any], type: str, field: str) -> None:
    error = refusal("sessions.prompt_async", params)

    assert (error.data["type"], error.data["field"]) == (type, field)
    assert jsonrpc_error(error, "0.3")["data"] == error.data
    detail, info = jsonrpc_error(error, "1.0")["data"]
    assert info["@type"].endswith("ErrorInfo")
    assert detail["fieldViolations"][0]["field"] == field


def test_null_is_as_good_as_nothing() -> None:
    given = arguments("sessions.prompt_async", prompt(model=None, agent=None, tools=None))

    assert given.below("request") == {"parts": [PART]}


def test_values_are_taken_below_their_prefix() -> None:
    given = Arguments({"session_id": "s", "request.a": 1, "request.b": 2})

    assert given.below("request") == {"a": 1, "b": 2}


def outcome(row: MethodRow, params: object) -> Arguments | ProtocolError:
    try:
        return read(row.parameters, params, row.unsupported)
    except ProtocolError as error:
        return error


def holds(row: MethodRow, found: Arguments | ProtocolError) -> bool:
    """Whether all that is required was found, or else something is named that is wrong."""
    if isinstance(found, Arguments):
        return {one.name for one in row.parameters if one.required} <= found.values.keys()
    return found.kind is ErrorKind.INVALID_PARAMS and bool(found.violations) and "type" in found.data


@given(st.sampled_from(sorted(METHODS)), json_values)
def test_any_parameters_are_taken_or_refused_by_name(method: str, params: object) -> None:
    row = METHODS[method]

    assert holds(row, outcome(row, params))


@given(st.sampled_from(sorted(METHODS)), st.data())
def test_parameters_of_a_rows_own_names_are_taken_or_refused(method: str, data: st.DataObject) -> None:
    row = METHODS[method]
    top = {parameter.path[0] for parameter in row.parameters}
    nested = st.dictionaries(st.sampled_from(sorted({p.path[-1] for p in row.parameters} | {"x"})), json_values)
    params = data.draw(st.dictionaries(st.sampled_from(sorted(top | {"x", "query"})), json_values | nested))

    assert holds(row, outcome(row, params))


@pytest.mark.parametrize("method", METHODS)
def test_the_schema_of_parameters_is_a_schema(method: str) -> None:
    schema = params_schema(METHODS[method])

    jsonschema.Draft202012Validator.check_schema(schema)
    required = {one.path[0] for one in METHODS[method].parameters if one.required}
    assert set(schema.get("required", ())) == required


def test_a_row_is_all_there_is_to_a_parameter() -> None:
    rows = (
        Parameter(name="a", shape=Text(), about="", required=True),
        Parameter(name="b.c", shape=Number(least=1, most=3), about="", aliases=("d",), default=2),
        Parameter(name="e", shape=Flag(), about=""),
    )

    assert read(rows, {"a": " x ", "d": 3, "e": "True"}).values == {"a": "x", "b.c": 3, "e": True}
    assert read(rows, {"a": "x"}).values == {"a": "x", "b.c": 2}


# --- shapes -----------------------------------------------------------------------------------------------


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


ANY = AnyJson()
SEVERAL = Record(required={"any": ANY, "kind": Choice(("new", "old"))}, optional={"count": Number(least=0, most=9)})


@pytest.mark.parametrize(
    ("shape", "value", "field", "requirement"),
    [
        (Choice(("new", "old")), "used", "x", "must be one of new, old"),
        (ANY, nested(65), "x", "must not be nested more than 64 levels deep"),
        (Many(ANY), [1] * (MOST_ITEMS + 1), "x", f"must hold at most {MOST_ITEMS}"),
        (MapOf(Flag()), [], "x", "must be an object"),
        (
            MapOf(Flag()),
            {str(n): True for n in range(MOST_ITEMS + 1)},
            "x",
            f"must hold at most {MOST_ITEMS} members",
        ),
        (MapOf(Flag()), {"a": 1}, "x.a", "must be a boolean"),
        (SEVERAL, {"kind": "new"}, "x.any", "is required"),
        (SEVERAL, {"any": 1}, "x.kind", "must be a string"),
        (Identifier("ses"), "msg_1", "x", "must be a string starting with 'ses'"),
        (Identifier("ses"), "ses/1", "x", "must be letters, digits"),
        (Number(least=0, most=9), 1.5, "x", "must be an integer"),
    ],
)
def test_what_a_shape_does_not_take_is_refused_in_its_words(
    shape: Shape, value: object, field: str, requirement: str
) -> None:
    with pytest.raises(ProtocolError) as caught:
        shape.read(value, ("x",))

    (violation,) = caught.value.violations
    assert violation.field == field
    assert violation.message.startswith(requirement)


@pytest.mark.parametrize(
    ("shape", "value", "taken"),
    [
        (Choice(("new", "old")), " NEW ", "new"),
        (Choice(("new", "old"), late=True), "used", "used"),
        (ANY, nested(64), nested(64)),
        (MapOf(Flag()), {"a": "true", "b": False}, {"a": True, "b": False}),
        (SEVERAL, {"any": [], "kind": "old", "count": 5.0}, {"any": [], "kind": "old", "count": 5}),
        (Identifier("ses"), " ses_1 ", "ses_1"),
        (Number(least=0, most=9), " 7 ", 7),
    ],
)
def test_what_a_shape_takes_is_as_it_is_used(shape: Shape, value: object, taken: object) -> None:
    assert shape.read(value, ("x",)) == taken


def test_parameters_are_nested_up_to_a_depth() -> None:
    error = refusal("sessions.list", {"metadata": nested(DEEPEST + 1)})

    assert error.message == f"params must not be nested more than {DEEPEST} levels deep"


def test_a_parent_that_is_null_is_not_there() -> None:
    assert arguments("sessions.list", {"query": None})["limit"] == 20


def test_a_required_part_of_a_parameter_is_missed_by_its_name_or_its_parents() -> None:
    inner = Parameter(name="request.extra", shape=ANY, about="x", required=True)

    for params, missed in (("{}", "request"), ('{"request":{}}', "request.extra")):
        with pytest.raises(ProtocolError) as caught:
            read((inner,), orjson.loads(params))
        assert [one.field for one in caught.value.violations] == [missed]
