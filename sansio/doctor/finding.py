"""Findings of a check-up: a row for each check, with its outcome and what mends it.

Knows no check.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from attrs import frozen

from sansio.a2a.model import JsonObject


class Outcome(Enum):
    """Outcome of a check, from the best to the worst but for SKIPPED, which says nothing."""

    OK = "ok"
    SKIPPED = "skipped"
    WARN = "warn"
    FAIL = "fail"


@frozen
class Finding:
    """One row. `remedy`: the command or the variable that mends it; None where nothing is to be mended."""

    check: str
    outcome: Outcome
    detail: str
    remedy: str | None = None

    @property
    def json(self) -> JsonObject:
        """The row as JSON."""
        return {"check": self.check, "outcome": self.outcome.value, "detail": self.detail, "remedy": self.remedy}


def ok(check: str, detail: str) -> Finding:
    """Make the row of a check that found nothing wrong."""
    return Finding(check, Outcome.OK, detail)


def skipped(check: str, reason: str) -> Finding:
    """Make the row of a check that could not be made, or need not be."""
    return Finding(check, Outcome.SKIPPED, reason)


def warn(check: str, detail: str, remedy: str) -> Finding:
    """Make the row of what works, and may not be meant."""
    return Finding(check, Outcome.WARN, detail, remedy)


def fail(check: str, detail: str, remedy: str) -> Finding:
    """Make the row of what does not work."""
    return Finding(check, Outcome.FAIL, detail, remedy)


def of_problem(check: str, problem: str, *, outcome: Outcome = Outcome.FAIL) -> Finding:
    """Make a row from a problem in one line, whose remedy stands behind the last semicolon."""
    detail, _, remedy = problem.rpartition("; ")
    return Finding(check, outcome, detail or remedy, remedy if detail else None)


def worst(findings: Iterable[Finding]) -> Outcome:
    """Return the worst outcome of all; OK where there is no row."""
    order = list(Outcome)
    return max((finding.outcome for finding in findings), key=order.index, default=Outcome.OK)


def exit_code(findings: Iterable[Finding]) -> int:
    """Return 1 where something does not work, else 0."""
    return int(worst(findings) is Outcome.FAIL)
