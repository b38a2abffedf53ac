"""Targets of who is let in: credentials, tokens and keys of an issuer, certificates of clients and servers."""

from __future__ import annotations

import base64
import contextlib

import orjson
from hypothesis import strategies as st

from fuzz.target import Target, require
from sansio.access import CredentialsError, parse_credentials
from sansio.access.client_certificates import authentication_of as certificate_of
from sansio.access.forwarded_client_cert import nearest_name
from sansio.access.oidc import (
    MOST_KEYS,
    PREFIX,
    OidcPolicy,
    TokenHeader,
    TokenRefusedError,
    authentication_of,
    read_discovery,
    read_keys,
    read_token,
    suitable_keys,
)
from sansio.certificate import CertificateError, read_certificate
from tests.strategies import json_values

SECRET = "s3cr3t-w0rd"

_LIST = orjson.dumps(
    [
        {"scheme": "bearer", "token": SECRET, "principal": "automation", "credential_id": "ci"},
        {"scheme": "basic", "username": "ada", "password": SECRET, "capabilities": ["x"], "enabled": True},
    ]
)
_BASIC = base64.b64encode(f"ada:{SECRET}".encode())


_TIMES = b"\x17\x0d260101000000Z\x18\x0f20500101000000Z"
_NAME = b"\x30\x0e\x06\x03\x55\x1d\x11\x04\x07\x30\x05\x82\x03a.b"
_SIGNED = b"\xa0\x03\x02\x01\x02\x02\x01\x01\x30\x00\x30\x00\x30\x20" + _TIMES + b"\x30\x00\x30\x00"
_SIGNED += b"\xa3" + bytes([len(_NAME) + 2]) + b"\x30" + bytes([len(_NAME)]) + _NAME
_CERTIFICATE = b"\x30" + bytes([len(_SIGNED) + 2]) + b"\x30" + bytes([len(_SIGNED)]) + _SIGNED


def check_access(data: bytes) -> None:
    """A list is read or refused without showing a secret, and any header proves a caller of it or nobody."""
    header, _, text = data.partition(b"\n")
    try:
        credentials = parse_credentials(text.decode("utf-8", "replace"))
    except CredentialsError as error:
        require(SECRET not in str(error), "a secret is shown")
        return
    require(SECRET not in repr(credentials), "a secret is shown")
    for authorization in (header.decode("latin-1"), header.decode("utf-8", "surrogateescape")):
        identity = credentials.authenticate(authorization)
        principals = {credential.principal for credential in credentials.credentials if credential.enabled}
        require(identity is None or identity.principal in principals, "a caller nobody knows")
        key = credentials.prove_key(authorization)
        require(key is None or key.identity.principal in principals, "a caller nobody knows")
    require(credentials.authenticate(None) is None, "no header proves somebody")


_POLICY = OidcPolicy(issuer="https://login.example", audiences=frozenset({"agent"}), capabilities=frozenset({"x"}))


def _encoded(document: object) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(document)).decode().rstrip("=")


_TOKEN = f"{_encoded({'alg': 'ES256', 'kid': 'k', 'typ': 'at+jwt'})}.{_encoded({'sub': 'ada'})}.AA"
_CLAIMS = orjson.dumps({"iss": _POLICY.issuer, "aud": ["agent"], "exp": 1000, "nbf": 1, "sub": "ada", "scope": "a b"})


def check_tokens(data: bytes) -> None:
    """A token and its claims are accepted by the policy or refused, and a refusal repeats nothing of them."""
    token, _, claims = data.partition(b"\n")
    text = token.decode("latin-1")
    try:
        require(read_token(text, _POLICY).alg in _POLICY.algorithms, "an algorithm that is not allowed")
    except TokenRefusedError as refused:
        require(len(text) < 20 or text not in str(refused), "a token is shown")
    try:
        found = authentication_of(claims, text, _POLICY, 500.0)
    except TokenRefusedError:
        return
    require(found.expires is not None and found.expires > 500.0, "a token that has expired, or never does")
    require(found.identity.principal.startswith(PREFIX), "a principal of the operator's list")
    require(found.identity.principal.isprintable(), "a principal that is not printable")
    require(found.identity.capabilities <= _POLICY.capabilities, "a capability that there is not")


_KEYS = orjson.dumps({"keys": [{"kty": "EC", "kid": "k", "crv": "P-256", "x": "AA", "y": "AA", "d": "AA"}]})


def check_keys(data: bytes) -> None:
    """A document of an issuer is read or refused with a `ValueError`, and no private member of a key is kept."""
    with contextlib.suppress(ValueError):
        require(read_discovery(data, _POLICY).lower().startswith(("https://", "http://")), "no protected URL")
    try:
        keys = read_keys(data)
    except ValueError:
        return
    require(len(keys) <= MOST_KEYS, "too many keys")
    require(all(key.keys().isdisjoint({"d", "k", "p", "q"}) for key in keys), "a private member")
    for header in (TokenHeader("ES256", "k"), TokenHeader("RS256", None), TokenHeader("EdDSA", "")):
        require(all(key in keys for key in suitable_keys(keys, header)), "a key of nobody")


def check_xfcc(data: bytes) -> None:
    """A header names one certificate or none, and what a client sent changes nothing of what its proxy adds."""
    text = data.decode("latin-1")
    found = certificate_of("x-forwarded-client-cert", text)
    require(found is None or found.identity.principal.isprintable(), "a principal that is not printable")
    own = 'By=spiffe://a/p;Subject="CN=ada,O=x";URI=spiffe://a/ada'
    require(nearest_name(f"{text},{own}") in (None, "uri:spiffe://a/ada"), "a client chose its name")


def check_certificate(data: bytes) -> None:
    """A certificate is read or refused with its one error, whatever its bytes say of lengths."""
    pem = b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(data) + b"-----END CERTIFICATE-----\n"
    try:
        found = read_certificate(pem)
    except CertificateError:
        return
    require(found.is_for("localhost") in (True, False), "a name that is neither")


TARGETS = (
    Target(
        name="certificate",
        check=check_certificate,
        documents=(_CERTIFICATE,),
        strategy=st.binary(max_size=200),
    ),
    Target(
        name="access",
        check=check_access,
        documents=(
            f"Bearer {SECRET}\n".encode() + _LIST,
            b"Basic " + _BASIC + b"\n" + _LIST,
            b"\n[]",
        ),
        strategy=st.builds(
            lambda header, body: header + b"\n" + body, st.binary(max_size=20), json_values.map(orjson.dumps)
        ),
    ),
    Target(
        name="tokens",
        check=check_tokens,
        documents=(_TOKEN.encode() + b"\n" + _CLAIMS, b"eyJ.e30.\n{}"),
        strategy=st.builds(
            lambda header, claims: _encoded(header).encode() + b".e30.AA\n" + orjson.dumps(claims),
            json_values,
            json_values,
        ),
    ),
    Target(
        name="keys",
        check=check_keys,
        documents=(_KEYS, orjson.dumps({"issuer": _POLICY.issuer, "jwks_uri": "https://login.example/keys"})),
        strategy=json_values.map(lambda keys: orjson.dumps({"keys": [keys]})) | st.binary(max_size=40),
    ),
    Target(
        name="xfcc",
        check=check_xfcc,
        documents=(
            b'By=spiffe://a/p;Hash=aa;Subject="CN=\\"eve\\"";URI=spiffe://a/eve;DNS=a,URI=b',
            b'Subject="CN=eve',
        ),
        strategy=st.lists(st.sampled_from(["URI=", "Subject=", '"', "\\", ",", ";", "a", " "]), max_size=20).map(
            lambda parts: "".join(parts).encode()
        ),
    ),
)
