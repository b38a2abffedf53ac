"""Applies the rate limits to requests: before, and after, their callers are authenticated.

Knows the clock; `sansio.guards.rate_limits` decides.
"""

from __future__ import annotations

import anyio
from attrs import frozen

from opencode_a2a.server.identity.authenticator import Authenticator
from sansio.a2a.bindings.http_messages import Request
from sansio.a2a.errors import ErrorKind, ProtocolError
from sansio.access import Authentication
from sansio.guards.proxies import rate_group
from sansio.guards.rate_limits import Quota, RequestRates


@frozen
class RateGuard:
    """Authentication of requests within rate limits. `rates`: None where there are none."""

    authenticator: Authenticator
    rates: RequestRates | None = None

    def presents(self, request: Request) -> bool:
        """Return whether a request brings a credential of any kind, valid or not."""
        return self.authenticator.presents(request)

    def read(self, request: Request) -> None:
        """Count a request for what everybody may read. Raises `ProtocolError` (RATE_LIMITED)."""
        if self.rates is not None:
            _apply(self.rates.read(rate_group(request.source), anyio.current_time()), request)

    def admit(self, known: Authentication, request: Request) -> None:
        """Count a request on a connection whose caller is known. Raises `ProtocolError` (RATE_LIMITED)."""
        if self.rates is not None:
            _apply(self.rates.passed(known.identity, anyio.current_time()), request)

    async def authenticate(self, request: Request) -> Authentication:
        """Return who calls. Raises `ProtocolError`: UNAUTHENTICATED, RATE_LIMITED."""
        rates = self.rates
        if rates is None:
            return await self.authenticator.authenticate(request)
        authorization = self.authenticator.presented(request)
        guess = rates.guess(rate_group(request.source), authorization, anyio.current_time())
        if guess.quota is not None and not guess.quota.allowed:
            if (known := self.authenticator.recognise(request)) is not None:
                _apply(rates.passed(known.identity, anyio.current_time()), request)
                return known
            if not self.authenticator.presents_signature(request):
                _apply(guess.quota, request)
            guess = rates.signed(guess, anyio.current_time())
            if guess.quota is not None:
                _apply(guess.quota, request)
        try:
            found = await self.authenticator.authenticate(request)
        except BaseException as error:
            if isinstance(error, ProtocolError) and error.kind is ErrorKind.UNAUTHENTICATED:
                _apply(rates.failed(guess, anyio.current_time()), request)
            else:
                rates.forget(guess, anyio.current_time())
            raise
        _apply(rates.proved(guess, authorization, found.identity, anyio.current_time()), request)
        return found


def _apply(quota: Quota | None, request: Request) -> None:
    """Show the quota in the answer. Raises `ProtocolError` (RATE_LIMITED) where it is used up."""
    request.rate_headers = () if quota is None else quota.headers
    if quota is not None:
        quota.check()
