"""Checks OpenCode from outside of a server: it is reached, let in, of a known version, and has what turns need."""

from __future__ import annotations

import re
import time
from typing import Final

import anyio
import orjson
from attrs import define, evolve, field

from opencode_a2a.agent.upstream.event_bus import EventBus
from opencode_a2a.agent.upstream.readiness import Readiness, UpstreamChecks
from opencode_a2a.agent.upstream.upstream import Upstream, UpstreamError
from opencode_a2a.config.groups.opencode_instances import OpenCodeInstance
from opencode_a2a.config.settings import Settings
from sansio.a2a.codecs.json_values import text_at
from sansio.doctor.finding import Finding, of_problem, ok, skipped, warn
from sansio.doctor.server import CLOCK, judge_clock
from sansio.opencode.upstream import requests
from sansio.opencode.upstream.problems import Problem
from sansio.opencode.upstream.requests import Location

TESTED: Final = "1.18.33"
"""The version of OpenCode that the tests run against."""

UPSTREAM, VERSION = "OpenCode", "OpenCode version"
_LACKING: Final = {
    "workspace": ("workspace root", "OpenCode can list it"),
    "model": ("model", "OpenCode has a model to work with"),
    "agent": ("agent", "OpenCode has the agent that is set, if one is"),
}


@define(eq=False)
class _BusNote:
    """The first report of the event bus: a problem, or None for a connection."""

    problem: Problem | None = None
    made: anyio.Event = field(factory=anyio.Event)

    def __call__(self, problem: Problem | None) -> None:
        if not self.made.is_set():
            self.problem = problem
            self.made.set()


async def check_upstreams(settings: Settings) -> list[Finding]:
    """Check each OpenCode, all at once. Where they have names, so have the findings."""
    found: dict[str, list[Finding]] = {}

    async def look(instance: OpenCodeInstance) -> None:
        found[instance.name] = await check_upstream(settings, settings.completed(instance))

    async with anyio.create_task_group() as tasks:
        for instance in settings.instances:
            tasks.start_soon(look, instance)
    return [
        evolve(finding, check=f"{instance.name}: {finding.check}") if instance.named else finding
        for instance in settings.instances
        for finding in found[instance.name]
    ]


async def check_upstream(settings: Settings, instance: OpenCodeInstance) -> list[Finding]:
    """Check one OpenCode, its version, its clock, and the workspace, model and agent there."""
    client = Upstream(
        instance.url,
        username=instance.username,
        password=instance.password.reveal() if instance.password is not None else None,
        timeout=min(settings.opencode_timeout, 8.0),
    )
    note = _BusNote()
    async with client as upstream, anyio.create_task_group() as tasks:
        bus = EventBus(upstream, clock=time.time, note=note)
        tasks.start_soon(bus.run)
        await note.made.wait()
        if note.problem is not None:
            findings = _unreachable(note.problem)
        else:
            location = Location(directory=instance.workspace_root)
            checks = UpstreamChecks(upstream, bus, Readiness(), location, settings.agent)
            findings = [ok(UPSTREAM, f"{upstream.url} answers, and takes our login"), await _version(upstream)]
            findings += [_of_look(source, problem) for source, problem in (await checks.look()).items()]
            findings.append(judge_clock(bus.clock_ahead_ms / 1000))
        tasks.cancel_scope.cancel()
    return findings


def _unreachable(problem: Problem) -> list[Finding]:
    reason = "OpenCode cannot be asked"
    names = [VERSION, *(name for name, _ in _LACKING.values()), CLOCK]
    return [of_problem(UPSTREAM, str(problem)), *(skipped(name, reason) for name in names)]


def _of_look(source: str, problem: Problem | None) -> Finding:
    name, fine = _LACKING[source]
    return ok(name, fine) if problem is None else of_problem(name, str(problem))


async def _version(upstream: Upstream) -> Finding:
    try:
        found = text_at(orjson.loads((await upstream.request(requests.health())).body), "version")
    except (UpstreamError, orjson.JSONDecodeError):
        found = None
    return judge_version(found)


def judge_version(found: str | None) -> Finding:
    """Make the row of OpenCode's version; None: it names none."""
    remedy = f"npm install -g opencode-ai@{TESTED}"
    parts = re.match(r"(\d+)\.(\d+)\.", found or "")
    if parts is None:
        return warn(VERSION, f"OpenCode names no version that can be read; {TESTED} is tested", remedy)
    if found == TESTED:
        return ok(VERSION, f"{found}, the tested one")
    if parts.groups() == tuple(TESTED.split(".")[:2]):
        return ok(VERSION, f"{found}; {TESTED} is tested")
    return warn(VERSION, f"{found} is another release than the tested {TESTED}", remedy)
