"""The generated parts of the documents are what the tables of the code say now."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.paths import DOCS, ROOT
from tools.docs.extras_reference import FOR_DEVELOPERS, PYPROJECT, USES
from tools.docs.generated_parts import PARTS, GeneratedPart, update_documents

EACH_PART = pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)


@EACH_PART
def test_a_document_has_the_part_as_it_is(part: GeneratedPart) -> None:
    text = (DOCS / part.document).read_text("utf-8")

    assert text == part.update(text), "run: python -m tools.docs"


@EACH_PART
def test_a_document_without_markers_is_refused(part: GeneratedPart) -> None:
    with pytest.raises(ValueError, match="no markers"):
        part.update("# Title\n")


def test_only_what_is_between_the_markers_changes(tmp_path: Path) -> None:
    parts_of = {part.document: [one for one in PARTS if one.document == part.document] for part in PARTS}
    for document, parts in parts_of.items():
        text = "".join(f"before\n{part.start}\nold\n{part.end}\nafter\n" for part in parts)
        (tmp_path / document).parent.mkdir(exist_ok=True)
        (tmp_path / document).write_text(text, "utf-8")

    update_documents(tmp_path)

    for document, parts in parts_of.items():
        rendered = [f"before\n{part.start}\n\n{part.render()}\n\n{part.end}\nafter\n" for part in parts]
        assert (tmp_path / document).read_text("utf-8") == "".join(rendered)


def test_every_extra_but_those_of_developers_has_its_use_in_words() -> None:
    extras = tomllib.loads(PYPROJECT.read_text("utf-8"))["project"]["optional-dependencies"]

    assert set(USES) | FOR_DEVELOPERS == set(extras)
    assert set(USES) & FOR_DEVELOPERS == set()


def test_the_command_updates_the_checkout_it_belongs_to(tmp_path: Path) -> None:
    for folder in ("docs", "tools", "sansio", "opencode_a2a"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PYPROJECT, tmp_path)
    document = tmp_path / "docs" / "configuration.md"
    fresh = document.read_text("utf-8")
    document.write_text(fresh.replace("127.0.0.1 |", "elsewhere |"), "utf-8")

    subprocess.run([sys.executable, "-m", "tools.docs"], cwd=tmp_path, check=True, timeout=60)

    assert document.read_text("utf-8") == fresh
