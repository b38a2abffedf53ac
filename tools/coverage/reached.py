"""What a report of slipcover says of lines and branches, and what is required of it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import define, frozen

WHOLE: Final = "sansio"
SHARE: Final = 0.9  # of every other package
PACKAGES: Final = ("opencode_a2a", "runtime_asyncio", "runtime_http", "runtime_trio", "sansio")


@frozen
class Exemption:
    """A line of the core that no test reaches. `line`: its text, without indentation, so that it may move."""

    file: str
    line: str
    reason: str


def exceptions_of(text: str) -> tuple[Exemption, ...]:
    """Read the exceptions. Raises `ValueError` for one without a reason."""
    found = tuple(Exemption(**entry) for entry in tomllib.loads(text).get("exception", []))
    for one in found:
        if not (one.file and one.line and one.reason):
            raise ValueError(f"an exception needs a file, a line and a reason: {one}")
    return found


@define
class _Counts:
    reached: int = 0
    missing: int = 0


class Report:
    """A report, by packages. `root`: the folder that its paths begin in."""

    def __init__(self, report: Mapping[str, Any], root: Path) -> None:
        self._root = root
        self._files: dict[str, Mapping[str, Any]] = report["files"]
        self._counts = {package: _Counts() for package in PACKAGES}
        for name, file in self._files.items():
            counts = self._counts.get(Path(name).parts[0])
            if counts is not None:
                counts.reached += len(file["executed_lines"]) + len(file["executed_branches"])
                counts.missing += len(file["missing_lines"]) + len(file["missing_branches"])

    @property
    def packages(self) -> tuple[str, ...]:
        """The packages that are measured."""
        return PACKAGES

    def share(self, package: str) -> float:
        """Return the share of a package's lines and branches that is reached; 0 where nothing was measured."""
        counts = self._counts[package]
        every = counts.reached + counts.missing
        return counts.reached / every if every else 0.0

    def missing(self, package: str) -> Iterator[tuple[str, int, str, str]]:
        """Yield what is not reached: file, line number, text of the line, and what of it is missing."""
        for name, file in sorted(self._files.items()):
            if Path(name).parts[0] != package or not (file["missing_lines"] or file["missing_branches"]):
                continue
            lines = (self._root / name).read_text("utf-8").splitlines()
            unreached = set(file["missing_lines"])
            for number in file["missing_lines"]:
                yield name, number, lines[number - 1].strip(), "not reached"
            for start, end in file["missing_branches"]:
                if start not in unreached and end not in unreached:
                    where = f"line {end}" if end else "the end"
                    yield name, start, lines[start - 1].strip(), f"never goes on to {where}"


def unmet(report: Report, exceptions: Sequence[Exemption]) -> list[str]:
    """Return a line for each requirement that the report does not meet."""
    problems: list[str] = []
    unused = {(one.file, one.line) for one in exceptions}
    excused = frozenset(unused)
    for name, number, text, what in report.missing(WHOLE):
        unused.discard((name, text))
        if (name, text) not in excused:
            problems.append(f"{name}:{number}: {what}: {text}")
    problems += [f"{name}: the exception is not needed: {text}" for name, text in sorted(unused)]
    for package in report.packages:
        least = SHARE if package != WHOLE else 0.0
        share = report.share(package)
        if share == 0.0:
            problems.append(f"{package}: nothing was measured")
        elif share < least:
            problems.append(f"{package}: {share:.1%} is reached, {least:.0%} is required")
    return problems
