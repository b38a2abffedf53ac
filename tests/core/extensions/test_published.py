"""What is published from the tables: it is whole, it is what codecs and errors are, and the documents have it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from sansio.a2a.codecs.schemas import OPERATION_TYPES, TABLES, object_schema
from sansio.a2a.errors import jsonrpc_error
from sansio.a2a.operations import Operation, methods_of
from sansio.a2a.tasks.shared_metadata import SHARED_BY
from sansio.extensions.methods.method_errors import (
    ExtensionError,
    ExtensionErrorKind,
    disabled,
    forbidden,
    interrupt_error,
    payload_error,
    session_forbidden,
    session_not_found,
    session_unowned,
    upstream_error,
)
from sansio.extensions.methods.method_rows import MethodExtension, MethodRow, Toggle
from sansio.extensions.methods.method_table import METHODS, supported
from sansio.extensions.methods.parameters import Parameter
from sansio.extensions.published.compatibility import ServedVersion, compatibility_profile, wire_contract
from sansio.extensions.published.contracts import ERROR_DATA_FIELDS, method_contract
from sansio.extensions.published.openapi import Served, document
from sansio.extensions.published.profile import Deployment
from sansio.opencode.extension_names import EXTENSION_NAMES
from sansio.opencode.upstream.faults import UNREACHABLE, TaskFailure
from tests.parity import parity
from tests.paths import FIXTURES
from tools.docs.method_reference import markdown, words

EVERYTHING = frozenset(Toggle)
DEPLOYMENT = Deployment(title="T", description="D", version="7", url="https://agent.example", schemes=("bearer",))
SERVED = Served(
    card_paths=("/card.json",),
    health_path="/health",
    openapi_path="/openapi.json",
    health={"status": "ok"},
    signs=True,
)
VERSIONS = pytest.mark.parametrize("version", ["0.3", "1.0"])
ROWS = pytest.mark.parametrize("row", METHODS.values(), ids=METHODS)


# --- the schemas of the codecs ------------------------------------------------------------------------


def objects(version: str) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Our objects of a line that are published too: name, ours, the published one."""
    published = orjson.loads((FIXTURES / "schemas" / f"a2a-{version}.json").read_bytes())["definitions"]
    for name in TABLES[version]:
        if name in published:
            yield name, object_schema(version, name), published[name]


OURS_ALONE = {
    "0.3": {"ListTasksParams", "ListTasksResult"},
    "1.0": {"TaskState", "CreateTaskPushNotificationConfigRequest"},
}
"""Objects that have no schema of their own among the published ones."""


@VERSIONS
def test_objects_have_the_published_members(version: str) -> None:
    for name, ours, published in objects(version):
        assert set(ours.get("properties", {})) == set(published.get("properties", {})), name
        if version == "0.3":  # the schema of version 1.0, being made from its proto, requires nothing
            assert set(ours.get("required", ())) == set(published.get("required", ())), name
        if "enum" in ours:
            assert set(ours["enum"]) == set(published["enum"]), name

    assert set(TABLES[version]) - {name for name, _, _ in objects(version)} == OURS_ALONE[version]


@VERSIONS
def test_members_are_of_the_published_types(version: str) -> None:
    for name, ours, published in objects(version):
        for member, schema in ours.get("properties", {}).items():
            kinds = kinds_of(published["properties"][member])
            assert kinds_of(schema) <= kinds or kinds <= {"any"}, (name, member)


def kinds_of(schema: dict[str, Any]) -> set[str]:
    """The types that a schema allows; an object that is referred to by its name."""
    if "anyOf" in schema:
        return {kind for one in schema["anyOf"] for kind in kinds_of(one)}
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2].removeprefix("v0.3.").removeprefix("v1.0.")
        return {{"Struct": "object", "Timestamp": "string", "Value": "any", "TaskState": "string"}.get(name, name)}
    return {schema.get("type", "any")}


def test_every_operation_is_served_in_both_versions() -> None:
    assert set(OPERATION_TYPES) == set(Operation)
    assert all({"0.3", "1.0"} <= set(codecs) for codecs in OPERATION_TYPES.values())


# --- errors -----------------------------------------------------------------------------------------------

_REFUSED = TaskFailure(text="refused", type="UPSTREAM_SERVER_ERROR", status=500, answer="no")
ERRORS: dict[ExtensionErrorKind, ExtensionError] = {
    error.extension_kind: error
    for error in (
        session_not_found("ses_1"),
        session_forbidden("ses_1"),
        session_unowned("ses_1", "session_id"),
        forbidden("m", "c", "id"),
        disabled("m", "t", "0.3", ["a"]),
        upstream_error(TaskFailure(text="gone", type=UNREACHABLE), "m", "ses_1"),
        upstream_error(_REFUSED, "m", "ses_1"),
        payload_error("odd", "m", "ses_1"),
        interrupt_error(ExtensionErrorKind.INTERRUPT_REQUEST_NOT_FOUND, "r"),
        interrupt_error(ExtensionErrorKind.INTERRUPT_REQUEST_EXPIRED, "r"),
        interrupt_error(ExtensionErrorKind.INTERRUPT_TYPE_MISMATCH, "r", expected="a", actual="b"),
    )
}


@pytest.mark.parametrize("kind", ExtensionErrorKind, ids=lambda kind: kind.name)
def test_an_error_tells_what_is_published_of_it(kind: ExtensionErrorKind) -> None:
    told = jsonrpc_error(ERRORS[kind], "0.3")["data"]

    assert set(told) == {"type", *ERROR_DATA_FIELDS[kind]}


# --- contracts --------------------------------------------------------------------------------------------


@VERSIONS
@pytest.mark.parametrize("switched_on", [frozenset(), EVERYTHING], ids=["off", "on"])
def test_the_wire_contract_lists_what_is_on_offer_and_nothing_twice(
    version: str, switched_on: frozenset[Toggle]
) -> None:
    of = ServedVersion(
        version, Deployment(title="", description="", version="", url="", schemes=(), switched_on=switched_on), []
    )
    contract = wire_contract(of)
    conditional = contract["extensions"]["conditionally_available_methods"]

    assert contract["all_jsonrpc_methods"] == supported(version, switched_on)
    assert contract["core"]["jsonrpc_methods"] == methods_of(version)
    assert len(set(contract["all_jsonrpc_methods"])) == len(contract["all_jsonrpc_methods"])
    assert set(conditional) == {name for name, row in METHODS.items() if row.toggle not in (None, *switched_on)}


@VERSIONS
def test_everything_has_a_retention(version: str) -> None:
    profile = compatibility_profile(ServedVersion(version, DEPLOYMENT, []))

    assert set(profile["method_retention"]) == {*methods_of(version), *METHODS}
    assert {
        extension.uris["1.0"] if version == "1.0" else extension.uris["0.3"] for extension in MethodExtension
    } <= set(profile["extension_retention"])


RECORDED = orjson.loads((FIXTURES / "contracts" / "0.7.1-parameters.json").read_bytes())
"""What 0.7.1 published of each method: the names of its parameters, the members of its result, their type."""


@pytest.mark.parametrize("name", RECORDED)
def test_a_client_of_0_7_1_can_call_a_method_as_it_was_published(name: str) -> None:
    row, recorded = METHODS[name], RECORDED[name]
    contract = method_contract(row)
    known = {path for parameter in row.parameters for path in parameter.paths} | {"metadata"}

    assert {*recorded["required"], *recorded["optional"]} <= known
    assert set(contract["params"].get("required", ())) <= set(recorded["required"])
    assert set(recorded["fields"]) <= set(contract["result"]["fields"])
    assert recorded["items_type"] in (None, contract["result"].get("items_type"))


def test_all_that_0_7_1_published_was_recorded() -> None:
    assert len(RECORDED) == 27


def test_methods_of_0_7_1_are_all_here_and_answer_no_less() -> None:
    rows = list(parity())

    assert all(cell.strip() and cell != "missing" for one in rows for cell in one.cells)
    assert [one for one in rows if one.missing] == []
    assert len(rows) >= 43


def test_every_extension_that_gives_metadata_can_be_activated() -> None:
    assert SHARED_BY.keys() <= set(EXTENSION_NAMES.values())


# --- OpenAPI ----------------------------------------------------------------------------------------------


def described(*, complete: bool, versions: tuple[str, ...] = ("0.3", "1.0")) -> dict[str, Any]:
    deployment = Deployment(
        title="T",
        description="D",
        version="7",
        url="https://agent.example",
        schemes=("bearer", "basic"),
        versions=versions,
        default_version=versions[0],
        switched_on=EVERYTHING,
    )
    return document(deployment, SERVED, complete=complete)


@pytest.mark.parametrize("complete", [True, False])
def test_the_description_refers_to_what_is_there_and_names_nothing_twice(complete: bool) -> None:
    found = described(complete=complete)
    operations = [one for path in found["paths"].values() for one in path.values()]
    ids = [one["operationId"] for one in operations]

    assert not list(OpenAPIV31SpecValidator(found).iter_errors())
    there = {f"#/components/{kind}/{name}" for kind, named in found["components"].items() for name in named}
    assert set(references(found)) <= there
    assert len(set(ids)) == len(ids)
    for schema in found["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, member in value.items():
            if name == "$ref":
                yield member
            else:
                yield from references(member)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


@pytest.mark.parametrize("versions", [("0.3",), ("1.0",)])
def test_a_version_that_is_not_served_is_not_described(versions: tuple[str, ...]) -> None:
    [other] = {"0.3", "1.0"} - set(versions)
    found = described(complete=True, versions=versions)

    assert not [name for name in found["components"]["schemas"] if name.startswith(f"v{other}.")]
    assert ("/v1/tasks" in found["paths"]) is ("0.3" in versions)
    assert set(methods_of(other)).isdisjoint(found["paths"]["/"]["post"]["x-methods"])


def test_the_public_description_has_the_protocols_methods_alone() -> None:
    public, complete = described(complete=False), described(complete=True)

    assert set(public["paths"]["/"]["post"]["x-methods"]) == {*methods_of("0.3"), *methods_of("1.0")}
    assert set(complete["paths"]["/"]["post"]["x-methods"]) == {*methods_of("0.3"), *methods_of("1.0"), *METHODS}
    assert set(public["paths"]) == set(complete["paths"])


# --- the document -----------------------------------------------------------------------------------------


@ROWS
def test_the_reference_tells_all_of_a_method(row: MethodRow) -> None:
    _, _, rest = markdown().partition(f"##### `{row.name}`\n")
    section = rest.partition("\n#")[0]

    assert row.about in section
    for parameter in row.parameters:
        assert told_of(parameter) in section
    for name in (*row.result.members, *(kind.name for kind in row.all_errors)):
        assert f"`{name}`" in section
    assert (row.toggle is None) or row.toggle.value in section
    assert (row.capability is None) or row.capability in section


def told_of(parameter: Parameter) -> str:
    return f"| {' or '.join(f'`{path}`' for path in parameter.paths)} |"


def test_the_reference_has_every_operation_by_all_its_names() -> None:
    text = markdown()

    for operation in Operation:
        for name in (operation.row.rpc_0_3, operation.row.rpc_1_0):
            assert f"`{name}`" in text


def test_a_table_of_the_reference_has_no_blank() -> None:
    rows = [line for line in markdown().splitlines() if line.startswith("|")]

    assert [line for line in rows if any(not cell.strip() for cell in line.strip("|").split(" | "))] == []


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"type": "string"}, "a text"),
        ({"type": "string", "enum": ["a", "b"]}, "one of `a`, `b`"),
        ({"type": "array", "items": {"type": "boolean"}, "minItems": 1}, "a list of at least 1: true or false"),
        ({}, "any JSON"),
        ({"type": "object"}, "an object"),
        ({"oneOf": [{"type": "string"}, {}]}, "a text; or any JSON"),
    ],
)
def test_a_schema_is_told_in_words(schema: dict[str, Any], told: str) -> None:
    assert words(schema) == told
