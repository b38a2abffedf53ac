"""The documents of a running server: its cards, the keys that signed them, the description of its HTTP surface."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import cached_property

import orjson
from attrs import evolve

from opencode_a2a.server.http.card_signing import CardKey
from sansio.a2a.cards.agent_card import CardDocument
from sansio.a2a.cards.parse import CARD_PATHS
from sansio.a2a.cards.security import SecurityScheme
from sansio.a2a.model import JsonObject
from sansio.access import Identity
from sansio.extensions.published.deployment_cards import card_of, extended_card_of
from sansio.extensions.published.openapi import Served, document
from sansio.extensions.published.profile import Deployment
from sansio.http import HEALTH_PATH, OPENAPI_PATH

_ALONE = {"0.3": None, "1.0": "1.0"}
"""The version whose members an extended card has alone. The 1.x SDK, where it speaks 0.3, verifies those of both."""

_REMEMBERED = 256  # extended cards; there are as many as credentials


class Cards:
    """Made from what the deployment is; rendered and signed once each. `health`: what the health check answers."""

    def __init__(self, deployment: Deployment, key: CardKey | None, health: Callable[[], JsonObject]) -> None:
        self._deployment = deployment
        self._key = key
        self._health = health
        self._extended: OrderedDict[tuple[Identity, str], CardDocument] = OrderedDict()
        self.public = CardDocument.of(card_of(deployment), key)
        self.keys = CardDocument.of_bytes(orjson.dumps(key.jwks())) if key is not None else None

    def extended(self, identity: Identity, version: str) -> CardDocument:
        """The card for one who has proved who they are, as a version has it."""
        card = self._extended.get((identity, version))
        if card is None:
            card = CardDocument.of(extended_card_of(self._deployment, identity, _ALONE[version]), self._key)
            self._extended[identity, version] = card
            if len(self._extended) > _REMEMBERED:
                self._extended.popitem(last=False)
        return card

    def at(self, deployment: Deployment) -> Cards:
        """The same for a deployment of which more is known, such as its address."""
        return Cards(deployment, self._key, self._health)

    def offering(self, schemes: Sequence[SecurityScheme]) -> Cards:
        """The same with other ways to authenticate."""
        return self.at(evolve(self._deployment, schemes=schemes))

    def prepare(self) -> None:
        """Render what takes milliseconds, before there is anybody who would have to wait for it."""
        _ = (self.openapi, self.complete_openapi)

    @cached_property
    def openapi(self) -> CardDocument:
        """The description of the HTTP surface for everybody."""
        return self._description(complete=False)

    @cached_property
    def complete_openapi(self) -> CardDocument:
        """The description for those who have proved who they are."""
        return self._description(complete=True)

    def _description(self, *, complete: bool) -> CardDocument:
        served = Served(
            card_paths=sorted(CARD_PATHS),
            health_path=HEALTH_PATH,
            openapi_path=OPENAPI_PATH,
            health=self._health(),
            signs=self._key is not None,
        )
        return CardDocument.of_bytes(orjson.dumps(document(self._deployment, served, complete=complete)))
