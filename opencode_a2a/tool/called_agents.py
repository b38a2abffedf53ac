"""The agents that a model may call: any that the network policy allows, by URL, and the known ones by name.

Credentials of the settings go to hosts that the operator has listed, and to no other.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from attrs import evolve

from opencode_a2a.client import AgentCache, ClientOptions, RemoteAgent
from opencode_a2a.config.settings import Settings
from opencode_a2a.outbound.transport import CheckedTransport, OutboundLimits
from opencode_a2a.tool.peer_calls import PeerRefusedError
from sansio.a2a.errors import ProtocolError
from sansio.a2a.tool.arguments import CallArguments
from sansio.a2a.tool.description import describe
from sansio.outbound import PEER_RULES, OutboundPolicy

_LIMITS: Final = OutboundLimits(connections=16, answer_seconds=600.0)
"""Limits of the connections to one agent. An answer that is no event stream comes once the agent is done."""


class CalledAgents:
    """The agents that may be called. `cache`: keeps connections to them; `checked`: looks at addresses."""

    def __init__(self, cache: AgentCache, checked: CheckedTransport) -> None:
        self._cache = cache
        self._checked = checked

    def describe(self) -> str:
        """Return the description of the tool, with the known agents."""
        return describe(())

    @asynccontextmanager
    async def borrow(self, arguments: CallArguments) -> AsyncGenerator[RemoteAgent]:
        """Give the agent that a call names. Raises `PeerRefusedError`, `ClientError`."""
        if arguments.url is None:
            raise PeerRefusedError(f"no agent is known as @{arguments.peer}")
        try:
            await self._checked.check(arguments.url, ("url",))
        except ProtocolError as exc:
            raise PeerRefusedError(exc.message) from None
        async with self._cache.borrow(arguments.url) as agent:
            yield agent


@asynccontextmanager
async def called_agents(settings: Settings, *, extensions: Collection[str] = ()) -> AsyncGenerator[CalledAgents]:
    """The agents that the model of this server may call; connections to them are closed at the end.

    `extensions`: the URIs of those to activate where an agent offers them.
    """
    policy = OutboundPolicy(
        rules=PEER_RULES,
        allow_private=settings.client_allow_private_hosts,
        allowed=settings.client_allowed_hosts,
    )
    options = evolve(ClientOptions.of(settings), extensions=extensions)

    def options_of(url: str) -> ClientOptions:
        try:
            trusted = policy.may_have_credentials(policy.target(url, ("url",)))
        except ProtocolError:
            trusted = False
        return options if trusted else options.without_credentials()

    async with AsyncExitStack() as stack:
        checked = CheckedTransport(policy, _LIMITS)
        stack.push_async_callback(checked.aclose)
        cache = AgentCache(
            ttl=settings.client_cache_ttl_seconds,
            size=settings.client_cache_maxsize,
            options_of=options_of,
            transport_of=lambda url: CheckedTransport(policy, _LIMITS),
        )
        yield CalledAgents(await stack.enter_async_context(cache), checked)
