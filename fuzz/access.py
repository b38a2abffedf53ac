"""Target of who is let in: the list of credentials and the header that is held against it."""

from __future__ import annotations

import base64

import orjson
from hypothesis import strategies as st

from fuzz.target import Target, require
from sansio.access import CredentialsError, parse_credentials
from tests.strategies import json_values

SECRET = "s3cr3t-w0rd"

_LIST = orjson.dumps(
    [
        {"scheme": "bearer", "token": SECRET, "principal": "automation", "credential_id": "ci"},
        {"scheme": "basic", "username": "ada", "password": SECRET, "capabilities": ["x"], "enabled": True},
    ]
)
_BASIC = base64.b64encode(f"ada:{SECRET}".encode())


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


TARGETS = (
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
