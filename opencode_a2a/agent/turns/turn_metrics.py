"""Measures turns: how they end, how long they take, when their first output comes. Counts once a turn, or less."""

from __future__ import annotations

from collections.abc import Callable

from opencode_a2a.agent.turns.running_turn import RunningTurn
from opencode_a2a.metrics.meters import Meters
from sansio.metrics import FAILURES, FIRST_OUTPUT, INTERRUPTS_ASKED, INTERRUPTS_RESOLVED, TURN_SECONDS, TURNS


def first_output(meters: Meters, started: float, wall: Callable[[], float]) -> Callable[[], None]:
    """Return what is called with the first output of a turn that began at `started`, in epoch seconds."""
    return lambda: meters.observe(FIRST_OUTPUT, max(0.0, wall() - started))


def count_turn(meters: Meters, run: RunningTurn, seconds: float) -> None:
    """Count a turn that has ended, or is left to the next run of the server."""
    meters.count(TURNS, run.active.log.state.value)
    meters.observe(TURN_SECONDS, max(0.0, seconds))
    if run.turn.failure is not None:
        meters.count(FAILURES, run.turn.failure.type)
    asked = len(run.turn.interrupt_tracker.asked_at)
    if asked:
        meters.count(INTERRUPTS_ASKED, by=asked)
        meters.count(INTERRUPTS_RESOLVED, by=asked - len(run.turn.left))
