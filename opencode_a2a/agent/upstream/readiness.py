"""Checks that everything the server needs works: what does not is logged once, and reported by `/health`.

Each part of the server notes its problem under a name of its own, and takes it back. `UpstreamChecks` looks for
what would make every prompt fail, whenever OpenCode has come (back).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from typing import Any

import anyio
import orjson

from opencode_a2a.agent.upstream.event_bus import EventBus
from opencode_a2a.agent.upstream.upstream import Upstream, UpstreamError
from opencode_a2a.logs import plain
from opencode_a2a.server.steps import in_turns
from sansio.a2a.model import JsonObject
from sansio.large_json import decoded
from sansio.opencode.upstream import requests
from sansio.opencode.upstream.problems import Problem, agent_problem, model_problem, workspace_problem
from sansio.opencode.upstream.requests import Location, UpstreamCall

_log = logging.getLogger(__name__)

RECHECK_SECONDS = 30.0  # seconds between two looks at what is not as it should be
UPSTREAM = "upstream"
"""The source under which the event bus notes its problem."""
EVENT_STREAM_LOST = "EVENT_STREAM_LOST"
"""The reason for which the server is not ready before a problem is known: it has just lost the bus, or just begun."""
_LONGEST = 600  # characters of a line about a problem


class Readiness:
    """The problems that there are now, by who noted them."""

    def __init__(self) -> None:
        self._problems: dict[str, Problem] = {}

    def note(self, source: str, problem: Problem | None) -> None:
        """Keep a problem, or its end; it is logged where it is another than before."""
        before = self._problems.get(source)
        if problem == before:
            return
        if problem is None:
            del self._problems[source]
            if before is not None:
                _log.warning("solved: %s", before.type.value)
            return
        self._problems[source] = problem
        _log.warning("%s", plain(problem, _LONGEST))

    def unready(self, *, connected: bool) -> list[str]:
        """The type of the reason why OpenCode can take no prompt; empty where it can.

        `connected`: whether the event bus is. A missing model or directory keeps no prompt from OpenCode, and no
        restart or other replica would help against it.
        """
        if connected:
            return []
        problem = self._problems.get(UPSTREAM)
        return [problem.type.name if problem is not None else EVENT_STREAM_LOST]

    def reasons(self, name: str = "") -> list[JsonObject]:
        """The problems as they stand in a health check. `name`: of the instance, empty for one without."""
        named = {"instance": name} if name else {}
        return [{"type": one.type.name, "message": one.type.value, **named} for one in self._problems.values()]


def merged_reports(instances: Iterable[tuple[str, Readiness]], *, store_works: bool) -> JsonObject:
    """The members of a health check: `status`, and the `reasons` for one that is not ok. `instances`: with names."""
    reasons = [reason for name, readiness in instances for reason in readiness.reasons(name)]
    if not store_works:
        reasons.append({"type": "STORE_UNAVAILABLE", "message": "the task store cannot be written"})
    return {"status": "degraded" if reasons else "ok", "reasons": reasons}


class UpstreamChecks:
    """Looks at the workspace root, the model and the agent. What OpenCode does not tell is not held against it."""

    def __init__(
        self, upstream: Upstream, bus: EventBus, readiness: Readiness, location: Location, agent: str | None
    ) -> None:
        self._upstream = upstream
        self._bus = bus
        self._readiness = readiness
        self._location = location
        self._agent = agent

    async def watch(self) -> None:
        """Look each time that OpenCode comes, and again and again while something is missing, for ever."""
        while True:
            came = self._bus.came.next()
            missing = await self._noted() if self._bus.connected else False
            with anyio.move_on_after(RECHECK_SECONDS if missing else math.inf):
                await came.wait()

    async def _noted(self) -> bool:
        """Look, and note what was found. Whether something is missing."""
        found = await self.look()
        for source, problem in found.items():
            self._readiness.note(source, problem)
        return any(found.values())

    async def look(self) -> dict[str, Problem | None]:
        """Look once; return the problem with the workspace, the model and the agent, None where there is none."""
        return {
            "workspace": await self._workspace(),
            "model": await self._model(),
            "agent": await self._missing_agent(),
        }

    async def _workspace(self) -> Problem | None:
        root = self._location.directory
        if root is None:
            return None
        try:
            await self._upstream.request(requests.files(self._location))
        except UpstreamError as exc:
            # OpenCode 1.18 fails over a directory that is not there, without saying so
            return workspace_problem(root) if exc.failure.status == 500 else None
        return None

    async def _model(self) -> Problem | None:
        config = await self._read(requests.config(self._location))
        return model_problem(config, await self._read(requests.usable_providers(self._location)))

    async def _missing_agent(self) -> Problem | None:
        if self._agent is None:
            return None
        return agent_problem(await self._read(requests.agents(self._location)), self._agent)

    async def _read(self, call: UpstreamCall) -> Any:
        try:
            return await in_turns(decoded((await self._upstream.request(call)).body))
        except (UpstreamError, orjson.JSONDecodeError, ValueError):
            return None
