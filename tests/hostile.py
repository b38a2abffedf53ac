"""Calls agents that mean harm, and prints what came of each: `python -m tests.hostile [--runtime trio]`.

The cases stand in `tests/shell/client/hostile.py`. Exit code 1 where one came out otherwise than its row says.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

import anyio
from attrs import frozen

from opencode_a2a.client import ClientOptions, connect
from opencode_a2a.server.runtimes import find_runtime
from sansio.a2a.client.client_errors import AgentError, ClientError, InvalidAnswerError, UnavailableError, UsageError
from sansio.a2a.model import Artifact, ArtifactUpdate, StreamItem, Task, TextPart
from sansio.redact import Secret
from tests.shell.client.hostile import CASES, Case, Outcome, misbehaving

_GRACE: Final = 1.0


@frozen(kw_only=True)
class Result:
    """Result of a case. `megabytes`: growth of the process at its peak; None where the system does not tell."""

    case: Case
    outcome: Outcome
    out: str
    text: str
    seconds: float
    megabytes: float | None

    @property
    def wrong(self) -> str:
        """What is otherwise than the case's row says; empty where nothing is."""
        case = self.case
        found = {
            f"{self.outcome.value} instead of {case.outcome.value}": self.outcome is not case.outcome,
            f"said {self.text!r}": case.text not in self.text,
            f"showed {self.out[:80]!r}": case.outcome is Outcome.ANSWER and case.out not in self.out,
            f"{self.seconds:.1f} s": self.seconds > case.seconds + _GRACE,
            f"{self.megabytes or 0:.0f} MB": (self.megabytes or 0) > case.megabytes,
        }
        return "; ".join(text for text, holds in found.items() if holds)


def peak_megabytes() -> float | None:
    """The most memory that this process has had since its peak was last reset."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), None)


def reset_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


async def attempt(case: Case) -> Result:
    """Call the agent of a case, no longer than it may take."""
    shown: list[str] = []
    async with misbehaving(case) as agent:
        options = ClientOptions(
            timeout=case.patience,
            card_timeout=2 * case.patience,
            patience=case.patience,
            bearer=Secret("hostile-token") if case.credentials else None,
        )
        reset_peak()
        before, began = peak_megabytes(), time.monotonic()
        outcome, text = Outcome.ENDLESS, ""
        with anyio.move_on_after(case.seconds):
            try:
                async with connect(agent.url, options) as remote, remote.stream("hi") as events:
                    async for item in events:
                        shown += texts_of(item)
                        del shown[:-100]
                outcome = Outcome.ANSWER
            except ClientError as error:
                outcome, text = OF_ERROR[next(kind for kind in OF_ERROR if isinstance(error, kind))], str(error)
        seconds, after = time.monotonic() - began, peak_megabytes()
    return Result(
        case=case,
        outcome=outcome,
        out="".join(shown),
        text=text,
        seconds=seconds,
        megabytes=None if before is None or after is None else after - before,
    )


def texts_of(item: StreamItem) -> list[str]:
    """The texts of the artifacts in an item, the last few of them."""
    match item:
        case ArtifactUpdate(artifact=artifact):
            artifacts: tuple[Artifact, ...] = (artifact,)
        case Task(artifacts=many):
            artifacts = many[-3:]
        case _:
            artifacts = ()
    return [part.text for one in artifacts for part in one.parts if isinstance(part, TextPart)]


# the first that fits: an agent that refuses because it is busy is unavailable too
OF_ERROR: Final[Mapping[type[ClientError], Outcome]] = {
    AgentError: Outcome.REFUSED,
    UnavailableError: Outcome.UNREACHABLE,
    InvalidAnswerError: Outcome.INVALID,
    UsageError: Outcome.USAGE,
}


def rendered(results: list[Result]) -> str:
    """A row for each case."""
    rows = [["case", "expected", "outcome", "seconds", "MB", "message"]]
    for one in results:
        message = one.text.strip().splitlines()[-1:] or [repr(one.out)[:80]]
        grown = "" if one.megabytes is None else f"{one.megabytes:.0f}"
        cells = [one.case.name, one.case.outcome.value, one.wrong or one.outcome.value, f"{one.seconds:.2f}", grown]
        rows.append([*cells, message[0][:90]])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    rows.insert(1, ["-" * width for width in widths])
    lines = (" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(f"| {line} |" for line in lines)


async def measure(wanted: str) -> list[Result]:
    return [await attempt(case) for case in CASES if wanted in case.name]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description="Calls agents that mean harm.")
    parser.add_argument("--runtime", default="asyncio", help="asyncio (the default) or trio")
    parser.add_argument("--only", default="", metavar="TEXT", help="the cases with this in their name")
    options = parser.parse_args()
    results: list[Result] = find_runtime(options.runtime).run(partial(measure, options.only))
    print(rendered(results))
    return 1 if any(one.wrong for one in results) else 0


if __name__ == "__main__":
    sys.exit(main())
