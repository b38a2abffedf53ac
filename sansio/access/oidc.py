"""Bearer tokens of an OpenID provider (JWT, RFC 7519 and RFC 9068): which are accepted, and whom they name.

Pure: the signature is checked elsewhere, between `read_token` and `authentication_of`. Time is an argument.

    read_token          the header: size, type, algorithm; nothing in it chooses a key but `kid`
    suitable_keys       the issuer's keys that may have signed it
    authentication_of   the claims: issuer, audience, times; principal and capabilities
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import orjson
from attrs import field, frozen

from sansio.access.credentials import Authentication, Identity

LARGEST_TOKEN: Final = 16 * 1024
"""Characters of a token."""

LARGEST_KEY_SET: Final = 256 * 1024
"""Bytes of a key set or of a discovery document."""

MOST_KEYS: Final = 100
"""Keys of a key set that are looked at."""

LEEWAY: Final = 60.0
"""Seconds that two clocks may differ by."""

PREFIX: Final = "oidc:"
"""Begins the principal of every token, so that none is taken for a principal of the operator's own list."""

DISCOVERY_PATH: Final = "/.well-known/openid-configuration"

ALGORITHMS: Final = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "Ed25519", "EdDSA"),
)
"""Every algorithm that can be allowed: those whose verifying key cannot sign."""

DEFAULT_ALGORITHMS: Final = ("RS256", "PS256", "ES256", "Ed25519", "EdDSA")

_TYPES: Final = frozenset({"jwt", "at+jwt", "application/at+jwt"})
_CURVES: Final = {
    "ES256": ("P-256",),
    "ES384": ("P-384",),
    "ES512": ("P-521",),
    "Ed25519": ("Ed25519",),
    "EdDSA": ("Ed25519",),
}
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
_LONGEST_PRINCIPAL: Final = 255
_MOST_NAMES: Final = 200
_PUBLIC_MEMBERS: Final = ("kty", "kid", "use", "alg", "key_ops", "n", "e", "crv", "x", "y")


class TokenRefusedError(Exception):
    """The token is not accepted. The text says why, and holds nothing of the token."""


@frozen(kw_only=True)
class OidcPolicy:
    """The rules for tokens. `issuer`: as the provider writes it. `audiences`: one of them has to be in the token.

    `capabilities_claim`: the claim that lists capabilities; None: no claim does. `scope_capabilities`: capabilities
    by scope. `capabilities`: all there are; other names are left out.
    """

    issuer: str
    audiences: frozenset[str]
    principal_claim: str = "sub"
    capabilities_claim: str | None = None
    scope_capabilities: Mapping[str, frozenset[str]] = field(factory=dict)
    algorithms: tuple[str, ...] = DEFAULT_ALGORITHMS
    capabilities: frozenset[str] = frozenset()

    @property
    def discovery_url(self) -> str:
        """The URL of the provider's discovery document."""
        return self.issuer.rstrip("/") + DISCOVERY_PATH


@frozen
class TokenHeader:
    """The part of a token's header that counts."""

    alg: str
    kid: str | None


def is_jwt(token: str) -> bool:
    """Return whether a bearer token has the form of a signed JWT; any other is none of a provider's."""
    return token.count(".") == 2 and token.startswith("eyJ")


def read_token(token: str, policy: OidcPolicy) -> TokenHeader:
    """Read the header of a token, whose signature is not checked yet. Raises `TokenRefusedError`."""
    if len(token) > LARGEST_TOKEN:
        raise TokenRefusedError(f"The token is longer than {LARGEST_TOKEN} characters")
    header = _object(token.partition(".")[0])
    alg, kid, kind = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
    if "crit" in header:
        raise TokenRefusedError("The token has a critical header that is not known here")
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise TokenRefusedError("The token is of another type than JWT or at+jwt")
    if not isinstance(alg, str) or alg not in policy.algorithms or alg not in ALGORITHMS:
        raise TokenRefusedError("The token is signed with an algorithm that is not allowed here")
    if kid is not None and not isinstance(kid, str):
        raise TokenRefusedError("The token names its key by something else than a text")
    return TokenHeader(alg, kid)


def _object(part: str) -> Mapping[str, Any]:
    try:
        value = orjson.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (binascii.Error, ValueError):
        value = None
    if not isinstance(value, dict):
        raise TokenRefusedError("The token is no JWT")
    return value


# --- keys -------------------------------------------------------------------------------------------------


def read_discovery(body: bytes, policy: OidcPolicy) -> str:
    """Return the URL of the key set out of a discovery document. Raises `ValueError` that says what is wrong."""
    document = orjson.loads(body)
    if not isinstance(document, dict):
        raise ValueError("the discovery document is no JSON object")
    if document.get("issuer") != policy.issuer:
        raise ValueError("the discovery document is of another issuer")
    url = document.get("jwks_uri")
    if not isinstance(url, str) or not is_protected(url):
        raise ValueError("the discovery document names no https URL of keys")
    return url


def is_protected(url: str) -> bool:
    """Return whether a URL is https, or http to this machine. One that cannot be read, or names no host, is not."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK))


def read_keys(body: bytes) -> tuple[Mapping[str, Any], ...]:
    """Return the public keys of a key set (RFC 7517); others are left out. Raises `ValueError`."""
    document = orjson.loads(body)
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list):
        raise ValueError("the key set has no list of keys")
    if len(keys) > MOST_KEYS:
        raise ValueError(f"the key set has more than {MOST_KEYS} keys")
    public = [{name: key[name] for name in _PUBLIC_MEMBERS if name in key} for key in keys if isinstance(key, dict)]
    return tuple(key for key in public if key.get("kty") in ("RSA", "EC", "OKP"))


def suitable_keys(keys: Sequence[Mapping[str, Any]], header: TokenHeader) -> list[Mapping[str, Any]]:
    """Return the keys that may have signed a token: of its id, if it has one, for its algorithm, and for signing."""
    return [key for key in keys if (header.kid is None or key.get("kid") == header.kid) and _fits(key, header.alg)]


def _fits(key: Mapping[str, Any], alg: str) -> bool:
    if key.get("use", "sig") != "sig" or key.get("alg", alg) != alg:
        return False
    operations = key.get("key_ops")
    if isinstance(operations, list) and "verify" not in operations:
        return False
    if alg in _CURVES:
        kind = "OKP" if alg.startswith("Ed") else "EC"
        return key.get("kty") == kind and key.get("crv") in _CURVES[alg]
    return key.get("kty") == "RSA"


# --- claims -----------------------------------------------------------------------------------------------


def authentication_of(payload: bytes, token: str, policy: OidcPolicy, now: float) -> Authentication:
    """Return who a token is of. `payload`: its claims, whose signature was found to be good. `now`: epoch seconds.

    Raises `TokenRefusedError`.
    """
    try:
        claims = orjson.loads(payload)
    except ValueError:
        claims = None
    if not isinstance(claims, dict):
        raise TokenRefusedError("The token is no JWT")
    if claims.get("iss") != policy.issuer:
        raise TokenRefusedError("The token is of another issuer")
    if policy.audiences.isdisjoint(_texts(claims.get("aud"))):
        raise TokenRefusedError("The token is for another audience")
    expires = _time(claims, "exp", required=True) + LEEWAY
    if now >= expires:
        raise TokenRefusedError("The token has expired")
    if max(_time(claims, "nbf"), _time(claims, "iat")) > now + LEEWAY:
        raise TokenRefusedError("The token is not valid yet")
    principal, capabilities = _principal(claims, policy.principal_claim), _capabilities(claims, policy)
    identity = Identity(principal=principal, credential_id=None, capabilities=capabilities)
    return Authentication(identity=identity, proof=hashlib.sha256(token.encode()).digest(), expires=expires)


def _time(claims: Mapping[str, Any], name: str, *, required: bool = False) -> float:
    """Return a time in epoch seconds; one that is not there is long past."""
    value = claims.get(name)
    if value is None and not required:
        return -math.inf
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TokenRefusedError(f"The token has no valid time in its claim {name}")
    return float(value)


def _texts(value: Any) -> list[str]:
    """Return the texts of a claim that is one text or a list of them."""
    values = value if isinstance(value, list) else [value]
    return [text for text in values[:_MOST_NAMES] if isinstance(text, str)]


def _principal(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not value.strip() or not value.isprintable() or len(value) > _LONGEST_PRINCIPAL:
        raise TokenRefusedError("The token names nobody in the claim that is wanted")
    if name == "email" and claims.get("email_verified") is False:
        raise TokenRefusedError("The token's address of mail is not verified")
    return PREFIX + value.strip()


def _capabilities(claims: Mapping[str, Any], policy: OidcPolicy) -> frozenset[str]:
    """Return the capabilities that the claim lists, and those of the scopes."""
    scopes = [scope for name in ("scope", "scp") for text in _texts(claims.get(name)) for scope in text.split()]
    granted = [policy.scope_capabilities.get(scope, frozenset()) for scope in scopes]
    named = claims.get(policy.capabilities_claim) if policy.capabilities_claim is not None else None
    listed = named.split() if isinstance(named, str) else _texts(named)
    return frozenset(listed).union(*granted) & policy.capabilities
