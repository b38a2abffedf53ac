"""Counts a request once it is answered: by operation and status, and by the reason for which it was refused."""

from __future__ import annotations

from opencode_a2a.metrics.meters import Meters
from sansio.a2a.bindings.http_messages import Outcome
from sansio.a2a.errors import ErrorKind
from sansio.metrics import RATE_LIMITED, REFUSED, REQUESTS, STREAM_REQUESTS, STREAMS_REJECTED

_STREAMS = frozenset({"stream", "subscribe"})


def count_request(meters: Meters, outcome: Outcome) -> None:
    """Count a request. `outcome.label` is its operation; a request without one is `other`."""
    label = outcome.label or "other"
    meters.count(REQUESTS, label, "left" if outcome.status is None else str(outcome.status))
    if label in _STREAMS:
        meters.count(STREAM_REQUESTS)
    error = outcome.error
    if error is None:
        return
    meters.count(REFUSED, error.reason)
    if label in _STREAMS and error.kind is ErrorKind.OVERLOADED:
        meters.count(STREAMS_REJECTED)
    if error.kind is ErrorKind.RATE_LIMITED:
        meters.count(RATE_LIMITED)
