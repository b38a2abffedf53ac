"""The check of what the tests reach: it must fail where something of the core is not reached."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tools.coverage.reached import PACKAGES, Exemption, Report, exceptions_of, unmet

SOURCE = "def sign(number):\n    if number < 0:\n        return -1\n    return 1\n"
WHOLE = {"executed_lines": [1, 2, 3, 4], "missing_lines": [], "executed_branches": [[2, 3], [2, 4]]}


def file(**changed: list[Any]) -> dict[str, Any]:
    return {**WHOLE, "missing_branches": [], **changed}


def report(tmp_path: Path, **files: dict[str, Any]) -> Report:
    found = {f"{package}/sign.py": files.get(package, file()) for package in PACKAGES}
    for name in found:
        path = tmp_path / name
        path.parent.mkdir()
        path.write_text(SOURCE)
    return Report({"files": found}, tmp_path)


def test_all_is_well_where_all_is_reached(tmp_path: Path) -> None:
    assert unmet(report(tmp_path), ()) == []


def test_a_line_of_the_core_that_no_test_reaches_is_named_once(tmp_path: Path) -> None:
    core = file(executed_lines=[1, 2, 4], missing_lines=[3], executed_branches=[[2, 4]], missing_branches=[[2, 3]])

    assert unmet(report(tmp_path, sansio=core), ()) == ["sansio/sign.py:3: not reached: return -1"]


def test_a_branch_of_the_core_that_no_test_takes_is_named(tmp_path: Path) -> None:
    core = file(executed_branches=[[2, 3]], missing_branches=[[2, 4]])

    assert unmet(report(tmp_path, sansio=core), ()) == ["sansio/sign.py:2: never goes on to line 4: if number < 0:"]


def test_an_exception_is_found_by_the_text_of_its_line(tmp_path: Path) -> None:
    core = file(executed_lines=[1, 2, 4], missing_lines=[3], executed_branches=[[2, 4]], missing_branches=[[2, 3]])
    exempt = Exemption(file="sansio/sign.py", line="return -1", reason="nobody has less than nothing")

    assert unmet(report(tmp_path, sansio=core), [exempt]) == []


def test_an_exception_that_is_not_needed_is_a_problem(tmp_path: Path) -> None:
    exempt = Exemption(file="sansio/sign.py", line="return -1", reason="nobody has less than nothing")

    assert unmet(report(tmp_path), [exempt]) == ["sansio/sign.py: the exception is not needed: return -1"]


def test_another_package_may_leave_a_tenth(tmp_path: Path) -> None:
    nine, eight = ([*range(1, count + 1)] for count in (9, 8))
    enough = file(executed_lines=nine, missing_lines=[10], executed_branches=[])
    little = file(executed_lines=eight, missing_lines=[9, 10], executed_branches=[])

    found = unmet(report(tmp_path, runtime_trio=enough, opencode_a2a=little), ())

    assert found == ["opencode_a2a: 80.0% is reached, 90% is required"]


def test_a_package_that_was_not_measured_is_a_problem(tmp_path: Path) -> None:
    empty = Report({"files": {}}, tmp_path)

    assert unmet(empty, ()) == [f"{package}: nothing was measured" for package in PACKAGES]


def test_an_exception_needs_a_reason() -> None:
    text = '[[exception]]\nfile = "sansio/sign.py"\nline = "return -1"\nreason = '

    assert exceptions_of(text + '"why"') == (Exemption(file="sansio/sign.py", line="return -1", reason="why"),)
    with pytest.raises(ValueError, match="a reason"):
        exceptions_of(text + '""')
