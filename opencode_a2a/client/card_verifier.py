"""Verifies signatures with the libraries of the extra `signing`; imported where a signed card is checked."""

from __future__ import annotations

import base64
from typing import Final

import rfc8785
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from sansio.a2a.model import JsonObject

SMALLEST_RSA: Final = 2048
"""Bits (RFC 7518, section 3.3)."""

_LARGEST_EXPONENT: Final = 2**32  # a larger one is of no use, and slow

_CURVES: Final[dict[str, tuple[ec.EllipticCurve, hashes.HashAlgorithm]]] = {
    "ES256": (ec.SECP256R1(), hashes.SHA256()),
    "ES384": (ec.SECP384R1(), hashes.SHA384()),
}
_PADDINGS: Final[dict[str, padding.AsymmetricPadding]] = {
    "RS256": padding.PKCS1v15(),
    "PS256": padding.PSS(padding.MGF1(hashes.SHA256()), hashes.SHA256.digest_size),
}


class CardVerifier:
    """Verifies with public keys as JWKs: EC, RSA and Ed25519."""

    def canonical(self, value: JsonObject) -> bytes:
        """RFC 8785. Raises `ValueError`."""
        return rfc8785.dumps(value)

    def verifies(self, alg: str, key: JsonObject, message: bytes, signature: bytes) -> bool:
        """Whether the signature fits, as JWS has it for `alg`. Raises `ValueError` for a key that cannot be used."""
        try:
            if alg in _CURVES:
                self._elliptic(alg, key, message, signature)
            elif alg in _PADDINGS:
                self._rsa(alg, key, message, signature)
            else:
                ed25519.Ed25519PublicKey.from_public_bytes(_octets(key, "x")).verify(signature, message)
        except InvalidSignature:
            return False
        except (ValueError, UnsupportedAlgorithm):
            # also an RSA key with too few bits, or an exponent that takes forever
            raise ValueError(f"the key {key.get('kid')} cannot be used: it is no key for {alg}") from None
        return True

    def _elliptic(self, alg: str, key: JsonObject, message: bytes, signature: bytes) -> None:
        curve, digest = _CURVES[alg]
        public = ec.EllipticCurvePublicNumbers(_number(key, "x"), _number(key, "y"), curve).public_key()
        half = len(signature) // 2
        r, s = (int.from_bytes(part, "big") for part in (signature[:half], signature[half:]))
        public.verify(encode_dss_signature(r, s), message, ec.ECDSA(digest))

    def _rsa(self, alg: str, key: JsonObject, message: bytes, signature: bytes) -> None:
        modulus, exponent = _number(key, "n"), _number(key, "e")
        if modulus.bit_length() < SMALLEST_RSA or exponent > _LARGEST_EXPONENT:
            raise ValueError
        public = rsa.RSAPublicNumbers(exponent, modulus).public_key()
        public.verify(signature, message, _PADDINGS[alg], hashes.SHA256())


def _octets(key: JsonObject, name: str) -> bytes:
    text = key.get(name)
    if not isinstance(text, str) or not text:
        raise ValueError
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _number(key: JsonObject, name: str) -> int:
    return int.from_bytes(_octets(key, name), "big")
