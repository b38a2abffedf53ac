"""The comparison with another commit's server: what it concludes, and that it refuses to measure another tree."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.benchmarks.comparison import FEWEST_ROUNDS, Compared, ratio, table
from tests.benchmarks.other_tree import TreeError, check_imports, packages_in, strangers
from tests.benchmarks.processes import ROOT, Usage, clean_environment

PACKAGES = ("opencode_a2a", "sansio", "runtime_asyncio")
positive = st.integers(1, 100).map(float)
rounds = st.lists(st.tuples(positive, positive), min_size=FEWEST_ROUNDS, max_size=40)


def make_tree(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text("")
    return folder


@pytest.mark.parametrize(
    ("new", "verdict"),
    [
        ([1.1, 1.2, 1.1, 1.3, 1.1, 1.2], "slower"),
        ([0.9, 0.8, 0.9, 0.7, 0.9, 0.8], "faster"),
        ([1.1, 1.2, 1.1, 0.99, 1.1, 1.2], "no difference to be seen"),
        ([1.1, 1.2, 1.1, 1.0, 1.1, 1.2], "no difference to be seen"),
    ],
)
def test_a_difference_is_one_where_the_spread_leaves_out_one(new: list[float], verdict: str) -> None:
    assert ratio(new, [1.0] * 6).verdict == verdict


def test_a_ratio_is_one_of_the_same_round() -> None:
    found = ratio([2.0, 20.0, 200.0, 2.0, 20.0, 200.0], [1.0, 10.0, 100.0, 1.0, 10.0, 100.0])
    assert (found.low, found.median, found.high, found.rounds) == (2.0, 2.0, 2.0, 6)


@pytest.mark.parametrize(("number", "left_out"), [(6, 0), (8, 0), (9, 1), (11, 1), (12, 2), (25, 7)])
def test_the_spread_leaves_out_what_chance_allows(number: int, left_out: int) -> None:
    values = [float(value) for value in range(1, number + 1)]
    found = ratio(values, [1.0] * number)
    assert (found.low, found.high) == (1.0 + left_out, number - left_out)


@given(rounds)
def test_the_median_is_within_the_spread(values: list[tuple[float, float]]) -> None:
    found = ratio([new for new, _ in values], [old for _, old in values])
    assert found.low <= found.median <= found.high


@given(rounds)
def test_the_other_way_round_a_verdict_is_the_opposite(values: list[tuple[float, float]]) -> None:
    new, old = [new for new, _ in values], [old for _, old in values]
    opposite = {"slower": "faster", "faster": "slower"}
    verdict = ratio(new, old).verdict
    assert ratio(old, new).verdict == opposite.get(verdict, verdict)


def test_too_few_rounds_are_refused() -> None:
    with pytest.raises(ValueError, match="5 rounds"):
        ratio([1.0] * 5, [1.0] * 5)
    with pytest.raises(ValueError, match="argument"):
        ratio([1.0] * 7, [1.0] * 6)


def test_the_table_has_a_row_for_each_measure() -> None:
    row = Compared(
        runtime="trio",
        asked="1.0 jsonrpc",
        clients=8,
        measure="CPU per event",
        unit="us",
        new=[22.0] * 6,
        old=[20.0] * 6,
    )
    *_, last = table([row]).splitlines()
    cells = [cell.strip() for cell in last.strip("|").split("|")]
    assert cells[:4] == ["trio", "1.0 jsonrpc", "8", "CPU per event"]
    assert cells[4:] == ["22.00 us", "20.00 us", "1.100", "1.100 to 1.100", "6", "slower"]


def test_a_tree_with_a_server_is_the_one_that_is_imported(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree", *PACKAGES, "tests")
    assert packages_in(tree) == sorted(PACKAGES)
    check_imports(tree, tmp_path)


def test_a_tree_without_a_server_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TreeError, match="has no sansio"):
        check_imports(make_tree(tmp_path / "tree", "opencode_a2a"), tmp_path)


def test_a_tree_that_cannot_be_imported_is_refused(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree", *PACKAGES)
    (tree / "sansio" / "__init__.py").write_text("import no_such_library_at_all")
    with pytest.raises(TreeError, match="no_such_library_at_all"):
        check_imports(tree, tmp_path)


def test_a_tree_that_another_one_hides_is_refused(tmp_path: Path) -> None:
    """A package beside the server's folder comes first, as it does for `python -m`."""
    tree = make_tree(tmp_path / "tree", *PACKAGES)
    started = make_tree(tmp_path / "started", "sansio")
    with pytest.raises(TreeError, match=r"sansio of .*started"):
        check_imports(tree, started)


def test_a_package_without_a_file_is_a_stranger(tmp_path: Path) -> None:
    assert strangers({"a": str(tmp_path / "a" / "__init__.py"), "b": None}, tmp_path) == ["b of None"]


def test_a_server_imports_the_tree_that_is_named(tmp_path: Path) -> None:
    assert clean_environment({}, root=tmp_path)["PYTHONPATH"].split(os.pathsep)[0] == str(tmp_path)
    assert clean_environment({})["PYTHONPATH"].split(os.pathsep)[0] == str(ROOT)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="the clock of another process is Linux's")
def test_the_cpu_of_a_process_is_finer_than_a_hundredth_of_a_second() -> None:
    usage = Usage.start(os.getpid())
    began = time.process_time_ns()
    sum(range(100_000))
    ended = time.process_time_ns()
    assert usage.cpu_seconds() * 1e9 >= ended - began - 1000  # to a float and back
