"""Runs an operator's day, and prints a row for each step: `python -m tests.operations [--runtime trio]`.

The exit code is 1 where a stream was lost, an event came twice or not at all, or a step found something wrong.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from functools import partial
from pathlib import Path

from attrs import fields

from tests.operations.day import Plan, day
from tests.operations.records import table
from tests.shell.harness import RUNTIMES

_MEASURES = ("streams", "tokens", "pause", "grace", "retention")


async def _day(plan: Plan, show_log: bool) -> int:
    with tempfile.TemporaryDirectory(prefix="opencode-a2a-day-") as folder:
        async with day(plan, Path(folder)) as found:
            try:
                await found.run()
            finally:
                print(table(found.rows))
                if show_log:
                    print(found.deployment.log, file=sys.stderr)
            print(f"\n{found.load.postponed} messages were sent again, as nobody had answered")
            for line in found.wrong:
                print(line)
            return 1 if found.wrong else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.operations", description="Runs an operator's day.")
    parser.add_argument("--runtime", choices=sorted(RUNTIMES), default="asyncio")
    for name in _MEASURES:
        default = getattr(fields(Plan), name).default
        parser.add_argument(f"--{name}", type=type(default), default=default, help=f"default: {default}")
    parser.add_argument("--log", action="store_true", help="print what the servers have logged")
    options = parser.parse_args()
    plan = Plan(runtime=options.runtime, **{name: getattr(options, name) for name in _MEASURES})
    exit_code: int = RUNTIMES[options.runtime].run(partial(_day, plan, options.log))
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
