"""Wires the tool by which OpenCode's model calls other agents: the endpoint, the turns, and its registration."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from opencode_a2a.agent.turns.tool_origins import ToolOrigins
from opencode_a2a.agent.turns.turn_runner import TurnRunner
from opencode_a2a.agent.upstream.event_bus import EventBus
from opencode_a2a.agent.upstream.tool_registration import ToolRegistration
from opencode_a2a.agent.upstream.upstream import Upstream
from opencode_a2a.config.settings import Settings
from opencode_a2a.tool.called_agents import CalledAgents
from opencode_a2a.tool.mcp_endpoint import TOOL_PATH, ToolEndpoint
from opencode_a2a.tool.peer_calls import PeerCalls
from opencode_a2a.tracing.spans import NO_TRACER, Tracer
from sansio.opencode.upstream.problems import Problem

_LOOPBACKS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}
"""The address at which OpenCode reaches a server that listens on every address."""


class ModelTool:
    """The tool of one server. `agents`: those that may be called."""

    def __init__(
        self,
        settings: Settings,
        agents: CalledAgents,
        *,
        upstream: Upstream,
        bus: EventBus,
        turns: TurnRunner,
        note: Callable[[Problem | None], None],
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self.agents: CalledAgents = agents
        self.calls: PeerCalls = PeerCalls(agents, ToolOrigins(turns), tracer)
        self.endpoint: ToolEndpoint = ToolEndpoint(
            self.calls,
            version=settings.version,
            describe=agents.describe,
            anywhere=settings.tool_url is not None,
            proxies=settings.proxies,
            tracer=tracer,
        )
        self.registration: ToolRegistration = ToolRegistration(
            upstream,
            bus,
            self.endpoint.secret,
            describe=agents.describe,
            is_busy=lambda: self.calls.running > 0,
            note=note,
        )

    def listening(self, settings: Settings) -> None:
        """Take the address that is listened on, and let OpenCode have the tool."""
        own = settings.host.strip("[]")
        host = _LOOPBACKS.get(own, own)
        scheme = "https" if settings.uses_tls else "http"
        base = settings.tool_url or f"{scheme}://{f'[{host}]' if ':' in host else host}:{settings.port}"
        parts = urlsplit(base)
        self.registration.listening(parts._replace(path=parts.path.rstrip("/") + TOOL_PATH).geturl())
