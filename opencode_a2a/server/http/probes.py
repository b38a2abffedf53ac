"""Answers the probes of an orchestrator: whether the server lives, and whether it can take work now.

Anybody may ask, under any host name: a probe has no credentials and knows an address alone. The reasons are for
callers who prove who they are. Knows nothing of what makes an agent ready.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence

import anyio
from attrs import evolve, frozen

from opencode_a2a.server.http.documents import only
from opencode_a2a.server.http.stream_frames import Frames
from opencode_a2a.server.identity.rate_guard import RateGuard
from sansio import http
from sansio.a2a.bindings import sse
from sansio.a2a.bindings.http_messages import Request, Response, json_response
from sansio.a2a.media_types import EVENT_STREAM
from sansio.doctor.server import PROBE_EVENTS, PROBE_PAUSE

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


def asks_for_stream(request: Request) -> bool:
    """Whether a GET asks for a stream of `/livez`, by which a proxy that buffers streams is found."""
    return (
        request.method == "GET"
        and request.path == http.LIVE_PATH
        and EVENT_STREAM in request.headers.get("accept", "")
    )


async def probe_stream() -> AsyncGenerator[Frames]:
    """Yield a few small events, with pauses: half a second, and nothing of the server is in them."""
    for number in range(1, PROBE_EVENTS + 1):
        yield Frames(sse.encode(b"{}", id=str(number)), last=number == PROBE_EVENTS)
        if number < PROBE_EVENTS:
            await anyio.sleep(PROBE_PAUSE)
