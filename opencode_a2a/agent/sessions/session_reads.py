"""Reads a turn's session over REST, where events of the bus may have been missed."""

from __future__ import annotations

import logging
from collections import deque

from attrs import frozen

from opencode_a2a.agent.sessions.shared_read import SharedRead
from opencode_a2a.agent.upstream.event_bus import EventBus
from opencode_a2a.agent.upstream.upstream import Upstream, UpstreamError
from opencode_a2a.server.steps import in_turns
from sansio.a2a.codecs.json_values import object_at
from sansio.a2a.errors import ProtocolError
from sansio.large_json import decoded
from sansio.opencode.upstream import requests
from sansio.opencode.upstream.events import (
    InterruptAsked,
    MessageRecord,
    SessionStatus,
    Statuses,
    decode_asked,
    decode_messages,
    decode_sessions,
    decode_statuses,
)
from sansio.opencode.upstream.requests import Location, UpstreamCall

_log = logging.getLogger(__name__)


@frozen
class SessionNow:
    """A session's messages, its status, and what it and the sessions below it wait for."""

    records: list[MessageRecord]
    status: SessionStatus
    asked: list[InterruptAsked]


@frozen
class _Instance:
    """The state of all sessions of an instance, as OpenCode gives it: it has no request about one of them."""

    statuses: Statuses
    asked: list[InterruptAsked]


class SessionReads:
    """Raises `UpstreamError`, and `ProtocolError` for answers that make no sense."""

    def __init__(self, upstream: Upstream, bus: EventBus) -> None:
        self._upstream = upstream
        self._bus = bus
        self._instances: SharedRead[_Instance] = SharedRead()

    async def now(self, session_id: str, location: Location) -> SessionNow:
        """The session as it is.

        Status and questions are read first: what they say may be outdated by the messages, never the reverse. After a
        restart or a gap, many turns ask at once, and share what is said of all sessions.
        """
        found = await self._instances.get(location, lambda: self._instance(location))
        asked = [one for one in found.asked if self._bus.leads_to(one.session_id, session_id)]
        body = await self._read(requests.messages(session_id, location))
        return SessionNow(decode_messages(body), found.statuses.of(session_id), asked)

    async def _instance(self, location: Location) -> _Instance:
        asked = [
            interrupt
            for kind, call in (("permission", requests.permissions), ("question", requests.questions))
            for interrupt in decode_asked(kind, await self._read(call(location)))
        ]
        return _Instance(await _statuses(await self._read(requests.statuses(location))), asked)

    async def learn_below(self, session_id: str, location: Location) -> None:
        """Register a session's subagents with the event bus, whose events about them may have been missed.

        An OpenCode that does not tell of them at all is taken as it is.
        """
        above = deque([session_id])
        seen = {session_id}
        try:
            while above:
                parent = above.popleft()
                for child in decode_sessions(await self._read(requests.children(parent, location))):
                    if child.session_id not in seen:
                        seen.add(child.session_id)
                        self._bus.adopt(child.session_id, parent)
                        above.append(child.session_id)
        except ProtocolError as exc:
            _log.warning("the subagents of %s are not known: %s", session_id, exc)
        except UpstreamError as exc:
            if exc.failure.status is None or exc.failure.status >= 500:
                raise
            _log.warning("the subagents of %s are not known: %s", session_id, exc)

    async def _read(self, call: UpstreamCall) -> bytes:
        return (await self._upstream.request(call)).body


async def _statuses(body: bytes) -> Statuses:
    """Decode the statuses of all sessions, in steps: of 5,000 busy ones they are 200 kB. Raises `ProtocolError`."""
    try:
        return Statuses(object_at(await in_turns(decoded(body))))
    except ValueError:  # half a character, or no JSON
        return decode_statuses(body)
