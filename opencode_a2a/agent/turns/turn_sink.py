"""Receives one turn's events from the event bus, and wakes the turn's runner."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field

from opencode_a2a.server.tasks.active_task import ActiveTask
from opencode_a2a.wakeup import Wakeup
from sansio.a2a.tasks.task_log import ArtifactChunk, LogEvent
from sansio.opencode.turns.turn import Turn
from sansio.opencode.upstream.events import BusEvent, PartDelta, PartSeen, SessionStatus
from sansio.opencode.upstream.faults import TaskFailure


@define(eq=False)
class TurnSink:
    """One turn's events on their way into the task. The runner waits in `until_urgent`."""

    active: ActiveTask
    turn: Turn
    now: Callable[[], str]
    part_seen: Callable[[PartSeen], None]  # of the session, or of one below it
    first_output: Callable[[], None] = lambda: None  # called once, where the turn has any
    spoke: bool = False  # it had output
    stamp: str = ""  # the time of the batch being fed
    has_gap: bool = False  # the session has to be read
    verdict: TaskFailure | None = None  # the turn shall end with this, whatever OpenCode does
    at_rest: bool = False  # the turn has ended, and so has what OpenCode did for it
    _woken: Wakeup = field(factory=Wakeup)
    _events: list[LogEvent] = field(factory=list)

    def feed(self, event: BusEvent) -> None:
        if self.turn.ended and isinstance(event, SessionStatus) and event.session_id == self.turn.session_id:
            self.at_rest = event.type == "idle"
        if not isinstance(event, PartDelta):  # which needs no time
            if isinstance(event, PartSeen):
                self.part_seen(event)
            self.stamp = self.stamp or self.now()
        self._events += self.turn.feed(event, self.stamp)

    def flush(self) -> None:
        events, self._events, self.stamp = self._events, [], ""
        if events:
            self.active.publish(events)
            if not self.spoke and any(isinstance(event, ArtifactChunk) for event in events):
                self.spoke = True
                self.first_output()
        self.wake()

    @property
    def urgent(self) -> bool:
        """Something waits for the runner: an end, a state to commit, a session to look at."""
        turn, active = self.turn, self.active
        if turn.ended or turn.unsettled or active.barrier > active.visible:
            return True
        return self.has_gap or self.verdict is not None

    def end(self, failure: TaskFailure) -> None:
        """The turn shall end as failed; the first reason counts."""
        self.verdict = self.verdict or failure
        self.wake()

    def wake(self) -> None:
        """Let the runner look, if there is something to see."""
        if self.urgent:
            self._woken.wake()

    async def until_urgent(self) -> None:
        """Return once something waits for the runner."""
        while not self.urgent:
            await self._woken.wait()

    async def until_at_rest(self) -> None:
        """Return once the session of a turn that has ended is idle."""
        while not self.at_rest:
            await self._woken.wait()

    def gap(self) -> None:
        self.turn.gap()
        self.has_gap = True
        self.wake()

    def doubt(self) -> None:
        """Have the session read, though the bus has missed nothing: texts go on as they come."""
        self.turn.doubt()
        self.has_gap = True
        self.wake()
