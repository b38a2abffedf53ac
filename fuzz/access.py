"""Targets of who is let in and what a server shows: credentials, the header held against them, certificates."""

from __future__ import annotations

import base64

import orjson
from hypothesis import strategies as st

from fuzz.target import Target, require
from sansio.access import CredentialsError, parse_credentials
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
    require(credentials.authenticate(None) is None, "no header proves somebody")


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
)
