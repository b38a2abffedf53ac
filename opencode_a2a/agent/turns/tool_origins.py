"""Finds the turn that a call of the tool is from, and lets the call show in it and end with it.

The call itself does not name its session. The event bus does: it shows the call as a running part with the same
arguments, usually a few milliseconds later. Where two turns ask the same at the same time, or none is found, nothing
is shown in a turn, and the highest number of hops among them all is assumed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, TypeAlias

import anyio
from attrs import frozen

from opencode_a2a.agent.turns.running_turn import RunningTurn
from opencode_a2a.agent.turns.turn_runner import TurnRunner
from opencode_a2a.server.replicas.others import Others
from opencode_a2a.server.store import StoreError
from opencode_a2a.wakeup import Wakeup
from sansio.a2a.bindings.trace_context import TraceContext
from sansio.a2a.errors import ProtocolError
from sansio.a2a.replicas.commands import AgentCommand
from sansio.a2a.tool.hops import HOP_LIMIT
from sansio.opencode.tool_servers import RunningCall

_Found: TypeAlias = tuple[TurnRunner, RunningTurn, RunningCall]

_log = logging.getLogger(__name__)

FINDING: Final = 2.0
"""Seconds in which the bus has to show a call."""

FINDING_ELSEWHERE: Final = 1.0
"""The same for a call that has reached another server than its turn's."""

COMMAND: Final = "tool.origin"
"""The name of the command by which servers ask each other for the origin of a call."""


@frozen(eq=False)
class TurnOrigin:
    """The origin of a call. `run` None: it is not known, or not certain, which turn it is."""

    hops: int
    turns: TurnRunner | None = None
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
        self.run.tool_scopes |= {scope}
        try:
            yield
        finally:
            self.run.tool_scopes -= {scope}
            if self.call is not None:
                self.run.claimed_calls -= {self.call.part_id}

    def progress(self, text: str) -> None:
        """Show progress in the turn's own task."""
        if self.turns is not None and self.run is not None and self.call is not None:
            self.turns.tool_progress(self.run, self.call, text)


class ToolOrigins:
    """The origins of calls, among the turns that run, in whatever instance of OpenCode.

    `others`: the servers that share the store, whose turns' calls may come here, too; None: there are none.
    """

    def __init__(self, runners: Sequence[TurnRunner], others: Others | None = None) -> None:
        self._runners = runners
        self._others = others
        self._began = Wakeup()
        for runner in runners:
            runner.tool_call_began = self._began

    async def find(self, arguments: Mapping[str, object]) -> TurnOrigin:
        """Return the origin of a call with these arguments."""
        if self._others is not None:
            return await self._found_anywhere(arguments, self._others)
        found = await self._found_here(arguments, FINDING)
        if found:
            return self._chosen(found)
        hops = [hops_of_turn(run) for runner in self._runners for run in runner.running.values()]
        # somebody else uses this OpenCode: the agent may answer, and not call on
        return TurnOrigin(max(hops, default=HOP_LIMIT - 1))

    async def hops_here(self, arguments: Mapping[str, object]) -> int | None:
        """Return the hops of the turn of a call that has reached another server; None where it does not run here."""
        found = await self._found_here(arguments, FINDING_ELSEWHERE)
        return max((hops_of_turn(run) for _, run, _ in found), default=None)

    async def _found_anywhere(self, arguments: Mapping[str, object], others: Others) -> TurnOrigin:
        """Return the origin of a call whose turn may run in another server: of that, the number of hops is known."""
        origins: list[TurnOrigin] = []

        async def look() -> None:
            if found := await self._found_here(arguments, FINDING):
                origins.append(self._chosen(found))
                group.cancel_scope.cancel()

        async def ask() -> None:
            command = AgentCommand(principal="", name=COMMAND, arguments=dict(arguments))
            try:
                hops = await others.ask_others(command)
            except (ProtocolError, StoreError) as error:
                _log.warning("other servers cannot be asked for the turn of a call: %s", error)
                return
            if hops is not None:
                origins.append(TurnOrigin(hops))
                group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(look)
            group.start_soon(ask)
        return origins[0] if origins else TurnOrigin(HOP_LIMIT - 1)

    async def _found_here(self, arguments: Mapping[str, object], patience: float) -> list[_Found]:
        with anyio.move_on_after(patience):
            while any(runner.running for runner in self._runners):
                began = self._began.next()
                if found := self._matching(arguments):
                    return found
                await began.wait()
        return []

    def _matching(self, arguments: Mapping[str, object]) -> list[_Found]:
        return [
            (runner, run, call)
            for runner in self._runners
            for run in runner.running.values()
            for call in run.tool_calls.calls.values()
            if call.part_id not in run.claimed_calls and call.input == arguments
        ]

    def _chosen(self, found: Sequence[_Found]) -> TurnOrigin:
        runner, run, call = found[0]
        if any(other is not run for _, other, _ in found):
            return TurnOrigin(max(hops_of_turn(other) for _, other, _ in found))
        run.claimed_calls |= {call.part_id}
        return TurnOrigin(hops_of_turn(run), runner, run, call)


def hops_of_turn(run: RunningTurn) -> int:
    """Return the number of agents that a turn's message has come through."""
    hops = run.active.options.get("hops", 0)
    return hops if isinstance(hops, int) else 0
