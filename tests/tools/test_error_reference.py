"""The reference of errors is complete, and its examples are what is answered."""

from __future__ import annotations

import re
from typing import Any

import orjson
import pytest

from sansio.a2a.bindings.error_table import BINDINGS, ERROR_CONDITIONS
from sansio.a2a.errors import ErrorKind, LocalError
from sansio.a2a.versions import VERSIONS
from tools.docs.error_reference import markdown, refused

EXAMPLE = re.compile(r"^(JSON-RPC|HTTP\+JSON), (\S+) +(\d{3} )?(\{.*\})$", re.MULTILINE)

kinds = pytest.mark.parametrize("kind", ErrorKind, ids=lambda kind: kind.name)


def section_of(kind: ErrorKind) -> str:
    _, _, rest = markdown().partition(f"### `{kind.name}`\n")
    return rest.partition("\n### ")[0]


def examples_of(kind: ErrorKind) -> dict[tuple[str, str], tuple[int, Any]]:
    """The example bodies by binding and line, with the HTTP status (0 for JSON-RPC)."""
    found = EXAMPLE.findall(section_of(kind))
    return {(binding, version): (int(status or 0), orjson.loads(body)) for binding, version, status, body in found}


@kinds
def test_every_error_is_told_on_both_versions_of_its_bindings(kind: ErrorKind) -> None:
    assert ERROR_CONDITIONS[kind].when in section_of(kind)
    assert set(examples_of(kind)) == {
        (binding, version) for binding in ERROR_CONDITIONS[kind].bindings for version in VERSIONS
    }


@kinds
def test_examples_have_the_numbers_of_the_table(kind: ErrorKind) -> None:
    row = kind.row

    for (binding, version), (status, body) in examples_of(kind).items():
        if binding == "JSON-RPC":
            assert (status, body["code"]) == (0, row.code)
        elif version == "1.0":
            assert (status, body["error"]["code"], body["error"]["status"]) == (row.http, row.http, row.grpc)
        else:
            assert status == row.status("0.3")


@kinds
def test_errors_of_a2a_itself_have_an_error_info_on_version_1_0(kind: ErrorKind) -> None:
    if not kind.row.specific:
        return
    examples = examples_of(kind)
    told = [examples["JSON-RPC", "1.0"][1]["data"], examples["HTTP+JSON", "1.0"][1]["error"]["details"]]

    for details in told:
        assert [(info["reason"], info["domain"]) for info in details] == [(kind.name, "a2a-protocol.org")]


def test_overview_links_to_every_section() -> None:
    table = markdown().partition("\n### ")[0]

    assert re.findall(r"\(#(\w+)\)", table) == [kind.name.lower() for kind in ErrorKind]
    assert BINDINGS == ("JSON-RPC", "HTTP+JSON")


def test_example_that_is_accepted_is_a_fault_of_ours() -> None:
    with pytest.raises(LocalError, match="no example of an error: 7"):
        refused(lambda: 7)
