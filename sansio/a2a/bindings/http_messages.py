"""HTTP requests and responses as plain values, for both bindings; the ASGI shell reads and writes the bytes."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl

import orjson
from attrs import Factory, define, field, frozen

from sansio.a2a.bindings.trace_context import TraceContext
from sansio.a2a.codecs.fields import gathered
from sansio.a2a.errors import ErrorKind, ProtocolError, http_error, invalid
from sansio.a2a.media_types import JSON
from sansio.a2a.versions import HEADER as VERSION_HEADER

_MOST_PARAMETERS = 100  # of a query


@define
class Outcome:
    """Facts about an answered request, for the log.

    `status` None: the client left before. `operation`: the name of the method or the operation.
    `label`: the operation as one of few names, for metrics; empty where the request was not understood.
    `trace_id`: 32 hex digits. `session_id`: in the agent's own terms.
    """

    status: int | None = None
    principal: str | None = None
    credential_id: str | None = None
    operation: str | None = None
    label: str = ""
    task_id: str | None = None
    context_id: str | None = None
    session_id: str | None = None
    error: ProtocolError | None = None
    trace_id: str | None = None


@frozen(kw_only=True)
class Source:
    """The client of a request, and the URL that it asked for, as far as proxies in between are trusted to say.

    `address`: an IP address, or any text where the connection has none. `scheme`: `http` or `https`. `host`: with a
    port unless it is the scheme's. `prefix`: a path without a slash at its end. None and empty: no proxy says.
    `is_by_proxy`: a trusted proxy sent the request. `is_unnamed`: it did not say for whom, or not so that it can be
    read, and `address` is that of the last proxy.
    """

    address: str = ""
    scheme: str | None = None
    host: str | None = None
    prefix: str = ""
    is_by_proxy: bool = field(default=False, eq=False)
    is_unnamed: bool = field(default=False, eq=False)


NO_SOURCE: Final = Source()


@define
class Request:
    """One HTTP request. Header names are lower-case; `path` is percent-decoded.

    `source`: who asks. `rate_headers`: header fields of the answer about a rate limit. `unread`: a body was
    announced, and its end has not come. `came`: the server has all of it, and to read it waits for nothing.
    `takes_trailers`: the answer may have some. `is_over_tls`: it came by TLS, to this server or to a trusted proxy.
    `trace`: that of its span.
    """

    method: str
    path: str
    query_string: bytes = field(repr=False)
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    source: Source = field(default=NO_SOURCE, repr=False)
    takes_trailers: bool = field(default=False, repr=False)
    came: bool = field(default=False, repr=False)
    is_over_tls: bool = field(default=False, repr=False)
    rate_headers: tuple[tuple[str, str], ...] = field(init=False, default=(), repr=False)
    outcome: Outcome = field(init=False, factory=Outcome)
    trace: TraceContext | None = field(init=False, default=None, repr=False)
    unread: bool = field(init=False, default=Factory(lambda self: announces_body(self.headers), takes_self=True))
    _query: dict[str, str] | None = field(default=None, init=False, repr=False)

    @property
    def query(self) -> dict[str, str]:
        """The query parameters, the last of each name; parsed once. Raises `ProtocolError` for too many."""
        if self._query is None:
            self._query = dict(self._pairs())
        return self._query

    def _pairs(self) -> list[tuple[str, str]]:
        text = self.query_string.decode("utf-8", "replace")
        try:
            return parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_PARAMETERS) if text else []
        except ValueError:
            raise invalid(("query",), f"must hold at most {_MOST_PARAMETERS} parameters", "too_long") from None

    @property
    def parameters(self) -> dict[str, object]:
        """The query parameters for a reader of fields, which refuses those that are given twice."""
        return gathered(self._pairs())

    @property
    def a2a_version(self) -> str | None:
        """The version asked for: the header, else the query parameter."""
        version = self.headers.get(VERSION_HEADER)
        return version if version else self.query.get("A2A-Version")


def announces_body(headers: dict[str, str]) -> bool:
    """Return whether the headers of a request announce a body that is not empty."""
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"


@frozen
class Response:
    """One whole HTTP response. The body of a 304 is the one it stands for; it is not written.

    `more`: what follows `body`, in pieces. To join them would copy all of a large answer in one go. `trailers`: what
    follows the body; None for none.
    """

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    more: tuple[bytes, ...] = ()
    trailers: tuple[tuple[str, str], ...] | None = None

    @property
    def length(self) -> int:
        """Bytes of the whole body."""
        return len(self.body) + sum(map(len, self.more))


_PASSING: Final = frozenset(
    {
        ErrorKind.RATE_LIMITED,
        ErrorKind.AUTHENTICATION_UNAVAILABLE,
        ErrorKind.STORE_UNAVAILABLE,
        ErrorKind.OVERLOADED,
    }
)


def json_response(status: int, value: object, *headers: tuple[str, str]) -> Response:
    """Render a JSON response."""
    return Response(status, orjson.dumps(value), (("content-type", JSON), *headers))


_WEBSOCKET = (("upgrade", "websocket"), ("connection", "upgrade"), ("sec-websocket-version", "13"))
"""The headers that say what to ask for. HTTP/2 has only the last."""


def refusal(error: ProtocolError, version: str, challenge: str = "") -> Response:
    """Render a refusal in the shape of `version`: a guard's, or the HTTP+JSON binding's.

    `challenge`: the value of `WWW-Authenticate` for a caller who is not known; empty: none.
    """
    status, body = http_error(error, version)
    headers = [*challenge_headers(error, challenge)]
    if error.kind is ErrorKind.METHOD_NOT_ALLOWED:
        headers.append(("allow", allowed_methods(error.metadata.get("allow", ""))))
    if error.kind is ErrorKind.UPGRADE_REQUIRED:
        headers += _WEBSOCKET
    return json_response(status, body, *headers, *retry_headers(error))


def challenge_headers(error: ProtocolError, challenge: str) -> tuple[tuple[str, str], ...]:
    """Return the header that says to a caller who is not known how to prove it; none for another error."""
    return (("www-authenticate", challenge),) if error.kind is ErrorKind.UNAUTHENTICATED and challenge else ()


def retry_headers(error: ProtocolError) -> tuple[tuple[str, str], ...]:
    """Return the header `Retry-After` of an error that passes by itself; none for another."""
    if error.kind in _PASSING:
        return (("retry-after", error.metadata.get("retryAfterSeconds", "1")),)
    return ()


def allowed_methods(methods: str) -> str:
    """Return the `allow` header for these methods. GET implies HEAD, and any method implies OPTIONS."""
    names = set(methods.replace(",", " ").split())
    if "GET" in names:
        names.add("HEAD")
    return ", ".join(sorted(names | {"OPTIONS"})) if names else ""
