"""Fetches an agent's card, and keeps it as long as its agent allows."""

from __future__ import annotations

from typing import Final

import anyio
from attrs import evolve, frozen

from opencode_a2a.client.web import Web
from opencode_a2a.distribution import how_to_install, is_installed
from sansio.a2a.cards.parse import GRPC, Interface, Origin, PeerCard, at_origin, card_urls, choose
from sansio.a2a.client.agent_errors import agent_error
from sansio.a2a.client.calls import HttpCall
from sansio.a2a.client.card_cache import CardCache
from sansio.a2a.client.client_errors import InvalidCardError, TimedOutError, UsageError
from sansio.a2a.media_types import JSON

LARGEST_CARD: Final = 1024 * 1024
"""Bytes."""

_NOT_HERE: Final = (404, 405, 410)
_NOT_MODIFIED: Final = 304


@frozen
class FetchedCard:
    """A card as it came, and the URL that it came from."""

    url: str
    body: bytes


def check_url(url: str) -> None:
    """Refuse what is no URL of an agent or of a card. Raises `UsageError`."""
    try:
        card_urls(url)
    except ValueError as error:
        hint = "; set A2A_CLIENT_BASIC_AUTH instead" if "password" in str(error) else ""
        raise UsageError(f"URL: {error}{hint}") from None


async def fetch_card(web: Web, url: str, kept: CardCache | None = None) -> FetchedCard:
    """Fetch the card of an agent, by its own URL or below the agent's.

    `kept`: cards of earlier calls; one that is fresh is not asked for. Raises `UsageError` for what is no URL,
    `InvalidCardError` where there is no card, and what `Web` and the agent's refusals raise.
    """
    check_url(url)
    now = anyio.current_time()
    found = kept.find(url) if kept is not None else None
    if found is not None and now < found.fresh_until:
        return FetchedCard(found.url, found.body)
    limit = web.options.card_timeout
    try:
        with anyio.fail_after(limit):
            for address in (found.url,) if found is not None else card_urls(url):
                headers = {"accept": JSON, **(found.conditions if found is not None else {})}
                answer = await web.ask(HttpCall(method="GET", url=address, headers=headers))
                try:
                    await answer.check_postponed()
                    body = await answer.read(LARGEST_CARD)
                finally:
                    await answer.close()
                if answer.status not in _NOT_HERE:
                    break
    except TimeoutError:
        raise TimedOutError(f"{Origin.of(url)} did not send its agent card within {limit:g} s") from None
    if kept is not None and found is not None and answer.status == _NOT_MODIFIED:
        renewed = kept.renew(url, answer.headers, now)
        return FetchedCard(renewed.url, renewed.body)
    if kept is not None:
        kept.forget(url)
    if answer.status in _NOT_HERE:
        raise InvalidCardError(f"There is no agent card at {url} (HTTP {answer.status})")
    if not 200 <= answer.status < 300:
        raise agent_error(answer.status, body)
    if kept is not None:
        kept.keep(url, address, body, answer.headers, now)
    return FetchedCard(address, body)


def usable_interface(web: Web, card: PeerCard) -> Interface:
    """Choose the interface to use.

    Raises `NoUsableInterfaceError`, and `UsageError` where the credentials would go to another host, or a library is
    missing.
    """
    options = web.options
    interface = choose(card, version=options.version, bindings=options.bindings, own_order=options.own_order)
    if interface.binding == GRPC and not is_installed("google.protobuf"):
        raise UsageError(f"The agent is called over gRPC, which needs the package protobuf: {how_to_install('grpc')}")
    origin = Origin.of(interface.url)
    if origin.is_other_name_of(web.home):
        # one host under two names: the one that the user typed is known to be reached
        interface = evolve(interface, url=at_origin(interface.url, web.home))
        origin = web.home
    if options.has_credentials and origin != web.home:
        raise UsageError(
            f"The agent card points to {origin}, and the credentials that are set are for {web.home} only. "
            f"If that address is to have them, call it by its own URL, or over a binding that is at {web.home}"
        )
    return interface
