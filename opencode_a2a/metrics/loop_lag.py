"""Measures how late the event loop wakes a task: what blocks it shows here first."""

from __future__ import annotations

from typing import Final

import anyio

from opencode_a2a.metrics.meters import Meters
from sansio.metrics import LOOP_LAG

INTERVAL: Final = 0.25
"""Seconds between two looks."""


async def watch_loop_lag(meters: Meters, runtime: str) -> None:
    """Measure for ever. `runtime`: the name of the event loop."""
    while True:
        due = anyio.current_time() + INTERVAL
        await anyio.sleep_until(due)
        meters.observe(LOOP_LAG, max(0.0, anyio.current_time() - due), runtime)
