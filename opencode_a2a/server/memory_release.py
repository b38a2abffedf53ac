"""Gives memory back to the system once a burst of work is over. Knows nothing of the work.

The C library keeps what was freed for later, and Python's collector leaves cycles that have grown old. On an idle
server both would stay for good.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from typing import Final

import anyio
import anyio.to_thread

_LOOK: Final = 5.0  # seconds between two looks at whether there is work
_AT_LEAST: Final = 60.0  # seconds of work after which memory is given back in the midst of it
_MMAP_THRESHOLD: Final = -3  # mallopt's parameter
_LARGE: Final = 256 * 1024  # bytes of a piece of memory that goes back to the system as soon as it is freed


async def give_back_memory(busy: Callable[[], bool]) -> None:
    """Look for ever whether work has ended, and give memory back then. Without glibc, return at once."""
    library = ctypes.CDLL(None)
    trim = getattr(library, "malloc_trim", None)
    if trim is None:
        return
    # A fixed threshold: the library would raise its own with each large piece that is freed, up to 32 MB.
    library.mallopt(_MMAP_THRESHOLD, _LARGE)
    worked = 0.0
    while True:
        await anyio.sleep(_LOOK)
        if busy():
            worked += _LOOK
            if worked < _AT_LEAST:
                continue
        elif worked:
            gc.collect()  # what lives as long as the server is frozen, so there is little to look at
        else:
            continue
        worked = 0.0
        await anyio.to_thread.run_sync(trim, 0)
