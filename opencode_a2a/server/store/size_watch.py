"""Measures the store now and then, so that whoever reads the metrics waits for no disk and no database."""

from __future__ import annotations

import logging
from typing import Final

import anyio

from opencode_a2a.metrics.meters import Meters
from opencode_a2a.server.store.protocol import Store
from opencode_a2a.server.store.rows import StoreError
from sansio.metrics import STORE_BYTES, STORE_TASKS

_log = logging.getLogger(__name__)

INTERVAL: Final = 30.0
"""Seconds between two measurements, where one is short."""

_SHARE: Final = 20  # times as long as a measurement took is the pause after it: a busy database takes long


async def watch_size(store: Store, meters: Meters) -> None:
    """Measure for ever. The metrics have the last values, and none where the store could not be read."""
    size: int | None = None
    tasks: int | None = None
    meters.read(STORE_BYTES, lambda: size)
    meters.read(STORE_TASKS, lambda: tasks)
    while True:
        began = anyio.current_time()
        try:
            size, tasks = await store.size(), await store.count()
        except StoreError as error:
            size = tasks = None
            _log.debug("the store could not be measured: %s", error)
        await anyio.sleep(max(INTERVAL, _SHARE * (anyio.current_time() - began)))
