"""Private keys as JOSE knows them: which algorithm a key signs with, how, and its public half as a JWK.

The server's one module that imports the libraries of the extra `signing`. Knows neither files nor settings.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from typing import Final

import rfc8785
from attrs import field, frozen
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.backends.openssl.backend import backend
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from sansio.a2a.model import JsonObject

SMALLEST_RSA: Final = 2048
"""Bits (RFC 7518, section 3.3)."""

TAKEN: Final = "an EC key on P-256 or P-384, an Ed25519 key, or an RSA key of 2048 bits or more"

_CURVES: Final[dict[str, tuple[str, str, hashes.HashAlgorithm]]] = {
    "secp256r1": ("ES256", "P-256", hashes.SHA256()),
    "secp384r1": ("ES384", "P-384", hashes.SHA384()),
}

# So that a restart, or another replica with the same key, serves the same bytes under the same entity tag. OpenSSL
# has it since 3.2; before that, each signature is another one.
_DETERMINISTIC: Final = backend.ecdsa_deterministic_supported()


class KeyRefusedError(ValueError):
    """Why a key is not used, in words that hold nothing of it."""


@frozen(kw_only=True)
class PrivateKey:
    """A key that signs. `public` is its JWK with the members that RFC 7638 wants, and no others."""

    alg: str
    public: JsonObject = field(repr=False)
    sign: Callable[[bytes], bytes] = field(repr=False)

    @property
    def thumbprint(self) -> str:
        """RFC 7638."""
        return _base64url(hashlib.sha256(canonical(self.public)).digest())


def canonical(value: JsonObject) -> bytes:
    """RFC 8785."""
    return rfc8785.dumps(value)


def private_key(pem: bytes) -> PrivateKey:
    """The private key of a PEM document. Raises `KeyRefusedError`."""
    key = _loaded(pem)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return _elliptic(key)
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return _edwards(key)
    if isinstance(key, rsa.RSAPrivateKey):
        return _rsa(key)
    raise KeyRefusedError(f"the key is of a kind that is not used here; it takes {TAKEN}")


def _loaded(pem: bytes) -> object:
    try:
        return serialization.load_pem_private_key(pem, password=None)
    except TypeError:
        reason = "the key is encrypted, and there is nobody to ask for its password"
    except UnsupportedAlgorithm:
        reason = f"the key is of a kind that is not used here; it takes {TAKEN}"
    except ValueError:
        reason = "the file holds no private key in PEM"
    raise KeyRefusedError(reason)


def _elliptic(key: ec.EllipticCurvePrivateKey) -> PrivateKey:
    if key.curve.name not in _CURVES:
        raise KeyRefusedError(f"the key is on the curve {key.curve.name}; it takes {TAKEN}")
    alg, curve, digest = _CURVES[key.curve.name]
    size = (key.key_size + 7) // 8
    algorithm = ec.ECDSA(digest, deterministic_signing=_DETERMINISTIC)

    def sign(message: bytes) -> bytes:
        r, s = decode_dss_signature(key.sign(message, algorithm))
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")

    point = key.public_key().public_numbers()
    public = {"kty": "EC", "crv": curve, "x": _integer(point.x, size), "y": _integer(point.y, size)}
    return PrivateKey(alg=alg, public=public, sign=sign)


def _edwards(key: ed25519.Ed25519PrivateKey) -> PrivateKey:
    public = {"kty": "OKP", "crv": "Ed25519", "x": _base64url(key.public_key().public_bytes_raw())}
    return PrivateKey(alg="EdDSA", public=public, sign=key.sign)


def _rsa(key: rsa.RSAPrivateKey) -> PrivateKey:
    if key.key_size < SMALLEST_RSA:
        raise KeyRefusedError(f"the RSA key has {key.key_size} bits; it takes {SMALLEST_RSA} or more")
    numbers = key.public_key().public_numbers()
    n = _integer(numbers.n, (numbers.n.bit_length() + 7) // 8)
    e = _integer(numbers.e, (numbers.e.bit_length() + 7) // 8)

    def sign(message: bytes) -> bytes:
        return key.sign(message, padding.PKCS1v15(), hashes.SHA256())

    return PrivateKey(alg="RS256", public={"kty": "RSA", "n": n, "e": e}, sign=sign)


def _integer(value: int, size: int) -> str:
    return _base64url(value.to_bytes(size, "big"))


def _base64url(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
