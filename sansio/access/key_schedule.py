"""When the keys of an issuer are fetched, and for how long they are used where they cannot be fetched again.

Pure: times are seconds of a clock that only goes forward.
"""

from __future__ import annotations

from typing import Final

from attrs import define

FRESH: Final = 3600.0
"""Seconds after which keys are fetched again, beside the requests."""

USABLE: Final = 24 * 3600.0
"""Seconds for which keys are used while the issuer cannot be reached."""

PAUSE: Final = 60.0
"""Seconds between two fetches on behalf of tokens that name an unknown key."""

RETRY: Final = 5.0
"""Seconds between two fetches that fail."""


@define
class KeySchedule:
    """The times of one key set. `fetched`: when the last fetch that succeeded began; None: none has yet.

    `attempted`: when any fetch began last.
    """

    fetched: float | None = None
    attempted: float | None = None

    def has_keys(self, now: float) -> bool:
        """Return whether there are keys that may be used."""
        return self.fetched is not None and now < self.fetched + USABLE

    def is_stale(self, now: float) -> bool:
        """Return whether to fetch keys though no token asks for it."""
        due = self.fetched is None or now >= self.fetched + FRESH
        return due and self._rested(now, RETRY)

    def may_look_for_key(self, now: float) -> bool:
        """Return whether to fetch keys for a token whose key is not known, or where there are none."""
        return self._rested(now, PAUSE if self.has_keys(now) else RETRY)

    def _rested(self, now: float, pause: float) -> bool:
        return self.attempted is None or now >= self.attempted + pause
