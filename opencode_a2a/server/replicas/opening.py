"""The parts that depend on whether a store is shared."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from anyio.abc import TaskGroup

from opencode_a2a.server.identity.connection_tickets import ConnectionTickets, LocalTickets
from opencode_a2a.server.replicas.others import NoOthers, Others
from opencode_a2a.server.store import Store
from opencode_a2a.server.tasks.keyed_lock import LocalLocks, Locks
from sansio.a2a.replicas.commands import Command
from sansio.access.tickets import TicketBounds, Tickets

_TICKETS: Final = TicketBounds()


def locks_of(store: Store) -> Locks:
    """The locks of a server, which hold among all servers that share its store."""
    if store.ownership.replica_id is None:
        return LocalLocks()
    # these import a database
    from opencode_a2a.server.replicas.shared_locks import SharedLocks
    from opencode_a2a.server.store.shared.shared_owner import SharedOwner

    assert isinstance(store.ownership, SharedOwner)  # who else has other servers
    return SharedLocks(store.ownership)


def others_of(store: Store, execute: Callable[[Command], Awaitable[object]], tasks: TaskGroup) -> Others:
    """The other servers of a shared store. `execute`: does a command of theirs in this one."""
    if store.ownership.replica_id is None:
        return NoOthers(execute)
    from opencode_a2a.server.replicas.relay import Relay
    from opencode_a2a.server.store.shared.shared_owner import SharedOwner

    assert isinstance(store.ownership, SharedOwner)
    return Relay(store.ownership, store, execute, tasks)


def tickets_of(store: Store, bounds: TicketBounds = _TICKETS) -> ConnectionTickets:
    """The tickets by which pages open connections, or their sessions: good in all servers that share the store."""
    if store.ownership.replica_id is None:
        return LocalTickets(Tickets(bounds))
    from opencode_a2a.server.replicas.shared_tickets import SharedTickets
    from opencode_a2a.server.store.shared.shared_owner import SharedOwner

    assert isinstance(store.ownership, SharedOwner)
    return SharedTickets(store.ownership, bounds)
