"""The owner and the location of a session that a method names, and its transfer to the caller.

A subagent's session is that of whoever has the session it was made from. Raises `ProtocolError`, `UpstreamError`
and `StoreError`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Any

import orjson
from attrs import frozen

from opencode_a2a.agent.sessions.location_check import Locations
from opencode_a2a.agent.sessions.session_choice import HIGHEST, Sessions
from opencode_a2a.agent.upstream.upstream import Upstream, UpstreamError
from opencode_a2a.server.store import Binding, Store
from sansio.a2a.codecs.json_values import list_at, text_at
from sansio.a2a.errors import ProtocolError
from sansio.a2a.model import JsonObject
from sansio.extensions.methods.method_errors import session_forbidden, session_not_found, session_unowned
from sansio.opencode.projections.session_projections import context_of
from sansio.opencode.session_marks import mark_in
from sansio.opencode.upstream import requests
from sansio.opencode.upstream.identifiers import SESSION, is_identifier
from sansio.opencode.upstream.requests import Location

OTHERS = ""
"""The owner of a session that is not the caller's: no principal has this name."""


@frozen
class SessionInUse:
    """A session that a caller may use, where it is, and whether it is `mine`: the caller's already."""

    principal: str
    session_id: str
    location: Location
    mine: bool


class SessionAccess:
    """Looks at sessions for the callers of methods."""

    def __init__(self, sessions: Sessions, store: Store, upstream: Upstream, locations: Locations) -> None:
        self._sessions = sessions
        self._store = store
        self._upstream = upstream
        self._locations = locations

    async def look(self, principal: str, session_id: str, requested: Location | None) -> SessionInUse:
        """Refuse a session that is not there, another's, nobody's without claims, or outside the workspace.

        `requested`: the location to work in. `None`: the one where the session is.
        """
        if not is_identifier(session_id, SESSION):
            raise session_not_found(session_id)  # OpenCode has no other ids, and fails over them
        seen: dict[str, JsonObject] = {}
        owner = await self._owner(principal, session_id, requested or self._locations.default, seen)
        if owner not in (None, principal) or not await self._sessions.may_use(principal, session_id):
            raise session_forbidden(session_id)
        if owner is None and not self._sessions.claims and not await self._sessions.has_claim(principal, session_id):
            raise session_unowned(session_id, "session_id")
        if session_id not in seen:
            return SessionInUse(
                principal, session_id, requested or await self._sessions.location_of(session_id), True
            )
        location = await self._locations.of_session(seen[session_id].get("directory"))
        if location is None:
            raise session_forbidden(session_id)
        return SessionInUse(principal, session_id, requested or location, owner == principal)

    @asynccontextmanager
    async def claimed(self, held: SessionInUse) -> AsyncGenerator[None]:
        """While it is entered, nobody else can claim the session; if it ends well, the session is the caller's."""
        if held.mine:
            yield
            return
        try:
            await self._sessions.claim(held.principal, held.session_id)
        except ProtocolError:
            raise session_forbidden(held.session_id) from None
        try:
            yield
        except BaseException:
            self._store.put([self._sessions.claim_until(0, held.principal, held.session_id)])
            raise
        await self.give(held.principal, held.session_id, held.location)

    def creating(self) -> AbstractContextManager[None]:
        """While it is entered, a session that appears belongs to nobody else, until it is given."""
        return self._sessions.creations.under_way()

    async def give(self, principal: str, session_id: str, location: Location) -> None:
        """The session is the caller's from now on."""
        row = self._sessions.owned(principal, session_id, location)
        await self._store.commit(
            [row, Binding(principal, context_of(session_id), session_id, self._sessions.affinity)]
        )

    async def visible(self, principal: str, session_ids: Iterable[str], answer: Any, location: Location) -> set[str]:
        """Keep the sessions that the caller may use. `answer`: the sessions themselves, where they are known."""
        seen = sessions_by_id(list_at(answer))
        mine: set[str] = set()
        for session_id in session_ids:
            try:
                owner = await self._owner(principal, session_id, location, seen)
            except UpstreamError as exc:
                if exc.failure.status != 404:
                    raise
                continue  # it is gone by now
            if owner == principal or (owner is None and self._sessions.claims):
                mine.add(session_id)
        return mine

    async def _owner(
        self, principal: str, session_id: str, location: Location, seen: dict[str, JsonObject]
    ) -> str | None:
        """Who has a session, or the nearest one above it that somebody has. `seen`: what was read of them.

        None: nobody has it, and the caller may. `OTHERS`: somebody else does whose name is not known.
        """
        current: str | None = session_id
        for _ in range(HIGHEST):
            if current is None:
                return None
            if current not in seen:
                owner = await self._store.owner_of(current)
                if owner is not None:
                    return owner
                body = (await self._upstream.request(requests.get_session(current, location))).body
                seen[current] = sessions_by_id([orjson.loads(body)]).get(current, {})
            free = await self._sessions.may_use(principal, current, seen[current])
            owner = await self._store.owner_of(current)
            if owner is not None:
                return owner
            if not free:
                return OTHERS
            if mark_in(seen[current]) is not None:
                return principal
            current = text_at(seen[current], "parentID")
        return None


def sessions_by_id(sessions: Iterable[Any]) -> dict[str, JsonObject]:
    """The sessions among decoded JSON."""
    found = [session for session in sessions if isinstance(session, dict) and isinstance(session.get("id"), str)]
    return {session["id"]: session for session in found}
