"""The signals that stop the server: the first lets what runs come to its end, a second ends the process at once.

Knows nothing of what is served.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from types import FrameType
from typing import Any, TypeAlias

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream

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
        """Call `reload` at each SIGHUP from now on. What it raises is logged, and stops nothing.

        The signal that stops the server cancels it, and the drain begins when it has returned. So what may block
        belongs in a `LooseThread`.
        """
        self._reloads.append(reload)

    async def run(self) -> None:
        """Call all of them, one after the other; log what that was."""
        if not self._reloads:
            _log.warning("SIGHUP is ignored: settings are read at the start; to stop the server, send SIGTERM")
        for reload in self._reloads:
            try:
                with anyio.move_on_after(RELOAD_SECONDS) as scope:
                    await reload()
                if scope.cancelled_caught:
                    _log.error("a file could not be read again within %g s; what was loaded stays", RELOAD_SECONDS)
            except Exception:
                _log.exception("a reload failed; what was loaded before stays in use")


async def until_signalled(
    hangups: Hangups | None = None,
    *,
    stopping: Sequence[signal.Signals] = STOPPING,
    ends_at_the_second: bool = True,
) -> None:
    """Return at the first of the signals `stopping`. From then on, the next one ends the process at once; unless
    `ends_at_the_second` is false, and the caller sees to it.

    SIGHUP, which a terminal sends as it closes, too, runs `hangups`; without any function it is ignored with a line
    in the log. Signals that come while they run make them run once more. Where the process was started to ignore
    it, as by `nohup`, it stays so.
    """
    hangups = Hangups() if hangups is None else hangups
    is_watched = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    watched = (*stopping, signal.SIGHUP) if is_watched else stopping
    ask, asked = anyio.create_memory_object_stream[None](1)
    with anyio.open_signal_receiver(*watched) as signals, ask, asked:
        for number in stopping if ends_at_the_second else ():
            _count(number)
        async with anyio.create_task_group() as reloading:
            reloading.start_soon(_reload_when, asked, hangups)
            async for number in signals:
                if number != signal.SIGHUP:
                    break
                with suppress(anyio.WouldBlock):
                    ask.send_nowait(None)
            reloading.cancel_scope.cancel()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if ends_at_the_second:
        _end_at_the_next()


async def _reload_when(asked: MemoryObjectReceiveStream[None], hangups: Hangups) -> None:
    async for _ in asked:
        await hangups.run()


def _count(number: int) -> None:
    """Have the next signal after this one end the process, also where the event loop never gets to the first."""
    receive: Any = signal.getsignal(number)

    def first(number: int, frame: FrameType | None) -> None:
        _end_at_the_next()
        receive(number, frame)

    signal.signal(number, first)


def _end_at_the_next() -> None:
    for number in STOPPING:
        signal.signal(number, _end_at_once)


def _end_at_once(number: int, _frame: FrameType | None) -> None:
    """End the process without another step: what waits here may be what hangs. The store survives that as a crash."""
    with suppress(Exception):  # standard error may be closed
        # not by print: it may be what was interrupted; nor where nobody reads a pipe that is full
        descriptor = sys.stderr.fileno()
        is_ready = select.poll()
        is_ready.register(descriptor, select.POLLOUT)
        if is_ready.poll(0):
            os.write(descriptor, f"opencode-a2a: ended at once by {signal.Signals(number).name}\n".encode())
    os._exit(128 + number)
