"""Finds the turn that a call of the tool is from, and lets the call show in it and end with it.

The call itself does not name its session. The event bus does: it shows the call as a running part with the same
arguments, usually a few milliseconds later. Where two turns ask the same at the same time, or none is found, nothing
is shown in a turn, and the highest number of hops among them all is assumed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

import anyio
from attrs import frozen

from opencode_a2a.agent.turns.running_turn import RunningTurn
from opencode_a2a.agent.turns.turn_runner import TurnRunner
from sansio.a2a.bindings.trace_context import TraceContext
from sansio.a2a.tool.hops import HOP_LIMIT
from sansio.opencode.tool_servers import RunningCall

FINDING: Final = 2.0
"""Seconds in which the bus has to show a call."""


@frozen(eq=False)
class TurnOrigin:
    """The origin of a call. `run` None: it is not known, or not certain, which turn it is."""

    turns: TurnRunner
    hops: int
    run: RunningTurn | None = None
    call: RunningCall | None = None

    @property
    def trace(self) -> TraceContext | None:
        """The span of the turn; None where the turn is not known."""
        return None if self.run is None else self.run.active.trace

    @contextmanager
    def attached(self, scope: anyio.CancelScope) -> Iterator[None]:
        """While it is entered, the end of the turn cancels the scope."""
        if self.run is None:
            yield
            return
        self.run.tool_scopes.add(scope)
        try:
            yield
        finally:
            self.run.tool_scopes.discard(scope)
            if self.call is not None:
                self.run.claimed_calls.discard(self.call.part_id)

    def progress(self, text: str) -> None:
        """Show progress in the turn's own task."""
        if self.run is not None and self.call is not None:
            self.turns.tool_progress(self.run, self.call, text)


class ToolOrigins:
    """The origins of calls, among the turns that run."""

    def __init__(self, turns: TurnRunner) -> None:
        self._turns = turns

    async def find(self, arguments: Mapping[str, object]) -> TurnOrigin:
        """Return the origin of a call with these arguments."""
        with anyio.move_on_after(FINDING):
            while self._turns.running:
                began = self._turns.tool_call_began.next()
                found = self._matching(arguments)
                if found:
                    return self._chosen(found)
                await began.wait()
        hops = [hops_of_turn(run) for run in self._turns.running.values()]
        # somebody else uses this OpenCode: the agent may answer, and not call on
        return TurnOrigin(self._turns, max(hops, default=HOP_LIMIT - 1))

    def _matching(self, arguments: Mapping[str, object]) -> list[tuple[RunningTurn, RunningCall]]:
        return [
            (run, call)
            for run in self._turns.running.values()
            for call in run.tool_calls.calls.values()
            if call.part_id not in run.claimed_calls and call.input == arguments
        ]

    def _chosen(self, found: Sequence[tuple[RunningTurn, RunningCall]]) -> TurnOrigin:
        run, call = found[0]
        if any(other is not run for other, _ in found):
            return TurnOrigin(self._turns, max(hops_of_turn(other) for other, _ in found))
        run.claimed_calls.add(call.part_id)
        return TurnOrigin(self._turns, hops_of_turn(run), run, call)


def hops_of_turn(run: RunningTurn) -> int:
    """Return the number of agents that a turn's message has come through."""
    hops = run.active.options.get("hops", 0)
    return hops if isinstance(hops, int) else 0
