"""The signals that stop the server: the first lets what runs come to its end, a second ends the process at once.

Knows nothing of what is served.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from types import FrameType

import anyio

_log = logging.getLogger(__name__)

STOPPING = (signal.SIGINT, signal.SIGTERM)


async def until_signalled() -> None:
    """Return at the first SIGINT or SIGTERM. From then on, the next one ends the process at once.

    SIGHUP, which a terminal sends as it closes, is ignored with a line in the log; where the process was started to
    ignore it, as by `nohup`, it stays so.
    """
    hangup = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    watched = (*STOPPING, signal.SIGHUP) if hangup else STOPPING
    with anyio.open_signal_receiver(*watched) as signals:
        async for number in signals:
            if number != signal.SIGHUP:
                break
            _log.warning("SIGHUP is ignored: settings are read at the start; to stop the server, send SIGTERM")
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for number in STOPPING:
        signal.signal(number, _end_at_once)


def _end_at_once(number: int, _frame: FrameType | None) -> None:
    """End the process without another step: what waits here may be what hangs. The store survives that as a crash."""
    # not by print: it may be what was interrupted
    os.write(sys.stderr.fileno(), f"opencode-a2a: ended at once by {signal.Signals(number).name}\n".encode())
    os._exit(128 + number)
