"""Answers the probes of an orchestrator: whether the server lives, and whether it can take work now.

Anybody may ask, under any host name: a probe has no credentials and knows an address alone. The reasons are for
callers who prove who they are. Knows nothing of what makes an agent ready.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import evolve, frozen

from opencode_a2a.server.http.documents import only
from opencode_a2a.server.identity.rate_guard import RateGuard
from sansio import http
from sansio.a2a.bindings.http_messages import Request, Response, json_response

OK, NOT_READY = "ok", "not ready"


@frozen
class Probes:
    """`unready`: returns the types of the reasons why the server can take no work now; none if it can."""

    authenticator: RateGuard
    unready: Callable[[], Sequence[str]]

    async def answer(self, request: Request) -> Response:
        """Answer `/livez` with 200, and `/readyz` with 200 or 503.

        `reasons` are there for callers with a credential. Raises `ProtocolError`: METHOD_NOT_ALLOWED, UNAUTHENTICATED
        for credentials that are wrong.
        """
        only(request, "GET", "HEAD")
        body: dict[str, object] = {"status": OK}
        status = 200
        if request.path == http.READY_PATH:
            reasons = self.unready()
            if reasons:
                status, body = 503, {"status": NOT_READY}
            if self.authenticator.presents(request):
                caller = await self.authenticator.authenticate(request)
                request.outcome.principal = caller.identity.principal
                body["reasons"] = list(reasons)
        answer = json_response(status, body)
        return evolve(answer, headers=(*answer.headers, ("cache-control", "no-store")))
