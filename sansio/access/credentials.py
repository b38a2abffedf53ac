"""Static credentials: the principal behind a request's `Authorization` header, and the challenge for a refused
caller.

Pure: knows neither where the configuration comes from nor how a refusal is sent. What proves a caller is
compared as digests only, and never shown.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from typing import Final, Literal

from attrs import Factory, field, frozen

from sansio.redact import Secret

Scheme = Literal["bearer", "basic"]

NEEDS: Final[Mapping[Scheme, tuple[str, ...]]] = {
    "bearer": ("token", "principal"),
    "basic": ("username", "password"),
}
"""The schemes there are, and the members that an entry of each has."""


@frozen(kw_only=True)
class Identity:
    """Identity of a caller: the principal, the credential, and its capabilities."""

    principal: str
    credential_id: str | None
    capabilities: frozenset[str]


@frozen(kw_only=True)
class Authentication:
    """A caller's identity with what proved it.

    `proof`: a digest of the credential. `expires`: epoch seconds from which on it proves nothing; None: never.
    """

    identity: Identity
    proof: bytes = field(repr=False)
    expires: float | None = None


@frozen(kw_only=True)
class Credential:
    """One way to prove who one is. Make it with `bearer` or `basic`."""

    scheme: Scheme
    principal: str
    credential_id: str | None = None
    capabilities: frozenset[str] = frozenset()
    enabled: bool = True
    token: Secret | None = field(default=None, repr=False)
    username: str | None = field(default=None, repr=False)
    password: Secret | None = field(default=None, repr=False)

    @classmethod
    def bearer(
        cls,
        token: str,
        *,
        principal: str,
        credential_id: str | None = None,
        capabilities: Iterable[str] = (),
        enabled: bool = True,
    ) -> Credential:
        return cls(
            scheme="bearer",
            principal=principal,
            credential_id=credential_id,
            capabilities=frozenset(capabilities),
            enabled=enabled,
            token=Secret(token),
        )

    @classmethod
    def basic(
        cls,
        username: str,
        password: str,
        *,
        credential_id: str | None = None,
        capabilities: Iterable[str] = (),
        enabled: bool = True,
    ) -> Credential:
        """Make a basic credential. Its principal is its username."""
        return cls(
            scheme="basic",
            principal=username,
            credential_id=credential_id,
            capabilities=frozenset(capabilities),
            enabled=enabled,
            username=username,
            password=Secret(password),
        )

    @property
    def identity(self) -> Identity:
        return Identity(principal=self.principal, credential_id=self.credential_id, capabilities=self.capabilities)

    @property
    def digest(self) -> bytes:
        """The digest that a header's digest must equal."""
        secret = self.token if self.scheme == "bearer" else self.password
        user = "" if self.scheme == "bearer" else f"{self.username}:"
        proof = user + (secret.reveal() if secret else "")
        return _digest(self.scheme, proof.encode("utf-8", "surrogatepass"))

    def __attrs_post_init__(self) -> None:
        secret = self.token if self.scheme == "bearer" else self.password
        if secret is None or not secret.reveal() or (self.scheme == "basic" and not self.username):
            raise ValueError(f"a {self.scheme} credential needs {' and '.join(NEEDS[self.scheme])}")


def _digest(scheme: Scheme, proof: bytes) -> bytes:
    return hashlib.sha256(scheme.encode() + b" " + proof).digest()


@frozen
class CredentialSet:
    """The credentials of a server. False when there are none at all."""

    credentials: tuple[Credential, ...] = ()
    _expected: tuple[tuple[bytes, Identity], ...] = field(
        init=False,
        repr=False,
        eq=False,
        default=Factory(
            lambda self: tuple((c.digest, c.identity) for c in self.credentials if c.enabled), takes_self=True
        ),
    )

    def __bool__(self) -> bool:
        return bool(self.credentials)

    @property
    def schemes(self) -> tuple[Scheme, ...]:
        """The schemes some enabled credential can be presented with, bearer first."""
        enabled = {credential.scheme for credential in self.credentials if credential.enabled}
        return tuple(scheme for scheme in NEEDS if scheme in enabled)

    @property
    def principals(self) -> frozenset[str]:
        """The principals of all credentials, enabled or not: one that is disabled may own sessions, too."""
        return frozenset(credential.principal for credential in self.credentials)

    def authenticate(self, authorization: str | None) -> Identity | None:
        """Return the identity that an `Authorization` header proves, or `None`. Never raises."""
        found = self.prove(authorization)
        return None if found is None else found.identity

    def prove(self, authorization: str | None) -> Authentication | None:
        """Return what an `Authorization` header proves, or `None`. Never raises.

        Every credential is compared, found or not: the time taken shows neither which one matched nor how nearly
        another did.
        """
        presented = _presented(authorization or "")
        found: Authentication | None = None
        for expected, identity in self._expected:
            for digest in presented:
                if hmac.compare_digest(digest, expected):
                    found = Authentication(identity=identity, proof=expected)
        return found

    def still_proves(self, authentication: Authentication) -> bool:
        """Return whether the credential of an earlier request would prove the same identity now."""
        return any(
            hmac.compare_digest(authentication.proof, expected) and identity == authentication.identity
            for expected, identity in self._expected
        )

    def challenge(self, realm: str) -> str:
        """Return the value of `WWW-Authenticate`: what a refused caller may try (RFC 9110, section 11.6.1).

        `realm`: names what is protected, to a person who is asked for a password.
        """
        offers: dict[Scheme, str] = {"bearer": "Bearer", "basic": f'Basic realm="{realm}"'}
        return ", ".join(offers[scheme] for scheme in self.schemes or ("bearer",))


def _presented(authorization: str) -> tuple[bytes, ...]:
    """Return the digests a header may stand for; none for what is no credential of a scheme we know."""
    # Only what HTTP calls white space: in a header decoded as latin-1, U+00A0 can be half of a UTF-8 letter.
    word, _, value = authorization.strip(" \t").replace("\t", " ", 1).partition(" ")
    value = value.strip(" \t")
    match word.lower():
        case "bearer" if value:
            return tuple(_digest("bearer", proof) for proof in _as_bytes(value))
        case "basic":
            try:
                return (_digest("basic", base64.b64decode(value.encode("ascii"), validate=True)),)
            except (binascii.Error, UnicodeEncodeError):
                return ()
        case _:
            return ()


def _as_bytes(value: str) -> set[bytes]:
    """Return a header's bytes (latin-1, as HTTP has it), and its letters in UTF-8: clients send either."""
    readings = {value.encode("utf-8", "surrogatepass")}
    with contextlib.suppress(UnicodeEncodeError):
        readings.add(value.encode("latin-1"))
    return readings
