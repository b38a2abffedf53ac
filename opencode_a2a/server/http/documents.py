"""Serves documents, with headers for caches: cards, keys, the description of the HTTP surface.

Knows no operation; who may read what is decided by the caller, but for a document that everybody may read in part.
"""

from __future__ import annotations

from email.utils import formatdate
from typing import Protocol

from attrs import evolve, frozen

from opencode_a2a.server.identity.rate_guard import RateGuard
from sansio.a2a.bindings.http_messages import Request, Response
from sansio.a2a.cards.agent_card import CardDocument, matches
from sansio.a2a.errors import ErrorKind, ProtocolError, shortened
from sansio.a2a.media_types import JSON
from sansio.access import Identity


class Published(Protocol):
    """The documents that a running server publishes."""

    @property
    def public(self) -> CardDocument: ...

    @property
    def keys(self) -> CardDocument | None: ...

    @property
    def openapi(self) -> CardDocument | None: ...

    @property
    def complete_openapi(self) -> CardDocument | None: ...

    def extended(self, identity: Identity, version: str) -> CardDocument: ...


@frozen
class Documents:
    """`since`: when what they say became true, in epoch seconds."""

    authenticator: RateGuard
    since: float

    def public(self, request: Request, document: CardDocument | None) -> Response:
        """Serve a document that everybody may read.

        Raises `ProtocolError`: METHOD_NOT_ALLOWED, NOT_FOUND where there is none.
        """
        only(request, "GET", "HEAD")
        if document is None:
            raise ProtocolError(ErrorKind.NOT_FOUND, "This agent signs nothing")
        return self._answer(request, document, "public, max-age=300")

    async def described(self, request: Request, cards: Published) -> Response:
        """The description of the surface: complete for those who prove who they are, else in part.

        Raises `ProtocolError`: METHOD_NOT_ALLOWED, UNAUTHENTICATED for credentials that are wrong, NOT_FOUND where
        there is none.
        """
        only(request, "GET", "HEAD")
        document = cards.openapi
        if self.authenticator.presents(request):
            await self.authenticator.authenticate(request)
            document = cards.complete_openapi
        if document is None:
            raise ProtocolError(ErrorKind.NOT_FOUND, "This agent publishes no description of its HTTP surface")
        return self.private(request, document)

    def private(self, request: Request, document: CardDocument) -> Response:
        """Serve a document that depends on its reader."""
        answer = self._answer(request, document, "private, max-age=300")
        return evolve(answer, headers=(*answer.headers, ("vary", ", ".join(self.authenticator.authenticator.varies))))

    def _answer(self, request: Request, document: CardDocument, cached: str) -> Response:
        changed = ("last-modified", formatdate(self.since, usegmt=True))
        return conditional(request, document, ("content-type", JSON), ("cache-control", cached), changed)


def conditional(request: Request, document: CardDocument, *headers: tuple[str, str]) -> Response:
    """Answer with a document, or with 304 where the client has it."""
    status = 304 if matches(request.headers.get("if-none-match"), document.etag) else 200
    return Response(status, document.body, (*headers, ("etag", document.etag)))


def only(request: Request, *methods: str) -> None:
    """Refuse other methods than these. Raises `ProtocolError` (METHOD_NOT_ALLOWED)."""
    if request.method not in methods:
        raise ProtocolError(
            ErrorKind.METHOD_NOT_ALLOWED,
            f"Method {shortened(request.method)} is not allowed here",
            metadata={"allow": ", ".join(methods)},
        )
