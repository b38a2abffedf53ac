"""Authenticates requests with a set of credentials that can be replaced while the server runs.

Knows no ASGI. Streams register here, so that one ends as soon as its caller's credential proves nothing any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from attrs import field, frozen

from sansio.a2a.bindings.http_messages import Request
from sansio.a2a.errors import ErrorKind, ProtocolError
from sansio.access import Authentication, CredentialSet, Scheme


@frozen(eq=False)
class _OpenStream:
    """A stream that is read, and the function that ends it."""

    authentication: Authentication
    end: Callable[[], None] = field(repr=False)


class Authenticator:
    """The methods of authentication of a server. `realm`: names what is protected."""

    def __init__(self, credentials: CredentialSet, *, realm: str = "a2a") -> None:
        self._credentials = credentials
        self._realm = realm
        self._streams: set[_OpenStream] = set()

    @property
    def schemes(self) -> tuple[Scheme, ...]:
        """The schemes that a request can authenticate with now."""
        return self._credentials.schemes

    def presents(self, request: Request) -> bool:
        """Return whether a request brings a credential of any kind, valid or not."""
        return "authorization" in request.headers

    async def authenticate(self, request: Request) -> Authentication:
        """Return who calls. Raises `ProtocolError` (UNAUTHENTICATED)."""
        found = self._credentials.prove(request.headers.get("authorization"))
        if found is None:
            raise ProtocolError(ErrorKind.UNAUTHENTICATED)
        return found

    def challenge(self, request: Request) -> str:
        """Return the value of `WWW-Authenticate` for a request that was refused."""
        return self._credentials.challenge(self._realm)

    def replace(self, credentials: CredentialSet) -> None:
        """Use other credentials from now on, and end the streams of callers whom they do not know."""
        self._credentials = credentials
        self._end_where(lambda authentication: not self._is_valid(authentication))

    @contextmanager
    def stream(self, authentication: Authentication, end: Callable[[], None]) -> Iterator[None]:
        """Call `end` as soon as the caller's credential proves nothing any more; at once where that is so already."""
        opened = _OpenStream(authentication, end)
        self._streams.add(opened)
        if not self._is_valid(authentication):
            end()
        try:
            yield
        finally:
            self._streams.discard(opened)

    def _is_valid(self, authentication: Authentication) -> bool:
        return self._credentials.still_proves(authentication)

    def _end_where(self, matches: Callable[[Authentication], bool]) -> None:
        for opened in [stream for stream in self._streams if matches(stream.authentication)]:
            opened.end()
