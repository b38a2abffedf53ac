"""Which OpenCode session a turn runs in, whose it is, and where it is.

A context has one session, made with its first turn. A message may name another: nobody's is claimed by whoever names
it first, before there is a task, and theirs once the turn begins. Ownership is in the store. A session that the store
does not know yet belongs to the principal whose mark it has, and one that is being made belongs to nobody else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack

import anyio
import orjson

from opencode_a2a.agent.sessions.location_check import MISTAKEN, Locations
from opencode_a2a.agent.sessions.session_creation import Creations
from opencode_a2a.agent.turns.running_turn import RunningTurn
from opencode_a2a.agent.upstream.upstream import Upstream, UpstreamError
from opencode_a2a.server.store import Binding, SessionRow, Store, Write
from opencode_a2a.server.tasks.active_task import Facts
from opencode_a2a.server.tasks.keyed_lock import Locks
from sansio.a2a.codecs.json_values import object_at
from sansio.a2a.errors import invalid
from sansio.a2a.model import JsonObject
from sansio.extensions.methods.method_errors import session_unowned, upstream_error
from sansio.opencode.locations import DIRECTORY, WORKSPACE, location_as_text, location_of_text
from sansio.opencode.metadata_fields import SESSION_ID
from sansio.opencode.session_marks import mark_in, mark_of, marked_for
from sansio.opencode.upstream import requests
from sansio.opencode.upstream.faults import BAD_REQUEST, PAYLOAD, TaskFailure
from sansio.opencode.upstream.requests import Location

_log = logging.getLogger(__name__)

_NOT_YOURS = TaskFailure(text="The session is not one that this caller can use", type="SESSION_FORBIDDEN")
_MOVED = TaskFailure(text="The conversation works elsewhere: choose a place in a new context", type=BAD_REQUEST)
_BOUND_ELSEWHERE = TaskFailure(text="The conversation has begun in another OpenCode: send it again", type=BAD_REQUEST)
_ELSEWHERE = TaskFailure(text="The session is outside the workspace of this deployment", type="SESSION_FORBIDDEN")
_NOT_USABLE = "is not a session that this caller can use"
_ASKING = 5.0  # seconds that OpenCode has to tell of a session before it is claimed
UNSEEN = "?"
"""The place of a session that an earlier release made: its tables do not say in which directory."""
HIGHEST = 32  # sessions above a session that are looked at; there are hardly ever two


class Sessions:
    """`claim_ttl`: seconds for which a session nobody owns is kept for the caller who named it first.

    `claims`: whether a session that nobody owns can be claimed at all. `creations`: those that are being made.
    `affinity`: what the rows of sessions have that are in this OpenCode; empty where there is no other.
    """

    def __init__(
        self,
        store: Store,
        upstream: Upstream,
        locations: Locations,
        *,
        locks: Locks,
        creations: Creations,
        claim_ttl: float,
        claims: bool,
        wall: Callable[[], float],
        affinity: str = "",
    ) -> None:
        self.claims = claims
        self.affinity = affinity
        self._store = store
        self._upstream = upstream
        self._locations = locations
        self.creations = creations
        self._claim_ttl = claim_ttl
        self._wall = wall
        self._locks = locks

    # --- before there is a task ---------------------------------------------------------------------------

    async def claim(self, principal: str, session_id: str, location: Location | None = None) -> None:
        """Claim a session that a message names, to be looked for at `place`.

        Raises `ProtocolError` where it is another's, or nobody's and claims are switched off; `StoreError`.
        """
        async with self._locks.of(("claim", session_id)):
            if not await self.may_use(principal, session_id):
                raise invalid(SESSION_ID.path, _NOT_USABLE)
            if await self._store.owner_of(session_id) is None:
                if not self.claims:
                    await self._check_claim(principal, session_id, location or self._locations.default)
                elif not await self._may_claim(principal, session_id, location or self._locations.default):
                    raise invalid(SESSION_ID.path, _NOT_USABLE)
                until = int((self._wall() + self._claim_ttl) * 1000)
                await self._store.commit([self.claim_until(until, principal, session_id)])

    def claim_until(self, until: int, principal: str, session_id: str) -> SessionRow:
        """A claim on a session, good until an epoch in milliseconds."""
        return SessionRow(session_id=session_id, principal=principal, claimed_until=until, affinity=self.affinity)

    async def check_location(
        self, principal: str, context_id: str | None, named: str | None, location: Location
    ) -> None:
        """Refuse to move a conversation, or the session it names. Raises `ProtocolError`, `StoreError`."""
        if named is not None:
            session_id = named if await self._store.owner_of(named) == principal else None
        else:
            session_id = None if context_id is None else await self._store.session_of(principal, context_id)
        if session_id is not None and await self.location_of(session_id) != location:
            field = DIRECTORY if location.workspace is None else WORKSPACE
            raise invalid(field, "is not where this conversation works: choose it in a new context")

    async def has_claim(self, principal: str, session_id: str) -> bool:
        """Whether a claim of the caller's on a session is still good. Raises `StoreError`."""
        claim = await self._store.session(session_id)
        if claim is None or claim.principal != principal or claim.claimed_until is None:
            return False
        return claim.claimed_until > self._wall() * 1000

    async def may_use(self, principal: str, session_id: str, found: JsonObject | None = None) -> bool:
        """Whether a session is the caller's, or nobody's. `found`: as OpenCode has it. Raises `StoreError`.

        Without `found`, only what the store knows counts.
        """
        # Asked before the store is: a creation that is not under way any more has its owner in the store.
        being_made = found is not None and mark_in(found) is None and self.creations.may_have_made(found)
        owner = await self._store.owner_of(session_id)
        if owner is not None:
            return owner == principal
        if being_made or (found is not None and mark_in(found) not in (None, mark_of(principal))):
            return False
        claim = await self._store.session(session_id)
        claimed = claim is not None and claim.claimed_until is not None and claim.claimed_until > self._wall() * 1000
        if claim is not None and claim.claimed_until is None:  # it was bound since its owner was asked for
            return await self._store.owner_of(session_id) in (None, principal)
        return not claimed or (claim is not None and claim.principal == principal)

    # --- for a turn ---------------------------------------------------------------------------------------

    async def of_context(self, run: RunningTurn, creating: ExitStack) -> str:
        """The context's session; a new one for a new context. Raises `UpstreamError`, `StoreError`.

        `creating`: to be left once the session's owner is durable.
        """
        facts = run.active.facts
        if not run.prompt.fresh:
            known = await self._store.session_of(facts.principal, facts.context_id)
            if known is not None:
                await self._check_affinity(known)
                run.location = await self.location_of(known)
                if run.prompt.location not in (None, run.location):
                    raise UpstreamError(_MOVED)
                if not await self.is_gone(run.location):
                    return known
                run.location = self._locations.default
        creating.enter_context(self.creations.under_way())
        call = requests.create_session(None, run.location, marked_for(facts.principal))
        made = _object((await self._upstream.request(call)).body)
        session_id = made.get("id")
        if not isinstance(session_id, str):
            raise UpstreamError(TaskFailure(text="OpenCode made a session without an id", type=PAYLOAD))
        if not self._locations.is_at(run.location, made.get("directory")):
            raise UpstreamError(MISTAKEN)  # a link was put in its place since it was looked at
        return session_id

    async def requested(self, run: RunningTurn, session_id: str) -> None:
        """Look at the session a message names: that it is there, inside the workspace, and still the caller's.

        Raises `UpstreamError`, `StoreError`.
        """
        principal = run.active.facts.principal
        if not await self.may_use(principal, session_id):
            raise UpstreamError(_NOT_YOURS)
        known = await self.location_of(session_id)
        if run.prompt.location is None:
            run.location = known
        found = await self._session(session_id, run.location)
        if not await self.may_use(principal, session_id, found):
            raise UpstreamError(_NOT_YOURS)
        location = await self._locations.of_session(found.get("directory"))
        wanted = run.location.workspace
        if location is None and (wanted is None or found.get("workspaceID") != wanted):
            raise UpstreamError(_ELSEWHERE)
        if run.prompt.location is None and known == self._locations.default and location is not None:
            run.location = location
        await self._check_above(principal, found.get("parentID"), run.location)

    async def rows(self, run: RunningTurn, session_id: str) -> list[Write]:
        """The rows that bind the session to its context and owner. Raises `StoreError`."""
        facts: Facts = run.active.facts
        rows: list[Write] = [Binding(facts.principal, facts.context_id, session_id, self.affinity)]
        if run.prompt.session_id is not None:
            left = await self._store.session_of(facts.principal, facts.context_id)
            if left not in (None, session_id) and await self._store.session(left) is None:
                # it was the caller's by the binding that is replaced now, and stays so
                affinity = await self._store.affinity_of_session(left) or ""
                rows.append(SessionRow(session_id=left, principal=facts.principal, affinity=affinity))
        if run.prompt.session_id is not None or run.location != self._locations.default:
            rows.append(self.owned(facts.principal, session_id, run.location))
        return rows

    def owned(self, principal: str, session_id: str, location: Location) -> SessionRow:
        """That a session is the caller's, and where it is."""
        where = "" if location == self._locations.default else location_as_text(location)
        return SessionRow(session_id=session_id, principal=principal, place=where, affinity=self.affinity)

    async def is_gone(self, location: Location) -> bool:
        """Whether the directory of a place was removed."""
        return await self._locations.is_gone(location)

    async def verify(self, location: Location) -> None:
        """Check that OpenCode works where a place says, before a prompt goes there. Raises `UpstreamError`."""
        await self._locations.verify(location)

    # --- inside -------------------------------------------------------------------------------------------

    async def _check_affinity(self, session_id: str) -> None:
        """Refuse a session of another OpenCode: two servers gave a context its first message at the same moment."""
        if self.affinity and await self._store.affinity_of_session(session_id) not in (None, "", self.affinity):
            raise UpstreamError(_BOUND_ELSEWHERE)

    async def _session(self, session_id: str, location: Location) -> JsonObject:
        """Read a session from OpenCode, which answers with something else for an id that is no session's."""
        body = (await self._upstream.request(requests.get_session(session_id, location))).body
        found = _object(body)
        if found.get("id") != session_id:
            raise UpstreamError(TaskFailure(text="OpenCode knows no such session", type=PAYLOAD))
        return found

    async def _check_claim(self, principal: str, session_id: str, location: Location) -> None:
        """Refuse a session that is neither claimed by nor made for the caller, nor below a session of theirs."""
        if await self.has_claim(principal, session_id):
            return
        try:
            owner = await self._owner_above(principal, session_id, location) if session_id.startswith("ses") else ""
        except UpstreamError as exc:
            if exc.failure.status != 404 and exc.failure.type != PAYLOAD:
                raise upstream_error(exc.failure, "message", session_id) from exc
            owner = ""
        if owner is None:
            raise session_unowned(session_id, ".".join(SESSION_ID.path))
        if owner != principal:
            raise invalid(SESSION_ID.path, _NOT_USABLE)

    async def _owner_above(self, principal: str, session_id: str, location: Location) -> str | None:
        """The owner of a session, or of the nearest ancestor session that has one.

        Empty: not the caller. Raises `UpstreamError`, `StoreError`.
        """
        for _ in range(HIGHEST):
            found = await self._session(session_id, location)
            if not await self.may_use(principal, session_id, found):
                return ""
            owner = await self._store.owner_of(session_id)
            if owner is not None or mark_in(found) is not None:
                return principal
            above = found.get("parentID")
            if not isinstance(above, str):
                break
            session_id = above
        return None

    async def _may_claim(self, principal: str, session_id: str, location: Location) -> bool:
        """Whether OpenCode says nothing against a claim. Where it cannot be asked now, the turn asks it."""
        try:
            with anyio.move_on_after(_ASKING):
                found = await self._session(session_id, location)
                if not await self.may_use(principal, session_id, found):
                    return False
                await self._check_above(principal, found.get("parentID"), location)
        except UpstreamError as exc:
            return exc.failure is not _NOT_YOURS
        return True

    async def _check_above(self, principal: str, above: object, location: Location) -> None:
        """A subagent's session is that of whoever has the one it was made from."""
        for _ in range(HIGHEST):
            if not isinstance(above, str):
                return
            if not await self.may_use(principal, above):
                raise UpstreamError(_NOT_YOURS)
            found = await self._session(above, location)
            if not await self.may_use(principal, above, found):
                raise UpstreamError(_NOT_YOURS)
            above = found.get("parentID")
        raise UpstreamError(_NOT_YOURS)

    async def location_of(self, session_id: str) -> Location:
        """Where a session that is known is. Raises `StoreError`."""
        known = await self._store.session(session_id)
        if known is not None and known.place == UNSEEN:
            return await self._seen_location(known)
        return self._locations.default if known is None or not known.place else location_of_text(known.place)

    async def _seen_location(self, row: SessionRow) -> Location:
        """Ask OpenCode once where an imported session is, and keep the answer; the default where it cannot tell."""
        try:
            found = await self._session(row.session_id, self._locations.default)
        except UpstreamError:
            return self._locations.default
        directory = found.get("directory")
        location = await self._locations.of_session(directory)
        if location is None:
            _log.warning(
                "session %s of an earlier release works in %r, which is outside of OPENCODE_WORKSPACE_ROOT: its next "
                "turn runs in OpenCode's own directory. Set that variable to where the earlier release was started",
                row.session_id,
                directory,
            )
            location = self._locations.default
        if row.claimed_until is None:
            self._store.put([self.owned(row.principal, row.session_id, location)])
        return location


def _object(body: bytes) -> JsonObject:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return object_at(found)
