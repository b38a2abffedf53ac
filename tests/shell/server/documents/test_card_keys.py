"""The key that signs cards: which files are taken, what is published of a key, and what is said of the others."""

from __future__ import annotations

import base64
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from opencode_a2a.config.settings import SettingsError
from opencode_a2a.distribution import how_to_install
from opencode_a2a.server.http.card_keys import PrivateKey
from opencode_a2a.server.http.card_signing import CardKey, load_card_key

MESSAGE = b"what is signed"


def pem(key: Any, form: PrivateFormat = PrivateFormat.PKCS8) -> bytes:
    text = key.private_bytes(Encoding.PEM, form, NoEncryption())
    assert isinstance(text, bytes)
    return text


@pytest.fixture
def file(tmp_path: Path) -> Callable[[bytes], str]:
    def write(content: bytes) -> str:
        path = tmp_path / "key.pem"
        path.write_bytes(content)
        return str(path)

    return write


def loaded(path: str, key_id: str | None = None) -> CardKey:
    key = load_card_key(path, key_id)
    assert key is not None
    return key


def refused(path: str, key_id: str | None = None) -> str:
    with pytest.raises(SettingsError) as caught:
        load_card_key(path, key_id)
    # whatever is printed of it
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return str(caught.value)


def number(text: str) -> int:
    return int.from_bytes(octets(text), "big")


def octets(text: str) -> bytes:
    assert "=" not in text
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def verify(jwk: dict[str, str], signature: bytes) -> None:
    """As someone does who has the published key alone. Raises `InvalidSignature`."""
    if jwk["kty"] == "EC":
        curve, digest = {"P-256": (ec.SECP256R1(), hashes.SHA256()), "P-384": (ec.SECP384R1(), hashes.SHA384())}[
            jwk["crv"]
        ]
        half = len(signature) // 2
        assert half == curve.key_size // 8 == len(octets(jwk["x"])) == len(octets(jwk["y"]))
        der = encode_dss_signature(*(int.from_bytes(part, "big") for part in (signature[:half], signature[half:])))
        point = ec.EllipticCurvePublicNumbers(number(jwk["x"]), number(jwk["y"]), curve).public_key()
        point.verify(der, MESSAGE, ec.ECDSA(digest))
    elif jwk["kty"] == "OKP":
        ed25519.Ed25519PublicKey.from_public_bytes(octets(jwk["x"])).verify(signature, MESSAGE)
    else:
        modulus = rsa.RSAPublicNumbers(number(jwk["e"]), number(jwk["n"])).public_key()
        modulus.verify(signature, MESSAGE, padding.PKCS1v15(), hashes.SHA256())


KINDS: dict[str, Callable[[], Any]] = {
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ES384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
}


@pytest.mark.parametrize("alg", KINDS)
def test_the_published_key_verifies_what_the_key_signs(alg: str, file: Callable[[bytes], str]) -> None:
    key = loaded(file(pem(KINDS[alg]())))

    [jwk] = key.jwks()["keys"]
    assert (key.alg, jwk["alg"], jwk["kid"], jwk["use"]) == (alg, alg, key.kid, "sig")
    verify(jwk, key.sign(MESSAGE))
    with pytest.raises(InvalidSignature):
        verify(jwk, key.sign(b"something else"))


@pytest.mark.parametrize("alg", KINDS)
def test_a_message_gets_the_same_signature_again(alg: str, file: Callable[[bytes], str]) -> None:
    path = file(pem(KINDS[alg]()))

    assert loaded(path).sign(MESSAGE) == loaded(path).sign(MESSAGE)


def test_only_public_members_are_published_and_shown(file: Callable[[bytes], str]) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    card_key = loaded(file(pem(key)), "mine")

    [jwk] = card_key.jwks()["keys"]
    assert jwk.keys() == {"kty", "crv", "x", "y", "kid", "alg", "use"}
    assert repr(card_key) == "CardKey(alg='ES256', kid='mine')"


@pytest.mark.parametrize("form", [PrivateFormat.TraditionalOpenSSL, PrivateFormat.PKCS8])
def test_both_forms_of_pem_are_taken(form: PrivateFormat, file: Callable[[bytes], str]) -> None:
    assert loaded(file(pem(KINDS["ES256"](), form))).alg == "ES256"


def test_a_key_without_a_name_has_that_of_its_thumbprint() -> None:
    # the example of RFC 7638, section 3.1
    n = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3"
        "oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdA"
        "ZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-"
        "kEgU8awapJzKnqDKgw"
    )
    key = PrivateKey(alg="RS256", public={"kty": "RSA", "n": n, "e": "AQAB"}, sign=bytes)

    assert key.thumbprint == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


def test_canonical_json_is_that_of_rfc_8785(file: Callable[[bytes], str]) -> None:
    key = loaded(file(pem(KINDS["EdDSA"]())))

    # numbers and order as in its sections 3.2.2.3 and 3.2.3
    value = {"\u20ac": 1e21, "\r": 333333333.33333329, "1": 4.50, "\U0001f602": 1e-27, "\ufb33": 2e-3}
    assert key.canonical(value).decode() == (
        '{"\\r":333333333.3333333,"1":4.5,"\u20ac":1e+21,"\U0001f602":1e-27,"\ufb33":0.002}'
    )


def test_without_a_file_there_is_no_key() -> None:
    assert load_card_key(None, "unused") is None


def _encrypted() -> bytes:
    text: bytes = KINDS["ES256"]().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    return text


def _public() -> bytes:
    text: bytes = KINDS["ES256"]().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return text


UNUSABLE: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "holds no private key in PEM"),
    "text": (lambda: b"correct horse battery staple", "holds no private key in PEM"),
    "damaged": (lambda: pem(KINDS["ES256"]()).replace(b"M", b"!"), "holds no private key in PEM"),
    "public": (_public, "holds no private key in PEM"),
    "encrypted": (_encrypted, "is encrypted"),
    "large": (lambda: b"-" * 70_000, "too large"),
    "small RSA": (lambda: pem(rsa.generate_private_key(65537, 1024)), "1024 bits"),
    "P-521": (lambda: pem(ec.generate_private_key(ec.SECP521R1())), "curve secp521r1"),
    "X25519": (lambda: pem(x25519.X25519PrivateKey.generate()), "of a kind that is not used"),
    "Ed448": (lambda: pem(ed448.Ed448PrivateKey.generate()), "of a kind that is not used"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_a_file_that_cannot_be_used_is_refused_by_the_name_of_its_variable(
    name: str, file: Callable[[bytes], str]
) -> None:
    make, reason = UNUSABLE[name]
    content = make()

    problem = refused(file(content))

    assert problem.startswith("A2A_CARD_SIGNING_KEY_FILE: ")
    assert reason in problem
    assert "\n" not in problem
    lines = [line for line in content.decode().splitlines() if len(line) > 20]
    assert not any(line in problem for line in lines)


@pytest.mark.parametrize("path", ["missing.pem", ".", "nul\0.pem"])
def test_a_path_without_a_file_is_refused(path: str, tmp_path: Path) -> None:
    assert refused(str(tmp_path / path)).startswith("A2A_CARD_SIGNING_KEY_FILE: the file cannot be used: ")


def test_a_name_that_cannot_be_printed_is_refused(file: Callable[[bytes], str]) -> None:
    problem = refused(file(pem(KINDS["ES256"]())), "a\nb")

    assert problem == "A2A_CARD_SIGNING_KEY_ID: takes printable text"


@pytest.mark.parametrize("library", ["cryptography", "rfc8785"])
def test_a_missing_library_is_told_with_what_brings_it(
    library: str, file: Callable[[bytes], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = file(pem(KINDS["ES256"]()))
    monkeypatch.delitem(sys.modules, "opencode_a2a.server.http.card_keys")
    for name in [name for name in sys.modules if name.partition(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)

    assert refused(path) == f"A2A_CARD_SIGNING_KEY_FILE: needs {library}: {how_to_install('signing')}"


def test_the_libraries_are_left_alone_where_no_key_is_set() -> None:
    program = (
        "import sys\n"
        "from opencode_a2a.server.http.card_signing import load_card_key\n"
        "assert load_card_key(None) is None\n"
        "print([name for name in ('cryptography', 'rfc8785') if name in sys.modules])"
    )

    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert run.stdout.strip() == "[]"
