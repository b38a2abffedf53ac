"""Whose a session is that a method names, and how it becomes the caller's.

A subagent's session is that of whoever has the session it was made from. Raises ``ProtocolError``, ``UpstreamError``
and ``StoreError``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import orjson

from sansio.a2a.errors import ProtocolError
from sansio.extensions.errors import session_forbidden, session_not_found
from sansio.opencode import requests
from sansio.opencode.places import place_as_text
from sansio.opencode.requests import Place
from sansio.opencode.session_projections import context_of

from .sessions import Sessions
from .store import Binding, SessionRow, Store
from .upstream import Upstream, UpstreamError

_HIGHEST = 32  # sessions above a session; there are hardly ever two


class Owners:
    """``default``: the place of a session that is nowhere special."""

    def __init__(self, sessions: Sessions, store: Store, upstream: Upstream, default: Place) -> None:
        self._sessions = sessions
        self._store = store
        self._upstream = upstream
        self._default = default

    async def check(self, principal: str, session_id: str, place: Place) -> bool:
        """Refuse a session that is not there, or another's. True if it is the caller's already."""
        if not session_id.startswith("ses"):
            raise session_not_found(session_id)  # OpenCode has no other ids, and fails over them
        owner = await self._owner(session_id, place, {})
        if owner not in (None, principal) or not await self._sessions.may_use(principal, session_id):
            raise session_forbidden(session_id)
        return owner == principal

    @asynccontextmanager
    async def claimed(self, principal: str, session_id: str, place: Place) -> AsyncGenerator[None]:
        """While it is entered, nobody else can claim the session; if it ends well, the session is the caller's."""
        if await self.check(principal, session_id, place):
            yield
            return
        try:
            await self._sessions.claim(principal, session_id)
        except ProtocolError:
            raise session_forbidden(session_id) from None
        try:
            yield
        except BaseException:
            self._store.put([SessionRow(session_id=session_id, principal=principal, claimed_until=0)])
            raise
        await self.give(principal, session_id, place)

    async def give(self, principal: str, session_id: str, place: Place) -> None:
        """The session is the caller's from now on."""
        where = "" if place == self._default else place_as_text(place)
        row = SessionRow(session_id=session_id, principal=principal, place=where)
        await self._store.commit([row, Binding(principal, context_of(session_id), session_id)])

    async def visible(
        self, principal: str, session_ids: Iterable[str], above: Mapping[str, str | None], place: Place
    ) -> set[str]:
        """Those of the sessions that are not another's. ``above``: each one's parent, as far as it is known."""
        known = dict(above)
        seen: set[str] = set()
        for session_id in session_ids:
            try:
                owner = await self._owner(session_id, place, known)
            except UpstreamError as exc:
                if exc.failure.status != 404:
                    raise
                continue  # it is gone by now
            if owner in (None, principal):
                seen.add(session_id)
        return seen

    async def _owner(self, session_id: str, place: Place, above: dict[str, str | None]) -> str | None:
        """Who has a session, or the nearest one above it that somebody has."""
        current: str | None = session_id
        for _ in range(_HIGHEST):
            if current is None:
                return None
            owner = await self._store.owner_of(current)
            if owner is not None:
                return owner
            if current not in above:
                above[current] = await self._parent(current, place)
            current = above[current]
        return None

    async def _parent(self, session_id: str, place: Place) -> str | None:
        call = requests.get_session(session_id, place)
        found: Any = orjson.loads((await self._upstream.request(call)).body)
        return parents([found]).get(session_id)


def parents(sessions: Iterable[Any]) -> dict[str, str | None]:
    """The parents of sessions as OpenCode tells of them."""
    found = [session for session in sessions if isinstance(session, dict) and isinstance(session.get("id"), str)]
    return {session["id"]: _text(session.get("parentID")) for session in found}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
