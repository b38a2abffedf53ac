"""Wires the tool by which OpenCode's model calls other agents: the endpoint, the turns, and its registration."""

from __future__ import annotations

from functools import partial
from urllib.parse import urlsplit

import anyio

from opencode_a2a.agent.instances import Instances
from opencode_a2a.agent.turns.tool_origins import ToolOrigins
from opencode_a2a.agent.upstream.tool_registration import ToolRegistration
from opencode_a2a.config.settings import Settings
from opencode_a2a.server.replicas.others import Others
from opencode_a2a.tool.called_agents import CalledAgents
from opencode_a2a.tool.mcp_endpoint import TOOL_PATH, ToolEndpoint
from opencode_a2a.tool.peer_calls import PeerCalls
from opencode_a2a.tracing.spans import NO_TRACER, Tracer
from sansio.redact import Secret

_LOOPBACKS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}
"""The address at which OpenCode reaches a server that listens on every address."""


class ModelTool:
    """The tool of one server. `agents`: those that may be called. `secret`: that of the endpoint; None makes one.

    `others`: the servers that share the store; None: there are none.
    """

    def __init__(
        self,
        settings: Settings,
        agents: CalledAgents,
        instances: Instances,
        *,
        tracer: Tracer = NO_TRACER,
        secret: Secret | None = None,
        others: Others | None = None,
    ) -> None:
        self.agents: CalledAgents = agents
        self.origins: ToolOrigins = ToolOrigins([instance.turns for instance in instances], others)
        self.calls: PeerCalls = PeerCalls(agents, self.origins, tracer)
        self.endpoint: ToolEndpoint = ToolEndpoint(
            self.calls,
            version=settings.version,
            describe=agents.describe,
            anywhere=settings.tool_url is not None,
            proxies=settings.proxies,
            tracer=tracer,
            secret=secret,
        )
        self._instances = instances
        self.registrations: list[ToolRegistration] = []  # one for each instance
        for instance in instances:
            registration = ToolRegistration(
                instance.upstream,
                instance.bus,
                self.endpoint.secret,
                describe=agents.describe,
                is_busy=lambda: self.calls.running > 0,
                note=partial(instance.readiness.note, "tool"),
            )
            instance.turns.give_tools = registration.ensure
            self.registrations.append(registration)

    def listening(self, settings: Settings) -> None:
        """Take the address that is listened on, and let OpenCode have the tool."""
        own = settings.host.strip("[]")
        host = _LOOPBACKS.get(own, own)
        scheme = "https" if settings.uses_tls else "http"
        base = settings.tool_url or f"{scheme}://{f'[{host}]' if ':' in host else host}:{settings.port}"
        parts = urlsplit(base)
        url = parts._replace(path=parts.path.rstrip("/") + TOOL_PATH).geturl()
        for registration in self.registrations:
            registration.listening(url)

    async def watch(self) -> None:
        """See that each instance has the tool, for ever."""
        async with anyio.create_task_group() as tasks:
            for registration, instance in zip(self.registrations, self._instances, strict=True):
                tasks.start_soon(registration.watch, instance.locations.default)

    async def leave(self) -> None:
        """Take the tool back from each instance, best effort."""
        async with anyio.create_task_group() as tasks:
            for registration in self.registrations:
                tasks.start_soon(registration.leave)
