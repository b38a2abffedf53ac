"""Measures for one reader of a task how long after their arrival its events are written."""

from __future__ import annotations

from time import monotonic

from opencode_a2a.metrics.meters import Meters
from sansio.metrics import EVENT_LAG


class EventLag:
    """One reader. Events from before it came are measured from its coming: it is not late with those."""

    def __init__(self, meters: Meters) -> None:
        self._meters = meters
        self._since = monotonic()

    def written(self, published_at: float) -> None:
        """A batch is written. `published_at`: when the first of its events was published, on the monotonic clock."""
        self._meters.observe(EVENT_LAG, monotonic() - max(published_at, self._since))
