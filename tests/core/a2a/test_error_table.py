"""The reference of errors: it is complete, its examples are what is answered, and the document has it as it is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import orjson
import pytest

from sansio.a2a.bindings.error_table import BINDINGS, TOLD, markdown, refused
from sansio.a2a.errors import ErrorKind, LocalError, ProtocolError
from sansio.a2a.versions import LINES
from tools.docs.error_reference import PART, main, reference, updated

DOCUMENT = Path(__file__).parents[2] / "docs" / "errors.md"
EXAMPLE = re.compile(r"^(JSON-RPC|HTTP\+JSON), (\S+) +(\d{3} )?(\{.*\})$", re.MULTILINE)

kinds = pytest.mark.parametrize("kind", ErrorKind, ids=lambda kind: kind.name)


def section_of(kind: ErrorKind) -> str:
    _, _, rest = markdown().partition(f"### `{kind.name}`\n")
    return rest.partition("\n### ")[0]


def examples_of(kind: ErrorKind) -> dict[tuple[str, str], tuple[int, Any]]:
    """The example bodies by binding and line, with the HTTP status (0 for JSON-RPC)."""
    found = EXAMPLE.findall(section_of(kind))
    return {(binding, line): (int(status or 0), orjson.loads(body)) for binding, line, status, body in found}


@kinds
def test_every_error_is_told_on_both_lines_of_its_bindings(kind: ErrorKind) -> None:
    assert TOLD[kind].when in section_of(kind)
    assert set(examples_of(kind)) == {(binding, line) for binding in TOLD[kind].bindings for line in LINES}


@kinds
def test_examples_have_the_numbers_of_the_table(kind: ErrorKind) -> None:
    row = kind.row

    for (binding, line), (status, body) in examples_of(kind).items():
        if binding == "JSON-RPC":
            assert (status, body["code"]) == (0, row.code)
        elif line == "1.0":
            assert (status, body["error"]["code"], body["error"]["status"]) == (row.http, row.http, row.grpc)
        else:
            assert status == row.status("0.3")


@kinds
def test_errors_of_a2a_itself_have_an_error_info_on_line_1_0(kind: ErrorKind) -> None:
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


def test_examples_made_elsewhere_go_first() -> None:
    text = markdown({ErrorKind.OVERLOADED: ProtocolError(ErrorKind.OVERLOADED, "not now")})

    assert "not now" in text
    assert "not now" not in markdown()


def test_example_that_is_accepted_is_a_fault_of_ours() -> None:
    with pytest.raises(LocalError, match="no example of an error: 7"):
        refused(lambda: 7)


def test_document_has_the_reference_as_it_is() -> None:
    document = DOCUMENT.read_text("utf-8")

    assert document == updated(document), "run: python -m tools.docs.error_reference docs/errors.md"


def test_document_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="markers"):
        updated("# Errors\n")


def test_reference_is_written_between_the_markers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "errors.md"
    copy.write_text(f"before\n{PART.start}\nold\n{PART.end}\nafter\n", "utf-8")

    main([str(copy)])
    main([])

    assert copy.read_text("utf-8") == f"before\n{PART.start}\n\n{reference()}\n\n{PART.end}\nafter\n"
    assert capsys.readouterr().out == reference() + "\n"
