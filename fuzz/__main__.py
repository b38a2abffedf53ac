"""`python -m fuzz [TARGET] [--seconds N] [--seed S]`: look for inputs that break an invariant of the core.

Exit codes: 0 nothing found, 1 an invariant is broken (the input is kept among the regressions), 2 wrong usage.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

from fuzz.running import REGRESSIONS, Failure, keep, run
from fuzz.target import Target
from fuzz.targets import TARGETS

_SHOWN = 2000


def _arguments(names: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=(__doc__ or "").partition(": ")[2])
    parser.add_argument("target", nargs="?", choices=sorted(names), metavar="TARGET", help="default: all of them")
    parser.add_argument("--seconds", type=float, default=30.0, help="time in total (default: %(default)g)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed tries the same inputs in the same order")
    parser.add_argument("--list", action="store_true", help="name the targets and their invariants, and stop")
    return parser


def _tell(target: Target, failure: Failure, kept: Path) -> None:
    print(f"{target.name}: {target.invariant}")
    print(f"  broken by {failure.data[:_SHOWN]!r}")
    print(f"  kept as {kept}")
    print("".join(traceback.format_exception(failure.error)))


def main(
    arguments: Sequence[str] | None = None,
    targets: Mapping[str, Target] = TARGETS,
    folder: Path = REGRESSIONS,
) -> int:
    """Fuzz as the arguments say; returns the exit code. Failures are kept below `folder`."""
    asked = _arguments(list(targets)).parse_args(arguments)
    chosen = [targets[asked.target]] if asked.target else list(targets.values())
    if asked.list:
        for target in chosen:
            print(f"{target.name:10} {target.invariant}")
        return 0
    broken = False
    for target in chosen:
        result = run(target, asked.seconds / len(chosen), asked.seed)
        outcome = "ok" if result.failure is None else "BROKEN"
        print(f"{target.name:10} {outcome}: {result.runs} runs, {result.seconds:.1f} s", flush=True)
        if result.failure is not None:
            broken = True
            _tell(target, result.failure, keep(target, result.failure, folder))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
