"""Authenticates bearer tokens of an identity provider: its keys, and the signatures that they verify.

Imported only where an issuer is set: it needs the extra `oidc`. What a token has to say is decided in
`sansio.access.oidc`, and when keys are fetched in `sansio.access.key_schedule`.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import anyio
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from opencode_a2a.server.identity.issuer_client import IssuerClient, IssuerUnavailableError
from sansio.a2a.errors import ErrorKind, ProtocolError
from sansio.access import Authentication
from sansio.access.key_schedule import RETRY, KeySchedule
from sansio.access.oidc import (
    OidcPolicy,
    TokenHeader,
    TokenRefusedError,
    authentication_of,
    is_jwt,
    read_discovery,
    read_keys,
    read_token,
    suitable_keys,
)

_log = logging.getLogger(__name__)

LOOK_EVERY: Final = 30.0
"""Seconds between two looks at the age of the keys."""

SMALLEST_RSA: Final = 2048
"""Bits (RFC 7518, section 3.3)."""

_LARGEST_RSA: Final = 8192  # a larger one takes long to verify with
_MOST_TRIED: Final = 4  # keys that may have signed a token which names none
_KINDS: Final[Mapping[str, type[RSAKey] | type[ECKey] | type[OKPKey]]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}


class OidcIssuer:
    """The issuer of tokens under `policy`. `wall`: epoch seconds."""

    def __init__(self, policy: OidcPolicy, client: IssuerClient, wall: Callable[[], float]) -> None:
        self._policy = policy
        self._client = client
        self._wall = wall
        self._keys: Sequence[Mapping[str, Any]] = ()
        self._schedule = KeySchedule()
        self._fetching = anyio.Lock()

    def may_have_issued(self, token: str) -> bool:
        """Return whether a token is a JWT; its signature is not checked."""
        return is_jwt(token)

    async def authenticate(self, token: str) -> Authentication | None:
        """Return who a token is of; `None`: it is no JWT.

        Raises `ProtocolError`: UNAUTHENTICATED, AUTHENTICATION_UNAVAILABLE where there are no keys to check it with.
        """
        if not is_jwt(token):
            return None
        try:
            header = read_token(token, self._policy)
            payload = self._verified(token, header, await self._suitable(header))
            return authentication_of(payload, token, self._policy, self._wall())
        except TokenRefusedError as refused:
            raise ProtocolError(ErrorKind.UNAUTHENTICATED, str(refused)) from None

    async def watch(self) -> None:
        """Fetch the keys now, and again as they age, for ever."""
        while True:
            if self._schedule.is_stale(anyio.current_time()):
                await self._fetch()
            await anyio.sleep(LOOK_EVERY if self._schedule.has_keys(anyio.current_time()) else RETRY)

    async def _suitable(self, header: TokenHeader) -> list[Mapping[str, Any]]:
        """Return the keys that may have signed a token; fetch them again where there is none, now and then."""
        found = suitable_keys(self._keys, header) if self._schedule.has_keys(anyio.current_time()) else []
        if not found and self._schedule.may_look_for_key(anyio.current_time()):
            await self._fetch()
        elif not found and self._fetching.locked():
            async with self._fetching:  # what is fetched just now may have it
                pass
        if not self._schedule.has_keys(anyio.current_time()):
            raise ProtocolError(ErrorKind.AUTHENTICATION_UNAVAILABLE, metadata={"retryAfterSeconds": str(int(RETRY))})
        return found or suitable_keys(self._keys, header)

    def _verified(self, token: str, header: TokenHeader, keys: Sequence[Mapping[str, Any]]) -> bytes:
        """Return the payload of a token that one of the keys has signed. Raises `TokenRefusedError`."""
        if not keys:
            raise TokenRefusedError("The token is signed with a key that the issuer does not publish")
        for key in keys[:_MOST_TRIED]:
            try:
                public = _KINDS[key["kty"]].import_key(dict(key))
                if isinstance(public, RSAKey) and not SMALLEST_RSA <= public.raw_value.key_size <= _LARGEST_RSA:
                    continue
                with warnings.catch_warnings():
                    # RFC 9864 has another name for it, which few providers write yet
                    warnings.filterwarnings("ignore", message="EdDSA is deprecated")
                    return jws.deserialize_compact(token, public, algorithms=[header.alg]).payload
            except (JoseError, ValueError, TypeError, KeyError):
                continue
        raise TokenRefusedError("The signature of the token is not valid")

    async def _fetch(self) -> None:
        """Fetch the keys, unless that was just done. A failure is logged, and the old keys stay."""
        async with self._fetching:
            now = anyio.current_time()
            if not (self._schedule.may_look_for_key(now) or self._schedule.is_stale(now)):
                return
            self._schedule.attempted = now
            try:
                url = read_discovery(await self._client.get(self._policy.discovery_url), self._policy)
                self._keys = read_keys(await self._client.get(url))
            except (IssuerUnavailableError, ValueError) as error:
                _log.warning("the keys of the issuer %s were not fetched: %s", self._policy.issuer, error)
                return
            except Exception as error:
                # whatever its answer leads to: the server goes on, and the old keys stay
                _log.error("the keys of the issuer %s were not fetched", self._policy.issuer, exc_info=error)
                return
            self._schedule.fetched = now
            _log.info("%d keys of the issuer %s are known", len(self._keys), self._policy.issuer)
