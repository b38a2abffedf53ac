"""Checks a report of slipcover: `python -m tools.coverage REPORT`.

Every line and branch of the core is reached by some test, or is an exception with a reason. Of each other package
nine tenths are. Exit code 1 otherwise, and where an exception is not needed.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import orjson

from tools.coverage.reached import Report, exceptions_of, unmet

ROOT: Final = Path(__file__).parents[2]
EXCEPTIONS: Final = Path(__file__).parent / "exceptions.toml"


def main(arguments: list[str]) -> int:
    """Print what each package reaches and what is missing; return the exit code."""
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    report = Report(orjson.loads(Path(arguments[0]).read_bytes()), ROOT)
    for package in report.packages:
        print(f"{package:<16} {report.share(package):6.1%} of lines and branches")
    problems = unmet(report, exceptions_of(EXCEPTIONS.read_text("utf-8")))
    print(*problems, sep="\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
