"""Measures turns: how they end, how long they take, when their first output comes. Counts once a turn, or less."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attrs import define

from opencode_a2a.agent.turns.running_turn import RunningTurn
from opencode_a2a.metrics.meters import Meters
from sansio.metrics import FAILURES, FIRST_OUTPUT, TURN_SECONDS, TURNS
from sansio.opencode.turns.turn import Turn


def first_output(meters: Meters, started: float, wall: Callable[[], float]) -> Callable[[], None]:
    """Return what is called with the first output of a turn that began at `started`, in epoch seconds."""
    return lambda: meters.observe(FIRST_OUTPUT, max(0.0, wall() - started))


def count_turn(meters: Meters, run: RunningTurn, seconds: float) -> None:
    """Count a turn that has ended, or is left to the next run of the server."""
    meters.count(TURNS, run.active.log.state.value)
    meters.observe(TURN_SECONDS, max(0.0, seconds))
    if run.turn.failure is not None:
        meters.count(FAILURES, run.turn.failure.type)


@define
class InterruptTotals:
    """Numbers of the permissions and questions that were asked, and answered, since the server began.

    What still waited as its turn ended was asked, and not answered.
    """

    asked: int = 0
    answered: int = 0

    def add(self, turn: Turn) -> None:
        """Add those of a turn."""
        self.asked += turn.interrupt_tracker.asked_count
        self.answered += turn.interrupt_tracker.ended_count - len(turn.left)

    def with_running(self, turns: Iterable[Turn]) -> InterruptTotals:
        """Return the totals together with those of turns that have not ended."""
        totals = InterruptTotals(self.asked, self.answered)
        for turn in turns:
            totals.add(turn)
        return totals
