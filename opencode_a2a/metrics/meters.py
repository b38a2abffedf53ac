"""The calls by which the server counts and measures. Nothing here knows Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias

from sansio.metrics import Meter

Reading: TypeAlias = float | Mapping[str, float] | None
"""The value of a metric now: a number, one for each value of its label, or None where there is none."""


class Meters(Protocol):
    """Counts and measures. Every method may be called from any thread, but `read`."""

    def count(self, meter: Meter, *labels: str, by: float = 1) -> None:
        """Add to a counter."""

    def observe(self, meter: Meter, seconds: float, *labels: str) -> None:
        """Add a value to a histogram."""

    def read(self, meter: Meter, source: Callable[[], Reading]) -> None:
        """Read a gauge, or a counter that somebody else keeps, from `source` whenever somebody asks.

        `source` is called on the event loop, and may not wait.
        """


class NoMeters:
    """Measures nothing."""

    def count(self, meter: Meter, *labels: str, by: float = 1) -> None:
        """Do nothing."""

    def observe(self, meter: Meter, seconds: float, *labels: str) -> None:
        """Do nothing."""

    def read(self, meter: Meter, source: Callable[[], Reading]) -> None:
        """Do nothing."""


NO_METERS: Meters = NoMeters()
