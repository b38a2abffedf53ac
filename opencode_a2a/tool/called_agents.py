"""The agents that a model may call: any that the network policy allows, by URL, and the known ones by name.

Credentials of the settings go to hosts that the operator has listed, those of a known agent to its own origin, and
to no other. The known agents' cards are read beside the calls: the tool's description never waits for one.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread
from attrs import evolve

from opencode_a2a.client import ClientOptions, KnownPeers
from opencode_a2a.client.known_peers import PeerCredentialError
from opencode_a2a.config.settings import Settings
from opencode_a2a.tool.mcp_endpoint import TOOL_NAME
from opencode_a2a.tool.peer_calls import PeerRefusedError
from sansio.a2a.client.client_errors import AuthenticationError, ClientError
from sansio.a2a.errors import ProtocolError
from sansio.a2a.tool.arguments import CallArguments
from sansio.a2a.tool.description import MOST_PEERS, KnownAgent, describe
from sansio.known_peers import KnownPeer, barring

if TYPE_CHECKING:
    from opencode_a2a.client import AgentCache, RemoteAgent

_log = logging.getLogger(__name__)

REFRESH_SECONDS = 900.0
"""Seconds after which the cards of the known agents are read again."""

RETRY_SECONDS = 60.0
"""The same where one could not be read."""

_READING: Final = 15.0  # seconds that reading one card may take
_AT_ONCE: Final = 4  # cards that are read at a time
_CONNECTIONS: Final = 16  # to one agent
_ANSWER_SECONDS: Final = 600.0  # an answer that is no event stream comes once the agent is done


class CalledAgents:
    """The agents that may be called.

    `make_cache`: makes what keeps connections to them, once the first is called. `closing`: closes it.
    """

    def __init__(self, peers: KnownPeers, make_cache: Callable[[], AgentCache], closing: AsyncExitStack) -> None:
        self._peers = peers
        self._make_cache = make_cache
        self._closing = closing
        self._cache: AgentCache | None = None
        listed = [peer for peer in peers if peer.allows(TOOL_NAME)][:MOST_PEERS]
        self._listed = {peer: KnownAgent(name=peer.name, note=peer.description or "") for peer in listed}

    def describe(self) -> str:
        """Return the description of the tool, with the known agents."""
        return describe(tuple(self._listed.values()))

    @asynccontextmanager
    async def borrow(self, arguments: CallArguments) -> AsyncGenerator[RemoteAgent]:
        """Give the agent that a call names. Raises `PeerRefusedError`, `ClientError`."""
        url = arguments.url
        if url is None:
            peer: KnownPeer | None = self._peers.named(arguments.peer or "")
            assert peer is not None  # `named` raises for a name that is not known
            if not peer.allows(TOOL_NAME):
                raise _not_for_models(peer)
            url = peer.url
        else:
            peer = self._peers.find(url)
            self._check(url)
        try:
            cache = await self._opened()
            async with cache.borrow(url) as agent:
                if peer is None or not peer.covers(agent.interface.url):
                    self._check(agent.interface.url)  # the card of one agent may name another's address
                yield agent
        except PeerCredentialError as exc:
            raise AuthenticationError(exc.message) from None

    async def _opened(self) -> AgentCache:
        """Return the cache. Its HTTP client is imported in a thread: that takes a tenth of a second."""
        if self._cache is None:
            made = await anyio.to_thread.run_sync(self._make_cache)
            if self._cache is None:
                self._cache = await self._closing.enter_async_context(made)
        return self._cache

    def _check(self, url: str) -> None:
        """Raise `PeerRefusedError` for the URL of a peer that is not for models."""
        barred = barring(self._peers, url, TOOL_NAME)
        if barred is not None:
            raise _not_for_models(barred)

    async def watch(self) -> None:
        """Read the cards of the known agents, and read them again now and then, for ever."""
        while self._listed:
            missed: list[str] = []
            limiter = anyio.CapacityLimiter(_AT_ONCE)
            async with anyio.create_task_group() as tasks:
                for peer in list(self._listed):
                    tasks.start_soon(self._read_card, peer, limiter, missed)
            await anyio.sleep(RETRY_SECONDS if missed else REFRESH_SECONDS)

    async def _read_card(self, peer: KnownPeer, limiter: anyio.CapacityLimiter, missed: list[str]) -> None:
        missed.append(peer.name)
        async with limiter:
            try:
                with anyio.move_on_after(_READING):
                    cache = await self._opened()
                    async with cache.borrow(peer.url) as agent:
                        self._listed[peer] = self._listed[peer].with_card(agent.card_body)
                        missed.remove(peer.name)
            except ClientError as exc:
                _log.info("the card of @%s cannot be read: %s", peer.name, type(exc).__name__)
            except Exception as exc:
                # whatever one agent's card leads to, the server and the other agents' cards go on
                _log.error("the card of @%s cannot be read: %s", peer.name, type(exc).__name__, exc_info=exc)


def _not_for_models(peer: KnownPeer) -> PeerRefusedError:
    return PeerRefusedError(f"@{peer.name} is not for models")


@asynccontextmanager
async def called_agents(settings: Settings, *, extensions: Collection[str] = ()) -> AsyncGenerator[CalledAgents]:
    """The agents that the model of this server may call; connections to them are closed at the end.

    `extensions`: the URIs of those to activate where an agent offers them. Raises `SettingsError`.
    """
    peers = KnownPeers.of(settings)
    options = evolve(ClientOptions.of(settings), extensions=extensions)

    def options_of(url: str) -> ClientOptions:
        peer = peers.find(url)
        if peer is not None:
            credential = peers.credential(peer)
            return evolve(options, bearer=credential.bearer, basic=credential.basic)
        policy = peers.policy()
        try:
            trusted = policy.may_have_credentials(policy.target(url, ("url",)))
        except ProtocolError:
            trusted = False
        return options if trusted else options.without_credentials()

    def make_cache() -> AgentCache:
        from opencode_a2a.client import AgentCache
        from opencode_a2a.outbound.transport import CheckedTransport, OutboundLimits

        limits = OutboundLimits(connections=_CONNECTIONS, answer_seconds=_ANSWER_SECONDS)
        return AgentCache(
            ttl=settings.client_cache_ttl_seconds,
            size=settings.client_cache_maxsize,
            options_of=options_of,
            transport_of=lambda url: CheckedTransport(peers.policy(peers.find(url)), limits),
        )

    async with AsyncExitStack() as closing:
        yield CalledAgents(peers, make_cache, closing)
