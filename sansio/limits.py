"""Limits of one reader's stream: bytes, seconds, seconds without an event. Pure: time is an argument."""

from __future__ import annotations

from attrs import define, field, frozen


@frozen(kw_only=True)
class StreamLimits:
    """Bytes, seconds from the first byte to the last, seconds without an event; 0 sets no limit."""

    bytes: int = 0
    duration: float = 0.0
    idle: float = 0.0

    @property
    def any(self) -> bool:
        """Whether any limit is set."""
        return bool(self.bytes or self.duration or self.idle)

    @property
    def look_every(self) -> float | None:
        """Seconds between two looks that find a limit of time passed soon enough; None: nothing to look for."""
        times = [seconds for seconds in (self.duration, self.idle) if seconds]
        return min(times) / 4 if times else None


@define
class StreamBudget:
    """The rest of the limits for one stream. `started`: when it was opened, in seconds of any clock.

    A stream ends behind the event that is beyond a limit: each gets its reader further, however small the limits.
    """

    limits: StreamLimits
    started: float
    sent: int = 0
    last_event: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.last_event = self.started

    def take(self, size: int, now: float) -> None:
        """Count an event of `size` bytes."""
        self.sent += size
        self.last_event = now

    def passed(self, now: float) -> str | None:
        """Return the limit that is reached, in words; `None` if none is."""
        limits = self.limits
        if limits.bytes and self.sent >= limits.bytes:
            return f"{limits.bytes} bytes were sent"
        if limits.duration and now - self.started >= limits.duration:
            return f"it has lasted {limits.duration:g} seconds"
        if limits.idle and now - self.last_event >= limits.idle:
            return f"there was nothing to tell for {limits.idle:g} seconds"
        return None
