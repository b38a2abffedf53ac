"""Checks an agent card's signatures: fetches the key sets that they name, from the card's own origin alone.

Which signatures count is decided in `sansio.a2a.cards.verification`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import anyio
import anyio.to_thread
import orjson

from opencode_a2a.client.web import Web
from opencode_a2a.distribution import how_to_install
from sansio.a2a.cards.verification import (
    LARGEST_KEY_SET,
    CardSignature,
    KeySet,
    SignatureCheck,
    SignatureOutcome,
    SignedCard,
    Verdict,
    Verifier,
    check_signatures,
    key_set_url,
)
from sansio.a2a.client.calls import HttpCall
from sansio.a2a.client.card_cache import CardCache
from sansio.a2a.client.client_errors import ClientError, InvalidCardError, UsageError
from sansio.a2a.media_types import JSON
from sansio.a2a.model import JsonObject

_MOST_KEY_SETS: Final = 3  # that are fetched for one card
_LIBRARIES: Final = ("cryptography", "rfc8785")


def card_verifier() -> Verifier:
    """Return what verifies signatures. Raises `UsageError` where the extra `signing` is not installed."""
    try:
        from opencode_a2a.client.card_verifier import CardVerifier
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _LIBRARIES:
            raise
        raise UsageError(f"signatures of cards: checking them needs {missing}: {how_to_install('signing')}") from None
    return CardVerifier()


async def checked_card(web: Web, body: bytes, url: str, kept: CardCache | None = None) -> bytes:
    """Return the card to use, as the options of `web` want its signatures: the members that are signed.

    `body`: a JSON object. `url`: where it came from. Raises `InvalidCardError`, and `UsageError` where the extra
    `signing` is needed.
    """
    wanted = web.options.signatures
    if wanted is SignatureCheck.IGNORE:
        return body
    card_verifier()  # a setting that cannot be obeyed is an error before any card is signed
    outcome = await check_card(web, orjson.loads(body), url, kept)
    refusal = outcome.refusal(wanted)
    if refusal is not None:
        raise InvalidCardError(refusal)
    return body if outcome.covered is None or outcome.whole else orjson.dumps(outcome.covered)


async def check_card(web: Web, document: JsonObject, url: str, kept: CardCache | None = None) -> SignatureOutcome:
    """Check the signatures of a card that came from `url`. `kept`: where key sets are kept, beside the cards.

    The trusted keys of the options are the only ones that count; without any, those at the card's own origin do.
    A key set that was kept and does not do is fetched again once. Raises `UsageError` where the extra `signing` is
    missing.
    """
    signed = SignedCard.of(document)
    if not signed.signatures:
        return signed.without_signatures()
    verifier = card_verifier()
    trusted = web.options.card_keys
    if trusted is not None:
        return await _decided(signed, lambda signature: trusted, verifier)
    keys = _FetchedKeys(web, url, kept)
    await keys.fetch(signed)
    outcome = await _decided(signed, keys.of, verifier)
    if outcome.verdict is not Verdict.VALID and keys.forget_kept():
        await keys.fetch(signed)
        outcome = await _decided(signed, keys.of, verifier)
    return outcome


async def _decided(
    signed: SignedCard, keys_of: Callable[[CardSignature], KeySet], verifier: Verifier
) -> SignatureOutcome:
    # a large card takes a while to put into each of its forms
    return await anyio.to_thread.run_sync(check_signatures, signed, keys_of, verifier)


class _FetchedKeys:
    """The key sets that the signatures of a card name; a text where there is none."""

    def __init__(self, web: Web, card_url: str, kept: CardCache | None) -> None:
        self._web = web
        self._card_url = card_url
        self._kept = kept
        self._found: dict[str, KeySet | str] = {}
        self._from_kept: set[str] = set()

    def of(self, signature: CardSignature) -> KeySet:
        """Return the key set that a signature names. Raises `ValueError`."""
        found = self._found.get(key_set_url(signature.jku, self._card_url), "it names one key set too many")
        if isinstance(found, str):
            raise ValueError(found)
        return found

    def forget_kept(self) -> bool:
        """Drop the key sets that were kept; return whether there were any."""
        for url in self._from_kept:
            del self._found[url]
            if self._kept is not None:
                self._kept.forget(url)
        dropped = bool(self._from_kept)
        self._from_kept.clear()
        return dropped

    async def fetch(self, signed: SignedCard) -> None:
        """Fetch the key sets that are at the card's own origin."""
        for signature in signed.signatures:
            try:
                url = key_set_url(signature.jku, self._card_url)
            except ValueError:
                continue
            if url not in self._found and len(self._found) < _MOST_KEY_SETS:
                try:
                    self._found[url] = KeySet.of(await self._body(url))
                except (ValueError, ClientError) as error:
                    self._found[url] = f"the key set cannot be used: {error}"

    async def _body(self, url: str) -> bytes:
        now = anyio.current_time()
        found = self._kept.find(url) if self._kept is not None else None
        if found is not None and now < found.fresh_until:
            self._from_kept.add(url)
            return found.body
        limit = self._web.options.card_timeout
        call = HttpCall(method="GET", url=url, headers={"accept": JSON})
        try:
            with anyio.fail_after(limit):
                answer = await self._web.ask(call)
                try:
                    body = await answer.read(LARGEST_KEY_SET)
                finally:
                    await answer.close()
        except TimeoutError:
            raise self._web.late(call, limit) from None
        if answer.status != 200:
            raise ValueError(f"HTTP {answer.status}")
        KeySet.of(body)  # what is none is not kept
        if self._kept is not None:
            self._kept.keep(url, url, body, answer.headers, now)
        return body
