"""Connects to agents: finds the card, chooses an interface, and keeps connections for the next call."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import Self

import anyio
import httpx
from attrs import define, field

from opencode_a2a.client.card_signatures import checked_card
from opencode_a2a.client.cards import check_url, fetch_card, usable_interface
from opencode_a2a.client.options import ClientOptions
from opencode_a2a.client.remote_agent import RemoteAgent
from opencode_a2a.client.web import Web
from sansio.a2a.cards.parse import GRPC, Origin, read_card
from sansio.a2a.client.card_cache import CardCache
from sansio.a2a.tasks.shared_metadata import RESUME_URI


@asynccontextmanager
async def connect(
    url: str,
    options: ClientOptions | None = None,
    *,
    transport: httpx.AsyncBaseTransport | None = None,
    cards: CardCache | None = None,
) -> AsyncGenerator[RemoteAgent]:
    """Connect to the agent at `url`: its base URL, or the URL of its card.

    `transport`: what carries the requests, such as one that checks addresses; it is closed at the end. `cards`: where
    cards are kept between calls. Raises the errors of `ClientError`; `UsageError` for a URL that is none, and where
    credentials would go to another host than the URL's.
    """
    async with AsyncExitStack() as closing:
        yield await _connected(url, options or ClientOptions(), closing, transport, cards)


async def _connected(
    url: str,
    options: ClientOptions,
    closing: AsyncExitStack,
    transport: httpx.AsyncBaseTransport | None,
    cards: CardCache | None,
) -> RemoteAgent:
    check_url(url)
    web = Web(options, Origin.of(url), closing, transport)
    fetched = await fetch_card(web, url, cards)
    read_card(fetched.body)  # what is none is not checked
    body = await checked_card(web, fetched.body, fetched.url, cards)
    card = read_card(body, fetched.url)
    interface = usable_interface(web, card)
    wanted = {*options.extensions, *((RESUME_URI,) if interface.binding == GRPC else ())}
    return RemoteAgent(
        url=url,
        card=card,
        card_body=body,
        interface=interface,
        web=web,
        extensions=tuple(uri for uri in card.extensions if uri in wanted),
    )


@define(eq=False)
class _Kept:
    """An agent that is kept. `users`: those who have borrowed it."""

    agent: RemoteAgent
    closing: AsyncExitStack
    until: float
    users: int = 0


@define(eq=False, kw_only=True)
class AgentCache:
    """Keeps connected agents for `ttl` seconds, and at most `size` of them; the least used one goes first.

    `options_of`: how to call the agent at a URL. `transport_of`: what carries the requests to it. It belongs in an
    `async with`, which closes all connections at its end. An agent in use is closed by the last who gives it back.
    """

    ttl: float
    size: int
    options_of: Callable[[str], ClientOptions]
    transport_of: Callable[[str], httpx.AsyncBaseTransport | None] = field(default=lambda url: None)
    _cards: CardCache = field(init=False)
    _kept: OrderedDict[str, _Kept] = field(factory=OrderedDict, init=False)
    _connecting: dict[str, anyio.Lock] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self._cards = CardCache(self.size, self.ttl)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            while self._kept:
                _, kept = self._kept.popitem()
                if not kept.users:
                    await kept.closing.aclose()

    @asynccontextmanager
    async def borrow(self, url: str) -> AsyncGenerator[RemoteAgent]:
        """Give the agent at a URL, connected. Raises what `connect` does."""
        kept = await self._take(url)
        try:
            yield kept.agent
        finally:
            await self._give_back(url, kept)

    async def _take(self, url: str) -> _Kept:
        lock = self._connecting.setdefault(url, anyio.Lock())
        try:
            async with lock:
                kept = self._kept.get(url)
                if kept is not None and anyio.current_time() >= kept.until:
                    await self._remove(url)
                    kept = None
                if kept is None:
                    kept = await self._connect(url)
                kept.users += 1
                return kept
        finally:
            if not lock.statistics().tasks_waiting and not lock.locked():
                self._connecting.pop(url, None)

    async def _connect(self, url: str) -> _Kept:
        async with AsyncExitStack() as opening:
            agent = await _connected(url, self.options_of(url), opening, self.transport_of(url), self._cards)
            kept = _Kept(agent, opening.pop_all(), anyio.current_time() + self.ttl)
        if self.size and self.ttl:
            self._kept[url] = kept
            while len(self._kept) > self.size:
                await self._remove(next(iter(self._kept)))
        return kept

    async def _remove(self, url: str) -> None:
        kept = self._kept.pop(url)
        if not kept.users:
            await kept.closing.aclose()

    async def _give_back(self, url: str, kept: _Kept) -> None:
        kept.users -= 1
        if self._kept.get(url) is kept:
            self._kept.move_to_end(url)
        elif not kept.users:
            with anyio.CancelScope(shield=True):
                await kept.closing.aclose()
