"""Spans that have ended, on their way to a collector: bounded, taken in batches by a thread of its own."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from threading import Event, Thread
from typing import Final

from attrs import frozen

from sansio.otlp import EndedSpan

_log = logging.getLogger(__name__)

_DELAY: Final = "OTEL_BSP_SCHEDULE_DELAY"
_QUEUE: Final = "OTEL_BSP_MAX_QUEUE_SIZE"
_BATCH: Final = "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"


@frozen
class QueueLimits:
    """Seconds between two batches, spans that may wait, spans of a batch. The defaults are OpenTelemetry's."""

    delay: float = 5.0
    waiting: int = 2048
    batch: int = 512

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> QueueLimits:
        """Read the variables. Raises `ValueError` for one that is no positive number."""
        delay, waiting, batch = (
            _number(environ, name, default) for name, default in ((_DELAY, 5000), (_QUEUE, 2048), (_BATCH, 512))
        )
        return cls(delay / 1000, waiting, min(batch, waiting))


def _number(environ: Mapping[str, str], name: str, default: int) -> int:
    given = environ.get(name, "").strip() or str(default)
    if not (given.isascii() and given.isdigit() and len(given) < 10 and int(given)):
        raise ValueError(f"{name} must be a positive number")
    return int(given)


class SpanQueue:
    """The queue. `send` is called in the thread with a batch, oldest first, and may block."""

    def __init__(self, limits: QueueLimits, send: Callable[[Sequence[EndedSpan]], None]) -> None:
        self._limits = limits
        self._send = send
        self._waiting: deque[EndedSpan] = deque()
        self._dropped = 0
        self._wake = Event()
        self._closing = False
        self._thread = Thread(target=self._run, name="traces", daemon=True)
        self._thread.start()

    def put(self, span: EndedSpan) -> None:
        """Take a span, or count it as dropped where too many wait. Never blocks."""
        waiting = self._waiting
        if len(waiting) >= self._limits.waiting:
            self._dropped += 1
            return
        waiting.append(span)
        if len(waiting) >= self._limits.batch and not self._wake.is_set():
            self._wake.set()

    def close(self, seconds: float) -> None:
        """Send what is left, in so many seconds at most."""
        self._closing = True
        self._wake.set()
        self._thread.join(seconds)

    def _run(self) -> None:
        while not self._closing:
            early = self._wake.wait(self._limits.delay)
            self._wake.clear()
            self._send_some(whole_batches=early and not self._closing)
        self._send_some(whole_batches=False)

    def _send_some(self, *, whole_batches: bool) -> None:
        """Send what waits now. `whole_batches`: leave the rest for the next time."""
        while len(self._waiting) >= (self._limits.batch if whole_batches else 1):
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._limits.batch))]
            try:
                self._send(batch)
            except Exception:  # the next batch may be better
                _log.exception("%d spans are lost", len(batch))
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            _log.warning("%d spans were dropped: more ended than the collector takes", dropped)
