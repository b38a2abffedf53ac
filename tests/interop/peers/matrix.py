"""Which operation works with which agent: `python -m tests.interop.peers.matrix REPORT.xml`.

Reads the report that pytest wrote of these tests, and says why an agent lacks what it lacks.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from tests.interop.matrix import Outcomes, outcomes_in
from tests.interop.peers.peer import OF_NAME, OPERATIONS, WAYS


def rendered(outcomes: Outcomes) -> str:
    """A row for each interface of an agent, and beneath the table what each lacks."""
    rows = [["agent", "version", "binding", *OPERATIONS], ["---"] * (3 + len(OPERATIONS))]
    reasons: dict[str, None] = {}
    for way in WAYS:
        cells = []
        for operation in OPERATIONS:
            reason = OF_NAME[way.client].reason(way, operation)
            if reason is not None:
                reasons[f"{way.client}, {operation}: {reason}"] = None
            counted = outcomes.get((str(way), operation), Counter())
            failed = sum(count for outcome, count in counted.items() if outcome != "passed")
            cells.append("-" if reason is not None else "failed" if failed else "ok" if counted else "not run")
        rows.append([way.client, way.version, way.binding, *cells])
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([table, "", *(f"- {reason}" for reason in reasons)])


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python -m tests.interop.peers.matrix REPORT.xml", file=sys.stderr)
        return 2
    print(rendered(outcomes_in(Path(arguments[0]))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
