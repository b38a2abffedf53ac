"""Static credentials: bearer tokens, API keys and logins, and the principal behind a request that presents one.

Pure: knows neither where the configuration comes from nor how a refusal is sent. What proves a caller is
compared as digests only, and never shown.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
from collections.abc import Iterable
from typing import Final, Literal, TypedDict

from attrs import Factory, field, frozen

from sansio.access.passwords import PasswordHash
from sansio.redact import Secret

Scheme = Literal["bearer", "basic", "api_key"]

SCHEMES: Final[tuple[Scheme, ...]] = ("bearer", "basic", "api_key")

SHORTEST_SECRET: Final = 16
"""Characters of a token or a password that take too long to guess, if they are random."""


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
    """One way to prove who one is. Make it with `bearer`, `api_key` or `basic`.

    `token`: a bearer token or an API key. A hash can stand in the place of each secret: `token_sha256` for a token of
    much randomness, `password_hash` for a password.
    """

    scheme: Scheme
    principal: str
    credential_id: str | None = None
    capabilities: frozenset[str] = frozenset()
    enabled: bool = True
    token: Secret | None = field(default=None, repr=False)
    token_sha256: bytes | None = field(default=None, repr=False)
    username: str | None = field(default=None, repr=False)
    password: Secret | None = field(default=None, repr=False)
    password_hash: PasswordHash | None = field(default=None, repr=False)

    @classmethod
    def bearer(
        cls,
        token: str | bytes,
        *,
        principal: str,
        credential_id: str | None = None,
        capabilities: Iterable[str] = (),
        enabled: bool = True,
    ) -> Credential:
        """Make a credential of a token, or of its SHA-256 as bytes."""
        return cls(
            scheme="bearer",
            principal=principal,
            credential_id=credential_id,
            capabilities=frozenset(capabilities),
            enabled=enabled,
            **_either(token),
        )

    @classmethod
    def api_key(
        cls,
        key: str | bytes,
        *,
        principal: str,
        credential_id: str | None = None,
        capabilities: Iterable[str] = (),
        enabled: bool = True,
    ) -> Credential:
        """Make a credential of an API key, or of its SHA-256 as bytes."""
        return cls(
            scheme="api_key",
            principal=principal,
            credential_id=credential_id,
            capabilities=frozenset(capabilities),
            enabled=enabled,
            **_either(key),
        )

    @classmethod
    def basic(
        cls,
        username: str,
        password: str | PasswordHash,
        *,
        credential_id: str | None = None,
        capabilities: Iterable[str] = (),
        enabled: bool = True,
    ) -> Credential:
        """Make a basic credential of a password, or of its hash. Its principal is its username."""
        return cls(
            scheme="basic",
            principal=username,
            credential_id=credential_id,
            capabilities=frozenset(capabilities),
            enabled=enabled,
            username=username,
            password=Secret(password) if isinstance(password, str) else None,
            password_hash=None if isinstance(password, str) else password,
        )

    @property
    def identity(self) -> Identity:
        return Identity(principal=self.principal, credential_id=self.credential_id, capabilities=self.capabilities)

    @property
    def digest(self) -> bytes:
        """The digest that a header's digest must equal. For a hashed password, it only names the credential."""
        if self.token_sha256 is not None:
            return _digest(self.scheme, self.token_sha256)
        if self.password_hash is not None:
            return _digest("scrypt", _encoded(f"{self.username}:{self.password_hash.text}"))
        secret = self.token if self.password is None else self.password
        user = f"{self.username}:" if self.scheme == "basic" else ""
        return _digest(self.scheme, _sha256(_encoded(user + (secret.reveal() if secret else ""))))

    @property
    def is_guessable(self) -> bool:
        """Whether it may be guessed: a password, or a short token. What a hash is of counts as long."""
        if self.scheme == "basic":
            return True
        return self.token is not None and len(self.token.reveal()) < SHORTEST_SECRET

    def __attrs_post_init__(self) -> None:
        secret = self.password if self.scheme == "basic" else self.token
        hashed = self.password_hash if self.scheme == "basic" else self.token_sha256
        if (secret is None or not secret.reveal()) and hashed is None:
            raise ValueError(f"a {self.scheme} credential needs a secret")
        if self.scheme == "basic" and not self.username:
            raise ValueError("a basic credential needs a username")


class _Either(TypedDict):
    token: Secret | None
    token_sha256: bytes | None


def _either(token: str | bytes) -> _Either:
    if isinstance(token, str):
        return {"token": Secret(token), "token_sha256": None}
    if len(token) != hashlib.sha256().digest_size:
        raise ValueError("a SHA-256 has 32 bytes")
    return {"token": None, "token_sha256": token}


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _sha256(value: bytes) -> bytes:
    return hashlib.sha256(value).digest()


def _digest(scheme: str, hashed: bytes) -> bytes:
    return _sha256(scheme.encode() + b" " + hashed)


@frozen
class Login:
    """A user name and a password as a request presents them, with the hashed credentials to check them against."""

    text: bytes = field(repr=False)
    candidates: tuple[Credential, ...]

    def proof(self) -> bytes | None:
        """Return the digest of the credential that the password is of, or `None`. It takes long.

        A user name that nobody has takes as long as another.
        """
        username, _, password = self.text.partition(b":")
        own = [one for one in self.candidates if _encoded(one.username or "") == username]
        for one in own or self.candidates[:1]:
            if one.password_hash is not None and one.password_hash.matches(password) and own:
                return one.digest
        return None


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

    _guessable: frozenset[bytes] = field(
        init=False,
        repr=False,
        eq=False,
        default=Factory(
            lambda self: frozenset(c.digest for c in self.credentials if c.is_guessable), takes_self=True
        ),
    )

    schemes: tuple[Scheme, ...] = field(init=False, repr=False, eq=False)
    """The schemes some enabled credential can be presented with, bearer first."""

    @schemes.default
    def _make_schemes(self) -> tuple[Scheme, ...]:
        enabled = {credential.scheme for credential in self.credentials if credential.enabled}
        return tuple(scheme for scheme in SCHEMES if scheme in enabled)

    def __bool__(self) -> bool:
        return bool(self.credentials)

    @property
    def principals(self) -> frozenset[str]:
        """The principals of all credentials, enabled or not: one that is disabled may own sessions, too."""
        return frozenset(credential.principal for credential in self.credentials)

    def authenticate(self, authorization: str | None) -> Identity | None:
        """Return the identity that an `Authorization` header proves, or `None`. Never raises.

        A password that is stored as a hash is not among what is compared here.
        """
        found = self.prove(authorization)
        return None if found is None else found.identity

    def prove(self, authorization: str | None) -> Authentication | None:
        """Return what an `Authorization` header proves, or `None`; see `authenticate`."""
        return self._found(_presented(authorization or ""))

    def prove_key(self, key: str) -> Authentication | None:
        """Return what an API key proves, or `None`. Never raises."""
        return self._found(_digest("api_key", _sha256(reading)) for reading in _as_bytes(key.strip(" \t")))

    def login(self, authorization: str) -> Login | None:
        """Return the login in a header, to be checked against hashed passwords; `None` where there are none."""
        hashed = tuple(one for one in self.credentials if one.enabled and one.password_hash is not None)
        text = _login(authorization)
        return Login(text, hashed) if hashed and text is not None else None

    def named(self, proof: bytes) -> Authentication | None:
        """Return what the enabled credential of this digest proves, or `None`."""
        return self._found((proof,))

    def tagged(self, key: bytes, tag: bytes) -> Authentication | None:
        """Return what the enabled credential proves whose digest has this HMAC-SHA256 under `key`, or `None`."""
        found: Authentication | None = None
        for expected, identity in self._expected:
            if hmac.compare_digest(hmac.digest(key, expected, "sha256"), tag):
                found = Authentication(identity=identity, proof=expected)
        return found

    def is_guessable(self, authentication: Authentication) -> bool:
        """Return whether what was proved by a credential of this set may have been guessed."""
        return authentication.proof in self._guessable

    def _found(self, presented: Iterable[bytes]) -> Authentication | None:
        """Compare with every credential, found or not: the time shows neither which one matched nor how nearly."""
        digests = tuple(presented)
        found: Authentication | None = None
        for expected, identity in self._expected:
            for digest in digests:
                if hmac.compare_digest(digest, expected):
                    found = Authentication(identity=identity, proof=expected)
        return found


def _presented(authorization: str) -> tuple[bytes, ...]:
    """Return the digests a header may stand for; none for what is no credential of a scheme we know."""
    login = _login(authorization)
    if login is not None:
        return (_digest("basic", _sha256(login)),)
    token = bearer_token(authorization)
    return tuple(_digest("bearer", _sha256(reading)) for reading in _as_bytes(token)) if token else ()


def bearer_token(authorization: str) -> str | None:
    """Return the bearer token in a header's value, or `None`."""
    scheme, value = _parts(authorization)
    return value or None if scheme == "bearer" else None


def scheme_of(authorization: str) -> str:
    """Return the scheme that a header's value begins with, in lower case."""
    return _parts(authorization)[0]


def _login(authorization: str) -> bytes | None:
    """Return a user name and password, with the colon between them."""
    scheme, value = _parts(authorization)
    if scheme != "basic":
        return None
    try:
        return base64.b64decode(value.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return None


def _parts(authorization: str) -> tuple[str, str]:
    # Only what HTTP calls white space: in a header decoded as latin-1, U+00A0 can be half of a UTF-8 letter.
    word, _, value = authorization.strip(" \t").replace("\t", " ", 1).partition(" ")
    return word.lower(), value.strip(" \t")


def _as_bytes(value: str) -> set[bytes]:
    """Return a header's bytes (latin-1, as HTTP has it), and its letters in UTF-8: clients send either."""
    readings = {value.encode("utf-8", "surrogatepass")}
    with contextlib.suppress(UnicodeEncodeError):
        readings.add(value.encode("latin-1"))
    return readings
