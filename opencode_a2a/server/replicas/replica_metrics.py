"""Lets the meters read how servers share a store: the lease, what was taken over and lost, what they ask each other.

A server that shares its store with nobody has none of these metrics.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from attrs import frozen

from opencode_a2a.metrics.meters import Meters, Reading
from opencode_a2a.server.replicas.adoption import Adoption
from opencode_a2a.server.replicas.followed_tasks import FollowedTasks
from opencode_a2a.server.replicas.others import Others
from opencode_a2a.server.store import LeaseStatus, Ownership
from sansio.metrics import (
    COMMANDS_RECEIVED,
    COMMANDS_SENT,
    LEASE_AGE,
    LEASE_HELD,
    LEASES_LOST,
    RENEWALS_FAILED,
    REPLICAS,
    TAKEOVERS,
    TASKS_ADOPTED,
    TASKS_FOLLOWED,
    TASKS_LOST,
    Meter,
)


class Losing(Protocol):
    """Work that this server loses with its lease."""

    lost: int
    """Tasks that it has lost so far."""


@frozen(kw_only=True)
class Sharing:
    """The parts of a server that share a store with other servers."""

    ownership: Ownership
    followed: FollowedTasks
    adoption: Adoption
    runner: Losing
    others: Others


_LEASE: Final[tuple[tuple[Meter, Callable[[LeaseStatus], Reading]], ...]] = (
    (REPLICAS, lambda lease: lease.servers),
    (LEASE_HELD, lambda lease: float(lease.held)),
    (LEASE_AGE, lambda lease: lease.age),
    (RENEWALS_FAILED, lambda lease: lease.failures),
    (LEASES_LOST, lambda lease: lease.losses),
    (TAKEOVERS, lambda lease: lease.takeovers),
)
_WORK: Final[tuple[tuple[Meter, Callable[[Sharing], Reading]], ...]] = (
    (TASKS_ADOPTED, lambda sharing: sharing.adoption.total),
    (TASKS_LOST, lambda sharing: sharing.runner.lost),
    (TASKS_FOLLOWED, lambda sharing: sharing.followed.growing),
    (COMMANDS_SENT, lambda sharing: sharing.others.counts.sent),
    (COMMANDS_RECEIVED, lambda sharing: sharing.others.counts.received),
)


def watch_sharing(meters: Meters, sharing: Sharing) -> None:
    """Let the meters read all of it."""

    def lease(read: Callable[[LeaseStatus], Reading]) -> Reading:
        status = sharing.ownership.lease
        return None if status is None else read(status)

    def work(read: Callable[[Sharing], Reading]) -> Reading:
        return None if sharing.ownership.replica_id is None else read(sharing)

    for meter, of_lease in _LEASE:
        meters.read(meter, partial(lease, of_lease))
    for meter, of_work in _WORK:
        meters.read(meter, partial(work, of_work))
