"""The shape of the shipped code: what differs between versions stands in a table, and folders are small."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import OPT_IN
from tests.structure import TABLE, folder_of, version_comparisons
from tests.test_layers import MODULES, Module

MOST_MODULES = 12
ROOT = Path(__file__).parents[1]


def test_a_version_is_compared_where_one_is_chosen_and_nowhere_else() -> None:
    compared = {name: lines for name, module in MODULES.items() if (lines := [*version_comparisons(module)])}

    assert {name: lines for name, lines in compared.items() if name != TABLE} == {}


def test_a_comparison_is_found() -> None:
    assert [*version_comparisons(Module("m", 'a = version == "1.0"\nb = "0.3" in versions\n'))] == [1, 2]


def test_a_folder_holds_a_dozen_modules_at_most() -> None:
    folders = Counter(folder_of(module) for module in MODULES.values() if not module.is_package)

    assert {folder: count for folder, count in folders.items() if count > MOST_MODULES} == {}


@pytest.mark.parametrize("mark", OPT_IN)
def test_tests_that_need_other_programs_are_in_the_folder_of_their_mark(mark: str) -> None:
    """`.ci/run` collects that folder alone."""
    marked = [
        path.relative_to(ROOT) for path in (ROOT / "tests").rglob("test_*.py") if f"mark.{mark}" in path.read_text()
    ]

    assert marked
    assert [str(path) for path in marked if path.parts[1] != mark] == []


def test_nothing_that_is_to_be_ignored_is_tracked() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout")
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--ignored", "--exclude-standard"]
    tracked = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()

    assert tracked == []
