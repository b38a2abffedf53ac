"""The cards of a running server: the public one, each caller's extended one, and the keys that signed them."""

from __future__ import annotations

from collections import OrderedDict

import orjson

from sansio.a2a.card import CardDocument
from sansio.access import Identity
from sansio.extensions.cards import card_of, extended_card_of
from sansio.extensions.profile import Deployment

from .signing import CardKey

_REMEMBERED = 256  # extended cards; there are as many as credentials


class Cards:
    """Made from what the deployment is; rendered and signed once each."""

    def __init__(self, deployment: Deployment, key: CardKey | None) -> None:
        self._deployment = deployment
        self._key = key
        self._extended: OrderedDict[Identity, CardDocument] = OrderedDict()
        self.public = CardDocument.of(card_of(deployment), key)
        self.keys = CardDocument.of_bytes(orjson.dumps(key.jwks())) if key is not None else None

    def extended(self, identity: Identity) -> CardDocument:
        """The card for one who has proved who they are."""
        card = self._extended.get(identity)
        if card is None:
            card = CardDocument.of(extended_card_of(self._deployment, identity), self._key)
            self._extended[identity] = card
            if len(self._extended) > _REMEMBERED:
                self._extended.popitem(last=False)
        return card
