"""Fetches an agent's card, and puts refusals into words."""

from __future__ import annotations

from typing import Final

from attrs import evolve, frozen

from opencode_a2a.client.transport import CallError, CallTarget, UsageError, Web
from sansio.a2a.cards.parse import Interface, Origin, PeerCard, at_origin, card_urls, choose
from sansio.a2a.client.agent_errors import AgentError, agent_error
from sansio.a2a.client.calls import HttpCall
from sansio.a2a.media_types import JSON

_LIMIT: Final = 1024 * 1024  # bytes of a card
_NOT_HERE: Final = (404, 405, 410)


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


async def fetch_card(web: Web) -> FetchedCard:
    """Fetch the card of an agent, by its own URL or below the agent's. Raises `CallError`, `AgentError`."""
    status, body, url = 0, b"", ""
    for url in card_urls(web.target.url):
        request = HttpCall(method="GET", url=url, headers={"accept": JSON})
        status, body = await web.read(request, _LIMIT)
        if status not in _NOT_HERE:
            break
    if status in _NOT_HERE:
        raise CallError(f"There is no agent card at {web.target.url} (HTTP {status})")
    if not 200 <= status < 300:
        raise agent_error(status, body)
    return FetchedCard(url, body)


def refusal_text(error: AgentError, target: CallTarget) -> str:
    """Say what an agent refused, and which setting may help."""
    code = "" if error.code is None else f" (code {error.code})"
    text = f"The agent refused: {error.message}{code}"
    if error.http_status == 401 and target.has_credentials:
        return f"{text}. It does not accept the credentials that are set"
    if error.http_status == 401:
        return f"{text}. Set A2A_CLIENT_BEARER_TOKEN or A2A_CLIENT_BASIC_AUTH"
    return text


def usable_interface(web: Web, card: PeerCard) -> Interface:
    """Choose the interface to use.

    Raises `NoUsableInterfaceError`, and `UsageError` where the credentials would go to another host.
    """
    interface = choose(card, version=web.target.version, binding=web.target.binding)
    origin = Origin.of(interface.url)
    if origin.is_other_name_of(web.home):
        # one host under two names: the one that the user typed is known to be reached
        interface = evolve(interface, url=at_origin(interface.url, web.home))
        origin = web.home
    if web.target.has_credentials and origin != web.home:
        raise UsageError(
            f"The agent card points to {origin}, and the credentials that are set are for {web.home} only. "
            f"If that address is to have them, call it by its own URL"
        )
    return interface
