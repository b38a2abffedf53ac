"""The generated parts of the documents are what the tables of the code say now."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import DOCS, ROOT
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
    for part in PARTS:
        (tmp_path / part.document).write_text(f"before\n{part.start}\nold\n{part.end}\nafter\n", "utf-8")

    update_documents(tmp_path)

    for part in PARTS:
        expected = f"before\n{part.start}\n\n{part.render()}\n\n{part.end}\nafter\n"
        assert (tmp_path / part.document).read_text("utf-8") == expected


def test_the_command_updates_the_checkout_it_belongs_to(tmp_path: Path) -> None:
    for folder in ("docs", "tools", "sansio", "opencode_a2a"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    document = tmp_path / "docs" / "configuration.md"
    fresh = document.read_text("utf-8")
    document.write_text(fresh.replace("127.0.0.1 |", "elsewhere |"), "utf-8")

    subprocess.run([sys.executable, "-m", "tools.docs"], cwd=tmp_path, check=True, timeout=60)

    assert document.read_text("utf-8") == fresh
