"""The command line of the seeded runs: runs them, prints a line for each that went wrong and a table per fault."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence

import anyio

from tests.faults.plan import KINDS
from tests.faults.runs import Outcome, run

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


def table(outcomes: Sequence[Outcome]) -> str:
    """A row per fault, over all runs that had it (a run has up to three), and one over all runs."""
    rows = [_row("none", 0, [one for one in outcomes if not one.kinds])]
    for kind in KINDS:
        having = [one for one in outcomes if kind in one.kinds]
        rows.append(_row(kind, sum(one.struck[kind] for one in having), having))
    rows.append(_row("all", sum(one.struck.total() for one in outcomes), outcomes))
    lines = [_COLUMNS, tuple("---" for _ in _COLUMNS), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def describe(outcome: Outcome) -> str:
    """A run that went wrong, and how to have it again."""
    head = (
        f"seed {outcome.seed} ({outcome.runtime}; {', '.join(outcome.kinds) or 'no fault'}; {dict(outcome.struck)})"
    )
    again = f"  again: python -m tests.faults --runs 1 --seed {outcome.seed} --log"
    return "\n".join([head, *(f"  {line}" for line in outcome.wrong), again])


async def _main(options: argparse.Namespace) -> int:
    begun = time.monotonic()
    outcomes: list[Outcome] = []
    limiter = anyio.CapacityLimiter(options.jobs)

    async def one(seed: int) -> None:
        async with limiter:
            outcome = await run(seed)
        outcomes.append(outcome)
        if outcome.wrong:
            print(describe(outcome), flush=True)
        if options.log:
            print(outcome.log, file=sys.stderr)

    async with anyio.create_task_group() as tasks:
        for seed in range(options.seed, options.seed + options.runs):
            tasks.start_soon(one, seed)
    print(table(outcomes))
    reasons = sum((outcome.reasons for outcome in outcomes), Counter[str]())
    for reason, count in reasons.most_common():
        print(f"failed {count}: {reason}")
    seconds = sorted(outcome.seconds for outcome in outcomes)
    print(f"{time.monotonic() - begun:.0f} s; a run {seconds[len(seconds) // 2]:.1f} s, {seconds[-1]:.1f} s at most")
    return 1 if any(outcome.wrong for outcome in outcomes) else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--runs", type=int, default=200, metavar="N")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the first run; each next has the next")
    parser.add_argument("--jobs", type=int, default=3, metavar="N", help="runs at a time (default: 3)")
    parser.add_argument("--log", action="store_true", help="print what the agent has logged")
    return anyio.run(_main, parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
