"""Requests and responses as plain values, and the guards every request passes, in order, before it is parsed.

Pure decisions; the ASGI shell reads and writes the bytes.
"""

from __future__ import annotations

from urllib.parse import parse_qsl

import orjson
from attrs import Factory, define, field, frozen

from sansio.a2a.errors import ErrorKind, ProtocolError, http_error
from sansio.access import CredentialSet, Identity

JSON = "application/json"


@define
class Request:
    """One HTTP request. Header names are lower-case; ``path`` is percent-decoded.

    ``unread``: a body was announced, and its end has not come.
    """

    method: str
    path: str
    query_string: bytes = field(repr=False)
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    unread: bool = field(init=False, default=Factory(lambda self: _announces_body(self.headers), takes_self=True))
    _query: dict[str, str] | None = field(default=None, init=False, repr=False)

    @property
    def query(self) -> dict[str, str]:
        """The query parameters, the last of each name; parsed once."""
        if self._query is None:
            text = self.query_string.decode("utf-8", "replace")
            self._query = dict(parse_qsl(text, keep_blank_values=True)) if text else {}
        return self._query

    @property
    def a2a_version(self) -> str | None:
        """The version asked for: the header, else the query parameter."""
        version = self.headers.get("a2a-version")
        return version if version else self.query.get("A2A-Version")


def _announces_body(headers: dict[str, str]) -> bool:
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"


@frozen
class Response:
    """One whole HTTP response."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


def header_map(headers: object) -> dict[str, str]:
    """ASGI's header pairs as a map; of a name that comes twice the last counts."""
    pairs = headers if isinstance(headers, list | tuple) else ()
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in pairs}


def json_response(status: int, value: object, *headers: tuple[str, str]) -> Response:
    """A JSON response."""
    return Response(status, orjson.dumps(value), (("content-type", JSON), *headers))


def check_length(headers: dict[str, str], limit: int) -> None:
    """Refuse by the announced length, before a byte of the body is read. ``limit`` 0: none."""
    announced = headers.get("content-length", "")
    if limit and announced.isascii() and announced.isdigit() and int(announced[:20]) > limit:
        raise too_large(limit)


def too_large(limit: int) -> ProtocolError:
    """The error for a body of more than ``limit`` bytes."""
    return ProtocolError(
        ErrorKind.PAYLOAD_TOO_LARGE,
        f"The request body is larger than {limit} bytes",
        data={"type": "PAYLOAD_TOO_LARGE", "max_bytes": limit},
        metadata={"maxBytes": str(limit)},
    )


def authenticate(credentials: CredentialSet, headers: dict[str, str]) -> Identity:
    """Who is calling. Raises ``ProtocolError`` (UNAUTHENTICATED)."""
    identity = credentials.authenticate(headers.get("authorization"))
    if identity is None:
        raise ProtocolError(ErrorKind.UNAUTHENTICATED)
    return identity


def refusal(error: ProtocolError, line: str, challenge: str) -> Response:
    """The response of a guard, or of the HTTP+JSON binding, in the shape of ``line``."""
    status, body = http_error(error, line)
    headers: list[tuple[str, str]] = []
    if error.kind is ErrorKind.UNAUTHENTICATED:
        headers.append(("www-authenticate", challenge))
        if line == "0.3":
            body = {"error": "Unauthorized"}
    if error.kind is ErrorKind.METHOD_NOT_ALLOWED:
        headers.append(("allow", error.metadata.get("allow", "")))
    return json_response(status, body, *headers)
