"""Authenticates requests: by bearer tokens, logins and API keys, whichever a request presents.

Knows no ASGI. The credentials can be replaced while the server runs. Streams register here, so that one ends as soon
as its caller's credential proves nothing any more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol

import anyio
from attrs import field, frozen

from opencode_a2a.server.identity.password_checks import PasswordChecks
from sansio.a2a.bindings.http_messages import Request
from sansio.a2a.errors import ErrorKind, ProtocolError
from sansio.access import Authentication, CredentialSet
from sansio.access.challenges import challenge
from sansio.access.client_certificates import authentication_of
from sansio.access.credentials import bearer_token, scheme_of
from sansio.access.sessions import unseal_session
from sansio.access.tickets import SealedTicket, unseal

_SESSION: Final = "session"

API_KEY_HEADER: Final = "X-API-Key"

EXPIRY_EVERY: Final = 1.0
"""Seconds between two looks for streams whose token has expired."""


class TokenIssuer(Protocol):
    """Whoever else issues bearer tokens."""

    def may_have_issued(self, token: str) -> bool:
        """Return whether a token has the form of this issuer's. Its signature is not checked."""

    async def authenticate(self, token: str) -> Authentication | None:
        """Return who a token is of; `None`: it is none of this issuer's. Raises `ProtocolError` for a bad one."""


class Sessions(Protocol):
    """Whatever keeps the sessions of those who have logged in to a page of this server."""

    def presented(self, request: Request) -> str:
        """Return the secret of the session that a request brings; empty where none counts."""

    async def find(self, secret: str) -> SealedTicket | None:
        """Return a session as it is kept; None where it has ended. Raises `ProtocolError` where nobody can say."""


@frozen(eq=False)
class _OpenStream:
    """A stream that is read, and the function that ends it."""

    authentication: Authentication
    end: Callable[[], None] = field(repr=False)


class Authenticator:
    """The methods of authentication of a server.

    `realm`: names what is protected. `api_key_header`: the header that API keys are read from. `certificate_header`:
    the one by which a trusted proxy names the client's certificate; empty: none does. `wall`: epoch seconds.
    """

    def __init__(
        self,
        credentials: CredentialSet,
        *,
        realm: str = "a2a",
        api_key_header: str = API_KEY_HEADER,
        certificate_header: str = "",
        issuer: TokenIssuer | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.changed: Callable[[], None] = lambda: None
        """Called where other schemes are on than before."""
        self.sessions: Sessions | None = None
        """The sessions that count where a request brings no credential; None: there are none."""
        self.api_key_header = api_key_header
        self._certificate_header = certificate_header
        self._realm = realm
        self._issuer = issuer
        self._wall = wall
        self._passwords = PasswordChecks()
        self._streams: set[_OpenStream] = set()
        self.schemes: tuple[str, ...]
        """The schemes that a request can authenticate with now: of `bearer`, `basic`, `api_key`, `oidc`, `mtls`."""
        self.headers: tuple[str, ...]
        """The headers that credentials are read from."""
        self._use(credentials)

    def _use(self, credentials: CredentialSet) -> None:
        self._credentials = credentials
        others = {"oidc": self._issuer is not None, "mtls": bool(self._certificate_header)}
        self.schemes = (*credentials.schemes, *(scheme for scheme, is_on in others.items() if is_on))
        keys = (self.api_key_header,) if "api_key" in self.schemes else ()
        self.headers = ("Authorization", *keys, *filter(None, (self._certificate_header,)))

    @property
    def varies(self) -> tuple[str, ...]:
        """The headers that what a caller may see depends on."""
        return self.headers if self.sessions is None else (*self.headers, "Cookie")

    def presents(self, request: Request) -> bool:
        """Return whether a request brings a credential of any kind, valid or not."""
        return bool(self.presented(request))

    def presented(self, request: Request) -> str | None:
        """Return the value of the header that decides who calls; `None` where nothing is presented."""
        return self._decisive(request)[1] or None

    async def authenticate(self, request: Request) -> Authentication:
        """Return who calls. Raises `ProtocolError`: UNAUTHENTICATED, OVERLOADED, and what an issuer raises.

        An `Authorization` header goes before an API key, that before a certificate, and that before a session. One
        whose scheme is not on counts only where there is nothing else: it may be meant for a proxy.
        """
        scheme, value = self._decisive(request)
        found = self._at_once(scheme, value)
        if found is None:
            found = await self._slowly(scheme, value)
        if found is None:
            raise ProtocolError(ErrorKind.UNAUTHENTICATED)
        return found

    def recognise(self, request: Request) -> Authentication | None:
        """Return who calls where that takes some hashes alone, by a secret that nobody guesses; `None` otherwise.

        So are long tokens and keys known, and certificates that a trusted proxy names.
        """
        found = self._at_once(*self._decisive(request))
        return None if found is None or self._credentials.is_guessable(found) else found

    def unseal(self, secret: str, ticket: SealedTicket) -> Authentication | None:
        """Return whom a ticket stands for; `None` where the credential that it was got with proves nothing now."""
        return unseal(secret, ticket, self._credentials, self._wall())

    def presents_session(self, request: Request) -> bool:
        """Return whether it is a session that a request is to be known by."""
        return self._decisive(request)[0] == _SESSION

    def presents_signature(self, request: Request) -> bool:
        """Return whether a request is to be known by a token that has a signature."""
        scheme, value = self._decisive(request)
        token = None if scheme else bearer_token(value)
        return token is not None and self._issuer is not None and self._issuer.may_have_issued(token)

    def challenge(self, request: Request) -> str:
        """Return the value of `WWW-Authenticate` for a request that was refused."""
        is_token = bearer_token(request.headers.get("authorization", "")) is not None
        return challenge(self.schemes, self._realm, api_key_header=self.api_key_header, refused_token=is_token)

    def replace(self, credentials: CredentialSet) -> None:
        """Use other credentials from now on, and end the streams of callers whom they do not know."""
        before = self.schemes
        self._use(credentials)
        self._end_streams()
        if self.schemes != before:
            self.changed()

    async def watch(self) -> None:
        """End streams as their tokens expire, for ever."""
        while True:
            await anyio.sleep(EXPIRY_EVERY)
            self._end_streams()

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

    def _decisive(self, request: Request) -> tuple[str, str]:
        """Return the value of the header that decides who calls, with its scheme; empty for `Authorization`."""
        authorization = request.headers.get("authorization", "")
        if not self._reads(authorization):
            if key := request.headers.get(self.api_key_header.lower(), ""):
                return "api_key", key
            if certificate := self._certificate(request):
                return "mtls", certificate
            if self.sessions is not None and (secret := self.sessions.presented(request)):
                return _SESSION, secret
        return "", authorization

    def _certificate(self, request: Request) -> str:
        """Return the name of the client's certificate; empty where no trusted proxy gives it."""
        is_passed_on = self._certificate_header and request.source.is_by_proxy
        return request.headers.get(self._certificate_header.lower(), "") if is_passed_on else ""

    def _reads(self, authorization: str) -> bool:
        scheme = scheme_of(authorization)
        return scheme in self.schemes or (scheme == "bearer" and self._issuer is not None)

    def _at_once(self, scheme: str, value: str) -> Authentication | None:
        """Return what digests of secrets prove, or the word of a proxy."""
        if scheme == "mtls":
            return authentication_of(self._certificate_header, value)
        if scheme == _SESSION:
            return None
        return self._credentials.prove_key(value) if scheme else self._credentials.prove(value)

    async def _slowly(self, scheme: str, value: str) -> Authentication | None:
        """Return what a session, a signature or a hashed password proves."""
        if scheme == _SESSION and self.sessions is not None:
            kept = await self.sessions.find(value)
            return None if kept is None else unseal_session(value, kept, self._credentials, self._wall())
        return None if scheme else await self._by_authorization(value)

    async def _by_authorization(self, authorization: str) -> Authentication | None:
        found = None
        if self._issuer is not None and (token := bearer_token(authorization)) is not None:
            found = await self._issuer.authenticate(token)
        if found is None:
            found = await self._passwords.prove(self._credentials, authorization)
        return found

    def _is_valid(self, authentication: Authentication) -> bool:
        if authentication.expires is not None:
            return self._wall() < authentication.expires
        return self._credentials.named(authentication.proof) == authentication

    def _end_streams(self) -> None:
        for opened in [stream for stream in self._streams if not self._is_valid(stream.authentication)]:
            opened.end()
