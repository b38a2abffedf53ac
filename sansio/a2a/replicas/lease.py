"""The lease of one of the servers that share a store: when to renew it, and when others may be taken over.

The store decides whose lease is over, by its own clock. This machine knows the monotonic clock of one process alone.

    state       renewed in time                     renewed late, or joined
    settled     settled                             settling: for as long as a lease
    settling    settled, once a lease has passed    settling: for as long as a lease, from now

A server takes over others only while it is settled. After an outage of the store every lease is over, and the first
server to come back would otherwise take over all the others, which come back a moment later.
"""

from __future__ import annotations

from attrs import define, field
from attrs.validators import gt

_RENEWALS = 4  # in the time of a lease, so that a renewal may fail and be tried again
_RETRIES = 16  # the same for what follows a renewal that failed


@define
class Lease:
    """A lease of `seconds`. `now`, everywhere: seconds on the monotonic clock of the process."""

    seconds: float = field(validator=gt(0))
    _renewed_at: float = 0.0
    _settling_since: float = 0.0
    _failed: bool = False

    def join(self, now: float) -> None:
        """Begin a lease. `now`: before the store was asked for it."""
        self._renewed_at = self._settling_since = now
        self._failed = False

    def renew(self, now: float) -> None:
        """Note that a renewal succeeded. `now`: before the store was asked for it."""
        if now - self._renewed_at > self.seconds / 2:
            self._settling_since = now
        self._renewed_at = now
        self._failed = False

    def fail(self) -> None:
        """Note that a renewal failed, or what follows each: the next is tried soon."""
        self._failed = True

    def pause(self, now: float) -> float:
        """Return the seconds until the next renewal, at least 0."""
        if self._failed:
            return self.seconds / _RETRIES
        return max(0.0, self._renewed_at + self.seconds / _RENEWALS - now)

    def age(self, now: float) -> float:
        """Return the seconds since the lease was renewed, or joined."""
        return now - self._renewed_at

    def over(self, now: float) -> bool:
        """Whether others may have taken over this server by now. Until they have, the lease is still good."""
        return self.age(now) >= self.seconds

    def settled(self, now: float) -> bool:
        """Whether this server may take over others."""
        return now - self._settling_since >= self.seconds and not self.over(now)
