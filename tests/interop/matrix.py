"""Which client does which operation over which version and binding: `python -m tests.interop.matrix REPORT.xml`.

Reads the report that pytest wrote of these tests. Knows what they were about, and nothing of how they were done.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.interop.agent import READY_MADE, SOCKETS, WAYS, Way, has

WAY, OPERATION = "way", "operation"
"""The properties of a test in the report."""

OPERATIONS = (
    "card",
    "extended_card",
    "verify",
    "send",
    "stream",
    "get",
    "list",
    "cancel",
    "subscribe",
    "push",
    "push_set",
    "push_get",
    "push_list",
    "push_delete",
    "dialogue",
)
"""A column each. `verify` is of signed cards; `push` is what receivers are told; `dialogue` is of ready-made
programs, and of clients of WebSocket."""

Outcomes = Mapping[tuple[str, str], Counter[str]]
"""By way and operation: how many tests had which outcome."""


def outcomes_in(report: Path) -> Outcomes:
    """What the report says. Raises `OSError` and `ParseError`."""
    found: dict[tuple[str, str], Counter[str]] = {}
    for case in ET.parse(report).iter("testcase"):
        said = {prop.get("name"): prop.get("value") for prop in case.iter("property")}
        way, operation = said.get(WAY), said.get(OPERATION)
        if way is not None and operation is not None:
            found.setdefault((way, operation), Counter())[outcome_of(case)] += 1
    return found


def outcome_of(case: ET.Element) -> str:
    tags = {child.tag for child in case}
    if tags & {"failure", "error"}:
        return "failed"
    return "skipped" if "skipped" in tags else "passed"


def cell_of(way: Way, operation: str, outcomes: Outcomes) -> str:
    """How many tests passed; what did not, where something did not; `-` where the client has no such operation."""
    counted = outcomes.get((str(way), operation), Counter())
    told = [f"{counted[outcome]} {outcome}" for outcome in ("failed", "skipped") if counted[outcome]]
    if told:
        return ", ".join(told)
    if counted["passed"]:
        return f"ok {counted['passed']}"
    return "not run" if has(way, operation) else "-"


def rendered(outcomes: Outcomes) -> str:
    """A row for each way."""
    rows = [["client", "version", "binding", *OPERATIONS]]
    rows += [
        [way.client, way.version, way.binding, *(cell_of(way, operation, outcomes) for operation in OPERATIONS)]
        for way in (*WAYS, *READY_MADE, *SOCKETS)
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    rows.insert(1, ["-" * width for width in widths])
    return "\n".join(version_of(row, widths) for row in rows)


def version_of(row: Iterable[str], widths: Iterable[int]) -> str:
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python -m tests.interop.matrix REPORT.xml", file=sys.stderr)
        return 2
    try:
        outcomes = outcomes_in(Path(arguments[0]))
    except (OSError, ET.ParseError) as error:
        print(f"no test report: {error}", file=sys.stderr)
        return 1
    print(rendered(outcomes))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
