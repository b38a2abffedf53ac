"""The command line of the seeded runs: runs them, prints a line for each that went wrong and a table per fault."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import anyio

from tests.faults.plan import KINDS
from tests.faults.runs import Outcome, runs

_COLUMNS = (
    "fault",
    "runs",
    "struck",
    "tasks",
    "completed",
    "failed",
    "auth",
    "canceled",
    "resumed",
    "unheard",
    "wrong",
)


def _row(name: str, struck: int, outcomes: Sequence[Outcome]) -> tuple[object, ...]:
    states = sum((outcome.states for outcome in outcomes), Counter[str]())
    return (
        name,
        len(outcomes),
        struck,
        states.total(),
        states["completed"],
        states["failed"],
        states["auth-required"],
        states["canceled"],
        sum(outcome.streams_cut for outcome in outcomes),
        sum(outcome.unheard for outcome in outcomes),
        sum(bool(outcome.wrong) for outcome in outcomes),
    )


def table(outcomes: Sequence[Outcome], kinds: Sequence[str] = KINDS) -> str:
    """A row per fault, over all runs that had it (a run has up to three), and one over all runs."""
    rows = [_row("none", 0, [one for one in outcomes if not one.kinds])]
    for kind in kinds:
        having = [one for one in outcomes if kind in one.kinds]
        rows.append(_row(kind, sum(one.struck[kind] for one in having), having))
    rows.append(_row("all", sum(one.struck.total() for one in outcomes), outcomes))
    lines = [_COLUMNS, tuple("---" for _ in _COLUMNS), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def describe(outcome: Outcome, program: str = "tests.faults") -> str:
    """A run that went wrong, and how to have it again."""
    head = (
        f"seed {outcome.seed} ({outcome.runtime}; {', '.join(outcome.kinds) or 'no fault'}; {dict(outcome.struck)})"
    )
    again = f"  again: python -m {program} --runs 1 --seed {outcome.seed} --log"
    return "\n".join([head, *(f"  {line}" for line in outcome.wrong), again])


def summary(outcomes: Sequence[Outcome], kinds: Sequence[str], took: float) -> str:
    """The table, why tasks failed, and the seconds of all runs."""
    reasons = sum((outcome.reasons for outcome in outcomes), Counter[str]())
    seconds = sorted(outcome.seconds for outcome in outcomes)
    return "\n".join(
        [
            table(outcomes, kinds),
            *(f"failed {count}: {reason}" for reason, count in reasons.most_common()),
            f"{took:.0f} s; a run {seconds[len(seconds) // 2]:.1f} s, {seconds[-1]:.1f} s at most",
        ]
    )


class Runs(Protocol):
    """Does the runs of some seeds."""

    async def __call__(
        self, seeds: Iterable[int], *, jobs: int, ended: Callable[[Outcome], None]
    ) -> Sequence[Outcome]: ...


async def _main(options: argparse.Namespace, program: str, kinds: Sequence[str], runs_of: Runs) -> int:
    begun = time.monotonic()

    def ended(outcome: Outcome) -> None:
        if outcome.wrong:
            print(describe(outcome, program), flush=True)
        if options.log or outcome.wrong:
            print(outcome.log, file=sys.stderr)

    seeds = range(options.seed, options.seed + options.runs)
    outcomes = await runs_of(seeds, jobs=options.jobs, ended=ended)
    print(summary(outcomes, kinds, time.monotonic() - begun))
    return 1 if any(outcome.wrong for outcome in outcomes) else 0


def command_line(program: str, about: str | None, kinds: Sequence[str], runs_of: Runs) -> int:
    """Do runs as the command line asks, and print what came of them; return the exit code."""
    parser = argparse.ArgumentParser(prog=f"python -m {program}", description=about)
    parser.add_argument("--runs", type=int, default=200, metavar="N")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the first run; each next has the next")
    parser.add_argument("--jobs", type=int, default=3, metavar="N", help="runs at a time (default: 3)")
    parser.add_argument("--log", action="store_true", help="print what the servers have logged")
    return anyio.run(_main, parser.parse_args(), program, kinds, runs_of)


if __name__ == "__main__":
    sys.exit(command_line("tests.faults", __doc__, KINDS, runs))
