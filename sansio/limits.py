"""How much of a stream one reader may take. Pure: time is an argument."""

from __future__ import annotations

from attrs import define, frozen


@frozen(kw_only=True)
class StreamLimits:
    """Bytes, seconds from the first byte to the last, seconds without an event; 0 sets no limit."""

    bytes: int = 0
    duration: float = 0.0
    idle: float = 0.0

    @property
    def any(self) -> bool:
        """Whether there is a limit at all."""
        return bool(self.bytes or self.duration or self.idle)

    @property
    def look_every(self) -> float | None:
        """Seconds between two looks that find a limit of time passed soon enough; None: nothing to look for."""
        times = [seconds for seconds in (self.duration, self.idle) if seconds]
        return min(times) / 4 if times else None


@define
class StreamBudget:
    """What is left of them for one stream that was opened at ``started``, in seconds of any clock."""

    limits: StreamLimits
    started: float
    sent: int = 0
    last_event: float | None = None

    def passed(self, size: int, now: float, *, events: bool) -> str | None:
        """Take note of ``size`` bytes about to be sent; which limit that is beyond, if any."""
        limits = self.limits
        self.sent += size
        if events or self.last_event is None:
            self.last_event = now
        if limits.bytes and self.sent > limits.bytes:
            return f"more than {limits.bytes} bytes"
        if limits.duration and now - self.started > limits.duration:
            return f"longer than {limits.duration:g} seconds"
        if limits.idle and now - self.last_event > limits.idle:
            return f"nothing for {limits.idle:g} seconds"
        return None
