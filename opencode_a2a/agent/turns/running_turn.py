"""A turn while it is being run: what is asked for, and where it has got to."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
from attrs import define, field, frozen

from opencode_a2a.agent.turns.turn_sink import TurnSink
from opencode_a2a.server.tasks.active_task import ActiveTask
from opencode_a2a.server.tasks.keyed_lock import Lock
from sansio.a2a.model import JsonObject
from sansio.opencode.tool_servers import RunningCalls
from sansio.opencode.turns.turn import Turn
from sansio.opencode.upstream import requests
from sansio.opencode.upstream.requests import Location


@frozen(kw_only=True)
class Prompt:
    """The prompt of a turn. `session_id`: the session asked for; None: the context's own, or for a context
    that is `fresh`, a new one. `location`: where, if the message names it."""

    parts: Sequence[JsonObject]
    model: requests.Model | None = None
    session_id: str | None = None
    fresh: bool = False
    location: Location | None = None


@define(eq=False)
class RunningTurn:
    """`turn` has no session until one is chosen; `sink` is there once the bus may deliver events of it.

    `place` is where the session is; `tool_calls` are those of the tool by which the model calls other agents,
    `claimed_calls` the parts of those whose call has arrived, `tool_scopes` end with the turn. `waiting` is the
    scope of what comes before the prompt, `publishing` of what waits for the store after it. `queue` holds the task's
    place among those of its context, or of the session that its message names.
    """

    active: ActiveTask
    prompt: Prompt
    turn: Turn
    location: Location
    waiting: anyio.CancelScope = field(factory=anyio.CancelScope)
    publishing: anyio.CancelScope | None = None
    sink: TurnSink | None = None
    queue: Lock | None = None
    tool_calls: RunningCalls = field(factory=RunningCalls)
    claimed_calls: frozenset[str] = frozenset()
    tool_scopes: frozenset[anyio.CancelScope] = frozenset()

    @property
    def stopped(self) -> bool:
        """Whether this server has ended the turn, so that OpenCode has to stop."""
        verdict = self.sink.verdict if self.sink is not None else None
        return self.turn.cancelled or (verdict is not None and self.turn.failure is verdict)
