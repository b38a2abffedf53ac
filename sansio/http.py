"""The guards that every HTTP request passes, in order, before it is parsed.

Pure decisions; the ASGI shell reads and writes the bytes.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache

from attrs import evolve

from sansio.a2a.bindings import extension_headers as negotiation
from sansio.a2a.bindings import grpc, rest
from sansio.a2a.bindings.http_messages import Request, Response, allowed_methods, announces_body
from sansio.a2a.cards.parse import CARD_PATHS
from sansio.a2a.cards.signatures import JWKS_PATH
from sansio.a2a.errors import ErrorKind, ProtocolError, shortened
from sansio.a2a.media_types import A2A_JSON, JSON
from sansio.a2a.operations import GRPC_PATHS
from sansio.a2a.websocket import messages as websocket
from sansio.guards import console, proxies
from sansio.guards.origins import NO_ORIGINS, AllowedOrigins, check_origin, preflight

HEALTH_PATH, OPENAPI_PATH = "/health", "/openapi.json"
LIVE_PATH, READY_PATH = "/livez", "/readyz"
METRICS_PATH = "/metrics"
METRICS_CAPABILITY = "metrics"
"""The capability that a credential needs to read the metrics."""
PROBE_PATHS = frozenset({LIVE_PATH, READY_PATH})
GRPC_SERVICE_PATHS = frozenset({grpc.HEALTH_PATH, *grpc.REFLECTION_PATHS})
"""The paths of the services of gRPC that everybody may use."""
DOCUMENT_PATHS = frozenset({OPENAPI_PATH, JWKS_PATH, *CARD_PATHS})
_PUBLIC_PATHS = DOCUMENT_PATHS | PROBE_PATHS
# all others are operations
_FIXED_PATHS = {
    "/": "POST",
    **dict.fromkeys((HEALTH_PATH, METRICS_PATH, OPENAPI_PATH, JWKS_PATH, *PROBE_PATHS, *CARD_PATHS), "GET"),
}
WEBSOCKET_PATHS = {websocket.PATH: "GET", websocket.TICKET_PATH: "POST"}
"""The paths of the WebSocket binding, where it is served."""
_LISTS = frozenset(
    {
        *(*negotiation.HEADERS, *proxies.LISTS, "accept-encoding", "if-none-match", "sec-websocket-protocol"),
        *("traceparent", "tracestate"),
        "grpc-timeout",  # which is no list: two of them are read as one that is none
    }
)
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"})
_NO_PATHS: Mapping[str, str] = {}
_ONCE = frozenset({b"authorization", b"content-length", b"content-type", b"host", b"origin"})
BODY_SECONDS, BODY_RATE = 30.0, 4096
"""Time for a request body to arrive: so many seconds, and one more for each so many bytes that came."""
_WEIGHT = re.compile(r"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")


def header_map(headers: object) -> dict[str, str]:
    """Return ASGI's header pairs as a map. Of a repeated name the last counts, unless its values are lists."""
    pairs = headers if isinstance(headers, list | tuple) else ()
    found: dict[str, str] = {}
    for raw_name, raw_value in pairs:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        if name in found and (name in _LISTS or name == "cookie"):
            # HTTP/2 may have each cookie in a field of its own (RFC 9113, section 8.2.3)
            value = f"{found[name]}{'; ' if name == 'cookie' else ', '}{value}"
        found[name] = value
    return found


def check_repeated(headers: object, credentials: Collection[str] = ()) -> None:
    """Refuse a request with two values of a header that decides who asks, or what is asked.

    `headers`: ASGI's pairs. `credentials`: names of headers with credentials. A proxy may look at one of the two and
    this server at the other. Raises `ProtocolError` (INVALID_REQUEST).
    """
    pairs = headers if isinstance(headers, list | tuple) else ()
    once = _names_that_come_once(tuple(credentials))
    seen: set[bytes] = set()
    for name, _ in pairs:
        if name in once:
            if name in seen:
                raise ProtocolError(ErrorKind.INVALID_REQUEST, f"The header {name.decode()} comes twice")
            seen.add(name)


def end_to_end(headers: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Return the header fields without those of one connection, which HTTP/2 does not have (RFC 9113, section 8.2.2).

    They are those that each of them stands for, and those that `connection` names (RFC 9110, section 7.6.1).
    """
    named = {part.strip().lower() for name, value in headers if name == "connection" for part in value.split(",")}
    return tuple(pair for pair in headers if pair[0] not in _HOP_BY_HOP and pair[0] not in named)


@lru_cache(maxsize=8)
def _names_that_come_once(credentials: tuple[str, ...]) -> frozenset[bytes]:
    return _ONCE.union(name.lower().encode() for name in credentials)


def check_length(headers: dict[str, str], limit: int) -> None:
    """Refuse by the announced length, before a byte of the body is read. `limit` 0: none."""
    announced = headers.get("content-length", "")
    if limit and announced.isascii() and announced.isdigit() and int(announced[:20]) > limit:
        raise too_large(limit)


_BODY_MEANS_NOTHING = frozenset({"GET", "HEAD", "OPTIONS", "DELETE"})
_JSON_TYPE = re.compile(r"application/([a-z0-9.!#$&^_-]+\+)?json", re.IGNORECASE)


def check_media_type(request: Request) -> None:
    """Refuse a body that is not declared as JSON: a page can send any other without a preflight request.

    `curl -d` declares a form. A body of a request whose method gives it no meaning is not looked at. Raises
    `ProtocolError` (UNSUPPORTED_MEDIA_TYPE).
    """
    if request.method in _BODY_MEANS_NOTHING:
        return
    if not (request.body or announces_body(request.headers)):
        return
    given = request.headers.get("content-type", "")
    if not _JSON_TYPE.fullmatch(given.partition(";")[0].strip()):
        came = shortened(given) or "nothing"
        raise ProtocolError(
            ErrorKind.UNSUPPORTED_MEDIA_TYPE,
            f"The request body must be JSON, and say so: add the header 'Content-Type: application/json' "
            f"(curl: -H 'Content-Type: application/json'); it says {came}",
            metadata={"contentType": came, "supported": f"{JSON}, {A2A_JSON}"},
        )


def without_prefix(method: str, path: str, prefix: str) -> str:
    """Return a request's path below the public URL, whose path is `prefix`; proxies strip it, or do not.

    What is a path of ours as it is stays so, unless the prefix would be its tenant.
    """
    if not prefix or not (path == prefix or path.startswith(f"{prefix}/")):
        return path
    return path if _is_plain(method, path) else path.removeprefix(prefix) or "/"


def route_template(method: str, path: str) -> str | None:
    """Return the template of a request's path, as telemetry names it; None for a path that is not known.

    There are as many as the tables have: no id and no tenant is in one.
    """
    if path in (console.PATH, console.SESSION_PATH):
        return path
    if console.file_named(path) is not None:
        return f"{console.PATH}/{{file}}"
    if path in _FIXED_PATHS or path in GRPC_PATHS or path in GRPC_SERVICE_PATHS or path in WEBSOCKET_PATHS:
        return path
    return rest.template_of("GET" if method == "HEAD" else method, path)


def _is_plain(method: str, path: str) -> bool:
    """Return whether a path is known, and names no tenant."""
    try:
        return path in _FIXED_PATHS or rest.route("GET" if method == "HEAD" else method, path).tenant is None
    except ProtocolError:
        return False


def too_large(limit: int) -> ProtocolError:
    """Make the error for a body of more than `limit` bytes."""
    return ProtocolError(
        ErrorKind.PAYLOAD_TOO_LARGE,
        f"The request body is larger than {limit} bytes",
        data={"type": "PAYLOAD_TOO_LARGE", "max_bytes": limit},
        metadata={"maxBytes": str(limit)},
    )


def answer_before_body(
    request: Request, origins: AllowedOrigins = NO_ORIGINS, more: Mapping[str, str] = _NO_PATHS
) -> Response | None:
    """Return the answer that depends on method and path alone and needs no credentials; `None` for other requests.

    `more`: methods of paths that not every server has.

    OPTIONS lists what a path allows (RFC 9110, section 9.3.7). Raises `ProtocolError`: NOT_FOUND for OPTIONS of a
    path that is not there, METHOD_NOT_ALLOWED for CONNECT, whose target is no path, FORBIDDEN for a page of another
    origin. What everybody may read is not refused: without a header of ours no page gets to see it.
    """
    if request.path not in _PUBLIC_PATHS and console.file_named(request.path) is None:
        check_origin(request.headers, origins, request.source)
    if request.method == "CONNECT":
        raise ProtocolError(ErrorKind.METHOD_NOT_ALLOWED, "This server is no proxy")
    if request.method != "OPTIONS":
        return None
    if request.path == "*":
        return Response(204, b"", (("allow", allowed_methods("GET, POST")),))
    methods = allowed_methods(
        _FIXED_PATHS.get(request.path) or more.get(request.path) or rest.methods_of(request.path)
    )
    return Response(204, b"", (("allow", methods), *preflight(request.headers, origins, methods)))


# --- compression ------------------------------------------------------------------------------------------


def accepts_gzip(accept_encoding: str | None) -> bool:
    """Return whether to compress for a client with this `Accept-Encoding` (RFC 9110, section 12.5.3).

    Without the header, or where it likes the plain body better, it gets that. A weight that is none counts as 0.
    """
    weights: dict[str, float] = {}
    for member in (accept_encoding or "").split(","):
        coding, *parameters = (part.strip().lower() for part in member.split(";"))
        if coding:
            weights[coding] = _weight(parameters)
    gzip = weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0)))
    return gzip > 0 and gzip >= weights.get("identity", 0.0)


def _weight(parameters: list[str]) -> float:
    if not parameters:
        return 1.0
    found = _WEIGHT.fullmatch(parameters[0])
    return float(found[1]) if found and len(parameters) == 1 else 0.0


def negotiate_coding(response: Response, accept_encoding: str | None, minimum: int) -> tuple[Response, bool]:
    """Return the response with the headers it has for this client, and whether its body is to be sent in gzip.

    JSON of `minimum` bytes or more may be compressed, 0: none at all. The compressed bytes are not those that a
    strong entity tag was made for, so theirs is weak. A 304 has the headers of what it stands for.
    """
    kind = dict(response.headers).get("content-type", "")
    compressible = response.status in (200, 304) and kind in (JSON, A2A_JSON)
    if not compressible or not minimum or response.length < minimum:
        return response, False
    headers = (*response.headers, ("vary", "Accept-Encoding"))
    if not accepts_gzip(accept_encoding):
        return evolve(response, headers=headers), False
    headers = tuple((name, _weak(value) if name == "etag" else value) for name, value in headers)
    if response.status == 304:
        return evolve(response, headers=headers), False
    return evolve(response, headers=(*headers, ("content-encoding", "gzip"))), True


def _weak(etag: str) -> str:
    return etag if etag.startswith("W/") else f"W/{etag}"
