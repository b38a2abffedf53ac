"""The instances of OpenCode that a server works with: what each has of its own, and which one has what.

With one instance and a store that is not shared, nothing is looked up anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from attrs import frozen

from opencode_a2a.agent.sessions.location_check import Locations
from opencode_a2a.agent.sessions.session_access import SessionAccess
from opencode_a2a.agent.sessions.session_choice import Sessions
from opencode_a2a.agent.turns.interrupt_service import InterruptService
from opencode_a2a.agent.turns.model_inputs import ModelInputs
from opencode_a2a.agent.turns.turn_runner import TurnRunner
from opencode_a2a.agent.upstream.event_bus import EventBus
from opencode_a2a.agent.upstream.readiness import Readiness, UpstreamChecks, merged_reports
from opencode_a2a.agent.upstream.upstream import Upstream
from sansio.a2a.model import JsonObject


@frozen(kw_only=True, eq=False)
class Instance:
    """One OpenCode, and the parts of the server that work with it alone. `name`: no other instance has it.

    `affinity`: what rows of the store have that belong to it; empty where it is the only one, and has no name.
    """

    name: str
    affinity: str
    upstream: Upstream
    bus: EventBus
    readiness: Readiness
    locations: Locations
    sessions: Sessions
    access: SessionAccess
    turns: TurnRunner
    interrupts: InterruptService
    inputs: ModelInputs
    checks: UpstreamChecks


class Instances:
    """All instances of a server, in the order of its settings; the first is the default."""

    def __init__(self, instances: Sequence[Instance]) -> None:
        self._instances = tuple(instances)
        self.first: Instance = self._instances[0]
        self._by_name = {one.name: one for one in self._instances}

    def __iter__(self) -> Iterator[Instance]:
        return iter(self._instances)

    @property
    def are_named(self) -> bool:
        """Whether clients and other servers know each instance by a name."""
        return bool(self.first.affinity)

    def of_affinity(self, affinity: str) -> Instance | None:
        """The instance that a row belongs to; None where it is not among these."""
        return self._by_name.get(affinity) if affinity else self.first

    def named(self, name: str) -> Instance:
        """The instance of a name, which one has."""
        return self._by_name[name]

    def health(self, *, store_works: bool) -> JsonObject:
        """The members of a health check about OpenCode: `status`, `reasons` and `upstream`.

        `upstream` has a row for each instance that has a name, and a reason names the instance that it is about.
        """
        report = merged_reports([(one.affinity, one.readiness) for one in self._instances], store_works=store_works)
        connected = any(one.bus.connected for one in self._instances)
        upstream: JsonObject = {"event_stream": _connection(connected)}
        if self.are_named:
            upstream["instances"] = [
                {"name": one.name, "event_stream": _connection(one.bus.connected), "turns": len(one.turns.running)}
                for one in self._instances
            ]
        return {**report, "upstream": upstream}

    def unready(self) -> list[str]:
        """The types of the reasons why no instance can take a prompt; empty while one can."""
        reasons = [one.readiness.unready(connected=one.bus.connected) for one in self._instances]
        return list(dict.fromkeys(chain.from_iterable(reasons))) if all(reasons) else []

    def __len__(self) -> int:
        return len(self._instances)


def _connection(connected: bool) -> str:
    return "connected" if connected else "disconnected"
