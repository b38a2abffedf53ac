"""The documents of an agent that has its card and nothing else to publish."""

from __future__ import annotations

import orjson

from opencode_a2a.server.http.card_signing import CardKey
from sansio.a2a.cards.agent_card import CardDocument, CardSpec
from sansio.access import Identity


class CardDocuments:
    """The card, signed where there is a `key`, and the keys that signed it. It has no OpenAPI description."""

    openapi: CardDocument | None = None
    complete_openapi: CardDocument | None = None

    def __init__(self, card: CardSpec, key: CardKey | None = None) -> None:
        self.public = CardDocument.of(card, key)
        self.keys = CardDocument.of_bytes(orjson.dumps(key.jwks())) if key is not None else None

    def extended(self, identity: Identity, version: str) -> CardDocument:
        """The public card: there is no other."""
        return self.public
