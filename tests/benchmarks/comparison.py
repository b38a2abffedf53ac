"""Two servers that were measured in the same rounds: ratios, their spread, and what may be concluded from it.

Pure: it measures nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import comb
from statistics import median
from typing import Final

from attrs import frozen

FEWEST_ROUNDS: Final = 6
"""Rounds below which chance alone puts all ratios on one side of 1 more often than once in 20 runs."""

_CONFIDENCE: Final = 0.95
_HEADINGS: Final = ("runtime", "asked", "clients", "measure", "new", "old", "new : old", "spread", "rounds", "")
_WORDS: Final = 4  # columns that hold words; the others hold numbers, but for the last


@frozen(kw_only=True)
class Ratio:
    """The ratio new : old of some rounds: the median, and the spread that holds its true value in 95 of 100 runs.

    With up to eight rounds, the spread is the least and the greatest ratio. With more, the outermost are left out.
    """

    median: float
    low: float
    high: float
    rounds: int

    @property
    def verdict(self) -> str:
        """The conclusion in words: less is better."""
        if self.low > 1:
            return "slower"
        return "faster" if self.high < 1 else "no difference to be seen"


def ratio(new: Sequence[float], old: Sequence[float]) -> Ratio:
    """Compare two servers round by round. Raises `ValueError` for fewer than `FEWEST_ROUNDS`, or unequal numbers."""
    if len(new) < FEWEST_ROUNDS:
        raise ValueError(f"{len(new)} rounds show nothing; it takes {FEWEST_ROUNDS}")
    ratios = sorted(one / other for one, other in zip(new, old, strict=True))
    outer = _left_out(len(ratios))
    return Ratio(median=median(ratios), low=ratios[outer], high=ratios[-1 - outer], rounds=len(ratios))


def _left_out(rounds: int) -> int:
    """Return how many of the least and of the greatest ratios are beyond the spread.

    A true median has each ratio above it with a chance of one half, so the number of those above is binomial.
    """
    outer, beyond = -1, 0
    while 2 * (beyond + comb(rounds, outer + 1)) <= (1 - _CONFIDENCE) * 2**rounds:
        outer += 1
        beyond += comb(rounds, outer)
    return outer


@frozen(kw_only=True)
class Compared:
    """One measure of both servers: `new` and `old` have a value for each round."""

    runtime: str
    asked: str
    clients: int
    measure: str
    unit: str
    new: Sequence[float]
    old: Sequence[float]

    @property
    def ratio(self) -> Ratio:
        """The comparison of the rounds."""
        return ratio(self.new, self.old)


def table(rows: Sequence[Compared]) -> str:
    """Return one row for each measure, columns aligned, in Markdown."""
    cells = [_HEADINGS, *map(_cells, rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_HEADINGS))]
    rule = "| " + " | ".join("-" * width for width in widths) + " |"
    head, *lines = [_aligned(line, widths) for line in cells]
    return "\n".join([head, rule, *lines])


def _cells(row: Compared) -> tuple[str, ...]:
    found = row.ratio
    return (
        row.runtime,
        row.asked,
        str(row.clients),
        row.measure,
        f"{median(row.new):.2f} {row.unit}",
        f"{median(row.old):.2f} {row.unit}",
        f"{found.median:.3f}",
        f"{found.low:.3f} to {found.high:.3f}",
        str(found.rounds),
        found.verdict,
    )


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    last = len(cells) - 1
    padded = (
        cell.ljust(width) if at < _WORDS or at == last else cell.rjust(width)
        for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "| " + " | ".join(padded) + " |"
