"""Finds the instance of OpenCode for a message, a task or a method: what is known of each, for `choose` to decide.

Where there is one instance without a name, and the store is not shared, nothing is looked up. Another server on a
shared store may have conversations in an instance of a name, which this one must not go on with.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import Final

from opencode_a2a.agent.instances import Instance, Instances
from opencode_a2a.agent.upstream.upstream import UpstreamError
from opencode_a2a.server.agent import NotHereError
from opencode_a2a.server.store import Store
from opencode_a2a.server.store.store_errors import from_store
from sansio.a2a.errors import ProtocolError
from sansio.opencode.instances import Candidate, choose
from sansio.opencode.upstream import requests
from sansio.opencode.upstream.identifiers import SESSION, is_identifier

_ASKING: Final = 5.0  # seconds that an instance has to say whether it knows a session, or a directory
_MOST_CONTEXTS: Final = 4096  # that are remembered until their first task is in the store


class InstanceChoice:
    """Chooses among the instances of a server. Raises `ProtocolError`."""

    def __init__(self, instances: Instances, store: Store) -> None:
        self._instances = instances
        self._store = store
        self._chosen: Counter[str] = Counter()
        self._begun: OrderedDict[tuple[str, str], str] = OrderedDict()

    async def of_message(
        self,
        principal: str,
        context_id: str | None,
        *,
        session_id: str | None = None,
        asked: str | None = None,
        directory: str | None = None,
    ) -> Instance:
        """The instance that a message runs in. `session_id`, `directory`: that it names.

        Raises `NotHereError` where its context or session is in an instance that this server does not have.
        """
        if self._is_alone(asked):
            return self._instances.first
        bound = None if session_id is None else await self._of_session(session_id, asked)
        key = None if context_id is None else (principal, context_id)
        if bound is None and key is not None:
            affinity = self._begun.get(key)
            if affinity is None:
                affinity = await from_store(self._store.affinity_of_context(*key))
            bound = None if affinity is None else self.of_task(affinity)
        if not self._instances.are_named and asked is None:
            return self._instances.first
        new = await self._choose(asked, bound, directory)
        if bound is None:
            self._chosen[new.name] += 1
            if key is not None:
                self._begun[key] = new.name
                while len(self._begun) > _MOST_CONTEXTS:
                    self._begun.popitem(last=False)
        return new

    async def of_method(self, *, session_id: str | None, asked: str | None) -> Instance:
        """The instance that a method is about: that of a session, that which is named, or the default."""
        if self._is_alone(asked):
            return self._instances.first
        bound = None if session_id is None else await self._of_session(session_id, asked)
        if bound is None and asked is None:
            return self._instances.first
        return await self._choose(asked, bound, None)

    def of_task(self, affinity: str) -> Instance:
        """The instance that a task runs in. Raises `NotHereError`."""
        found = self._instances.of_affinity(affinity)
        if found is None:
            reason = f"This server does not work with the OpenCode of this conversation ({affinity})"
            raise NotHereError(f"{reason}; try again: another server may")
        return found

    def or_default(self, affinity: str) -> Instance:
        """The instance that a task runs in, or the default where this server does not have it."""
        return self._instances.of_affinity(affinity) or self._instances.first

    # --- inside -------------------------------------------------------------------------------------------

    def _is_alone(self, asked: str | None) -> bool:
        """Whether there is nothing to choose: one instance without a name, and no server that could have another."""
        return not self._instances.are_named and asked is None and self._store.ownership.replica_id is None

    async def _choose(self, asked: str | None, bound: Instance | None, directory: str | None) -> Instance:
        candidates = [
            Candidate(
                name=one.name,
                connected=one.bus.connected,
                running=len(one.turns.running),
                chosen=self._chosen[one.name],
                serves=directory is None or bound is not None or asked is not None or await _serves(one, directory),
            )
            for one in self._instances
        ]
        return self._instances.named(choose(candidates, asked=asked, bound=None if bound is None else bound.name))

    async def _of_session(self, session_id: str, asked: str | None) -> Instance | None:
        """The instance of a session: as the store has it, else the first that knows it; None where none does."""
        affinity = await from_store(self._store.affinity_of_session(session_id))
        if affinity is not None:
            return self.of_task(affinity)
        if asked is not None or len(self._instances) == 1 or not is_identifier(session_id, SESSION):
            return None
        for instance in self._instances:
            if instance.bus.connected and await _has_session(instance, session_id):
                return instance
        return None


async def _has_session(instance: Instance, session_id: str) -> bool:
    try:
        with instance.upstream.within(_ASKING):
            await instance.upstream.request(requests.get_session(session_id, instance.locations.default))
    except UpstreamError:
        return False
    return True


async def _serves(instance: Instance, directory: str) -> bool:
    """Whether a directory is one of an instance's workspace; not where that cannot be asked now."""
    if not (instance.bus.connected or instance.locations.default.directory):
        return False
    try:
        return await instance.locations.is_served(directory)
    except ProtocolError:
        return False
