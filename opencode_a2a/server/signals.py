"""The signals that stop the server: the first lets what runs come to its end, a second ends the process at once.

Knows nothing of what is served.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import TypeAlias

import anyio

_log = logging.getLogger(__name__)

STOPPING = (signal.SIGINT, signal.SIGTERM)

RELOAD_SECONDS = 30.0
"""Time that one function has to load again what it loads."""

Reload: TypeAlias = Callable[[], Awaitable[None]]


class Hangups:
    """The functions that SIGHUP calls, each of which reads one thing again: files of credentials, certificates."""

    def __init__(self) -> None:
        self._reloads: list[Reload] = []

    def add(self, reload: Reload) -> None:
        """Call `reload` at each SIGHUP from now on. What it raises is logged, and stops nothing."""
        self._reloads.append(reload)

    async def run(self) -> None:
        """Call all of them, one after the other; log what that was."""
        if not self._reloads:
            _log.warning("SIGHUP is ignored: settings are read at the start; to stop the server, send SIGTERM")
        for reload in self._reloads:
            try:
                with anyio.fail_after(RELOAD_SECONDS):
                    await reload()
            except Exception:
                _log.exception("a reload failed; what was loaded before stays in use")


async def until_signalled(hangups: Hangups | None = None) -> None:
    """Return at the first SIGINT or SIGTERM. From then on, the next one ends the process at once.

    SIGHUP, which a terminal sends as it closes, too, runs `hangups`; without any function it is ignored with a line
    in the log. Where the process was started to ignore it, as by `nohup`, it stays so.
    """
    hangups = Hangups() if hangups is None else hangups
    is_watched = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    watched = (*STOPPING, signal.SIGHUP) if is_watched else STOPPING
    with anyio.open_signal_receiver(*watched) as signals:
        async with anyio.create_task_group() as reloading:
            running = anyio.Lock()
            async for number in signals:
                if number != signal.SIGHUP:
                    reloading.cancel_scope.cancel()
                    break
                reloading.start_soon(_one_by_one, running, hangups)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for number in STOPPING:
        signal.signal(number, _end_at_once)


async def _one_by_one(running: anyio.Lock, hangups: Hangups) -> None:
    async with running:
        await hangups.run()


def _end_at_once(number: int, _frame: FrameType | None) -> None:
    """End the process without another step: what waits here may be what hangs. The store survives that as a crash."""
    # not by print: it may be what was interrupted
    os.write(sys.stderr.fileno(), f"opencode-a2a: ended at once by {signal.Signals(number).name}\n".encode())
    os._exit(128 + number)
