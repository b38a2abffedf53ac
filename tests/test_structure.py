"""The shape of the shipped code: what differs between versions stands in a table, and folders are small."""

from __future__ import annotations

from collections import Counter

from tests.structure import TABLE, folder_of, version_comparisons
from tests.test_layers import MODULES, Module

MOST_MODULES = 12


def test_a_version_is_compared_where_one_is_chosen_and_nowhere_else() -> None:
    compared = {name: lines for name, module in MODULES.items() if (lines := [*version_comparisons(module)])}

    assert {name: lines for name, lines in compared.items() if name != TABLE} == {}


def test_a_comparison_is_found() -> None:
    assert [*version_comparisons(Module("m", 'a = version == "1.0"\nb = "0.3" in versions\n'))] == [1, 2]


def test_a_folder_holds_a_dozen_modules_at_most() -> None:
    folders = Counter(folder_of(module) for module in MODULES.values() if not module.is_package)

    assert {folder: count for folder, count in folders.items() if count > MOST_MODULES} == {}
