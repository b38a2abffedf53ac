"""Answers requests for the console: its files, which everybody may read, and sessions, which a credential begins.

A session is a cookie that no script can read. What it may do is decided where every caller is authenticated.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Final

from attrs import evolve

from opencode_a2a.server.console.page_files import PageFile
from opencode_a2a.server.http.documents import only
from opencode_a2a.server.identity.connection_tickets import ConnectionTickets
from opencode_a2a.server.identity.rate_guard import RateGuard
from sansio.a2a.bindings.http_messages import Request, Response, json_response
from sansio.a2a.errors import ErrorKind, ProtocolError
from sansio.access import Authentication
from sansio.access.sessions import digest_of_session, seal_session
from sansio.access.tickets import SealedTicket
from sansio.guards import console
from sansio.guards.origins import AllowedOrigins

_SECRET: Final = 32  # bytes
_PRIVATE: Final = ("cache-control", "no-store")


class Console:
    """The console of a server.

    `files`: of the page, by their paths. `kept`: where sessions are. `agent`: what those who are logged in see of the
    agent. `prefix`: the path of the public URL.
    """

    def __init__(
        self,
        files: Mapping[str, PageFile],
        kept: ConnectionTickets,
        *,
        agent: Mapping[str, str],
        origins: AllowedOrigins,
        prefix: str,
    ) -> None:
        self._files = files
        self._kept = kept
        self._agent = agent
        self._origins = origins
        self._prefix = prefix
        self.paths: Mapping[str, str] = {
            console.SESSION_PATH: "GET, POST, DELETE",
            **dict.fromkeys(files, "GET"),
        }
        """The methods of each path."""

    async def answer(self, request: Request, guard: RateGuard) -> Response:
        """Answer a request for one of the console's paths.

        Raises `ProtocolError`: METHOD_NOT_ALLOWED, RATE_LIMITED, FORBIDDEN for what is not of the page, and what
        authentication raises.
        """
        if request.path == console.SESSION_PATH:
            only(request, "GET", "HEAD", "POST", "DELETE")
            return await self._session(request, guard)
        only(request, "GET", "HEAD")
        guard.read(request)
        return self._files[request.path].response(request)

    def presented(self, request: Request) -> str:
        """Return the secret of the session that a request brings; empty where none counts."""
        return console.secret_in(request, self._origins, self._prefix_of(request))

    async def find(self, secret: str) -> SealedTicket | None:
        """Return a session as it is kept; None where it has ended. Raises `ProtocolError` where nobody can say."""
        return await self._kept.find(digest_of_session(secret))

    async def _session(self, request: Request, guard: RateGuard) -> Response:
        if not console.is_of_page(request):
            raise ProtocolError(ErrorKind.FORBIDDEN, f"Sessions are for the page alone: {console.HEADER} is missing")
        before = self.presented(request)
        if request.method == "DELETE":
            if before:
                guard.read(request)
                await self._kept.end(digest_of_session(before))
            return Response(204, b"", (_PRIVATE, ("set-cookie", self._cookie(request, ""))))
        if request.method == "POST" and guard.authenticator.presents_session(request):  # it would never end
            raise ProtocolError(ErrorKind.UNAUTHENTICATED, "A session is begun with a credential")
        caller = await guard.authenticate(request)
        request.outcome.principal = caller.identity.principal
        request.outcome.credential_id = caller.identity.credential_id
        answer = json_response(200, self._described(caller), _PRIVATE)
        if request.method != "POST":
            return answer
        if before:
            await self._kept.end(digest_of_session(before))
        secret = secrets.token_urlsafe(_SECRET)
        await self._kept.issue(seal_session(secret, caller))
        return evolve(answer, headers=(*answer.headers, ("set-cookie", self._cookie(request, secret))))

    def _described(self, caller: Authentication) -> dict[str, object]:
        return {
            "principal": caller.identity.principal,
            "capabilities": sorted(caller.identity.capabilities),
            "expiresIn": int(self._kept.bounds.seconds),
            "agent": dict(self._agent),
        }

    def _cookie(self, request: Request, secret: str) -> str:
        prefix, seconds = self._prefix_of(request), self._kept.bounds.seconds
        return console.cookie_of(request, self._origins, prefix, secret, seconds)

    def _prefix_of(self, request: Request) -> str:
        return self._prefix or request.source.prefix
