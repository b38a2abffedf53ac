"""Cards that are kept: for how long each is fresh, and how to ask whether it still holds (RFC 9111, RFC 9110).

Pure: the time is an argument, in seconds of any clock that never goes back.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

from attrs import define, field, frozen

_MAX_AGE: Final = re.compile(r"(?:^|,)\s*max-age\s*=\s*\"?([0-9]{1,9})\"?\s*(?=,|$)", re.IGNORECASE)
_NOT_KEPT: Final = re.compile(r"(?:^|,)\s*no-store\s*(?=,|=|$)", re.IGNORECASE)
_NOT_FRESH: Final = re.compile(r"(?:^|,)\s*no-cache\s*(?=,|=|$)", re.IGNORECASE)


@frozen(kw_only=True)
class KeptCard:
    """A card as it came from `url`. `fresh_until`: when it has to be asked for again."""

    url: str
    body: bytes = field(repr=False)
    etag: str | None = None
    modified: str | None = None
    fresh_until: float = 0.0

    @property
    def conditions(self) -> dict[str, str]:
        """The headers of a request that need not be answered with the same card."""
        given = {"if-none-match": self.etag, "if-modified-since": self.modified}
        return {name: value for name, value in given.items() if value is not None}


@define(eq=False)
class CardCache:
    """The cards of at most `size` agents, by the URL that was asked for; the least used one goes first.

    `ttl`: seconds for which a card is fresh, unless its agent says less.
    """

    size: int
    ttl: float
    _cards: OrderedDict[str, KeptCard] = field(factory=OrderedDict, init=False)

    def find(self, url: str) -> KeptCard | None:
        """Return the card that is kept for a URL, fresh or not."""
        if url in self._cards:
            self._cards.move_to_end(url)
        return self._cards.get(url)

    def keep(self, asked: str, url: str, body: bytes, headers: Mapping[str, str], now: float) -> KeptCard:
        """Keep a card for the URL that was `asked` for, as its headers allow. `headers`: names in lower case."""
        control = headers.get("cache-control", "")
        card = KeptCard(
            url=url,
            body=body,
            etag=_printable(headers.get("etag")),
            modified=_printable(headers.get("last-modified")),
            fresh_until=now + self._fresh_for(control),
        )
        self._cards.pop(asked, None)
        if self.size and not _NOT_KEPT.search(control):
            self._cards[asked] = card
            while len(self._cards) > self.size:
                self._cards.popitem(last=False)
        return card

    def renew(self, asked: str, headers: Mapping[str, str], now: float) -> KeptCard:
        """Keep the card for longer: its agent has answered that it still holds. Raises `KeyError` for none."""
        card = self._cards[asked]
        return self.keep(asked, card.url, card.body, {"etag": card.etag or "", **headers}, now)

    def forget(self, asked: str) -> None:
        """Drop the card of a URL."""
        self._cards.pop(asked, None)

    def _fresh_for(self, control: str) -> float:
        if _NOT_FRESH.search(control):
            return 0.0
        age = _MAX_AGE.search(control)
        return self.ttl if age is None else min(self.ttl, float(age[1]))


def _printable(value: str | None) -> str | None:
    """Return a header that can be sent back."""
    return value if value and value.isascii() and value.isprintable() else None
