"""The parts that depend on whether a store is shared."""

from __future__ import annotations

from opencode_a2a.server.store import Store
from opencode_a2a.server.tasks.keyed_lock import LocalLocks, Locks


def locks_of(store: Store) -> Locks:
    """The locks of a server, which hold among all servers that share its store."""
    if store.ownership.replica_id is None:
        return LocalLocks()
    # these import a database
    from opencode_a2a.server.replicas.shared_locks import SharedLocks
    from opencode_a2a.server.store.shared.shared_owner import SharedOwner

    assert isinstance(store.ownership, SharedOwner)  # who else has other servers
    return SharedLocks(store.ownership)
