"""Requests that a browser makes for a page: which are carried out, and the CORS headers of their answers.

A browser sends its user's cached login along with whatever a page asks of us, so pages of other origins are refused
unless the operator allows them. Pure; the Fetch standard is at https://fetch.spec.whatwg.org/.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from attrs import frozen

from sansio.a2a.bindings import extension_headers as negotiation
from sansio.a2a.bindings import last_event_id as resume
from sansio.a2a.bindings import trace_context
from sansio.a2a.bindings.http_messages import NO_SOURCE, Source
from sansio.a2a.errors import ErrorKind, ProtocolError, shortened
from sansio.a2a.versions import HEADER as VERSION_HEADER

Headers = tuple[tuple[str, str], ...]

NULL, ANY = "null", "*"
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?")
_PORTS = {"http": ":80", "https": ":443"}
_OWN_SITES = ("same-origin", "none")
"""`Sec-Fetch-Site` of our own pages, and of what the user types. No page can set this header."""

_TRACE = (trace_context.HEADER, trace_context.STATE_HEADER)
_REQUEST_HEADERS = (
    *("accept", "authorization", "content-type", "last-event-id"),
    *(VERSION_HEADER, *negotiation.HEADERS, *_TRACE),
)
_ANSWER_HEADERS = (
    *(VERSION_HEADER, *negotiation.HEADERS, resume.HEADER),
    *("etag", "ratelimit", "ratelimit-policy", "retry-after", "www-authenticate", trace_context.HEADER),
)
_PREFLIGHT_SECONDS = 600


@frozen
class AllowedOrigins:
    """The origins whose pages may call. `names`: as browsers write them. `own`: of our public URL.

    `key_header`: the header with which a page may prove who calls, beside `Authorization`; empty: none.
    """

    names: frozenset[str] = frozenset()
    own: str = ""
    key_header: str = ""

    def has(self, origin: str) -> bool:
        """Return whether pages of this origin may call: it is listed, or everybody is."""
        return origin in self.names or ANY in self.names

    def credentials(self, origin: str) -> bool:
        """Return whether a browser may send its user's login along: only for an origin that is listed by its name."""
        return origin in self.names and origin not in (NULL, ANY)


NO_ORIGINS = AllowedOrigins()


def parse_allowed_origins(text: str) -> AllowedOrigins:
    """Parse a comma-separated list of origins, `null` or `*`. Raises `ValueError`."""
    names = frozenset(entry for entry in (entry.strip() for entry in text.split(",")) if entry)
    for name in names:
        if name not in (NULL, ANY) and not (_ORIGIN.fullmatch(name) and not _is_default_port(name)):
            raise ValueError("not an origin such as https://example.org, in lower case and without a path")
    return AllowedOrigins(names)


def _is_default_port(origin: str) -> bool:
    """Return whether an origin names the port of its scheme, which browsers leave out."""
    return origin.endswith(_PORTS.get(origin.partition(":")[0], "\0"))


def origin_of(url: str) -> str:
    """Return the origin of a URL, as browsers write it."""
    parts = urlsplit(url)
    origin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}".lower()
    return origin.removesuffix(_PORTS.get(parts.scheme.lower(), "\0"))


def check_origin(headers: Mapping[str, str], allowed: AllowedOrigins, source: Source = NO_SOURCE) -> None:
    """Refuse what a page of another origin asks for. Raises `ProtocolError` (FORBIDDEN).

    Programs that are no browsers send neither header, and pass. `source`: a trusted proxy may say which host and
    scheme the page's browser asked for.
    """
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if site in _OWN_SITES or (origin is None and site is None):
        return
    if origin is None:
        if ANY not in allowed.names:
            raise _forbidden(f"Requests of other sites' pages ({shortened(site or '')}) are refused")
    elif not (allowed.has(origin) or _is_own(origin, headers, allowed, source)):
        raise _forbidden(f"Requests of pages of {shortened(origin)} are refused; A2A_ALLOWED_ORIGINS allows origins")


def is_own_page(headers: Mapping[str, str], allowed: AllowedOrigins, source: Source = NO_SOURCE) -> bool:
    """Return whether a request comes from a page of this server, or from a program that is no browser."""
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    return origin is None or _is_own(origin, headers, allowed, source)


def _is_own(origin: str, headers: Mapping[str, str], allowed: AllowedOrigins, source: Source) -> bool:
    return (
        (origin != "" and origin == allowed.own)
        or _is_here(origin, headers.get("host", ""), source.scheme)
        or (source.host is not None and _is_here(origin, source.host, source.scheme))
    )


def _is_here(origin: str, host: str, scheme: str | None) -> bool:
    """Return whether an origin is the one a request was sent to.

    A proxy may have added TLS, so either scheme will do unless a trusted proxy says which one it was.
    """
    own, _, authority = origin.partition("://")
    if own not in _PORTS or (scheme is not None and own != scheme):
        return False
    return bool(host) and authority == host.lower().removesuffix(_PORTS[own])


def _forbidden(message: str) -> ProtocolError:
    return ProtocolError(ErrorKind.FORBIDDEN, message)


def cors_headers(headers: Mapping[str, str], allowed: AllowedOrigins) -> Headers:
    """Return the headers that let a page read an answer, errors and streams too; none where no origin is allowed."""
    if not allowed.names:
        return ()
    vary = (("vary", "Origin"),)
    origin = headers.get("origin")
    if origin is None or not allowed.has(origin):
        return vary
    exposed = ("access-control-expose-headers", ", ".join(_ANSWER_HEADERS))
    return (*_allow(origin, allowed), exposed, *vary)


def preflight(headers: Mapping[str, str], allowed: AllowedOrigins, methods: str) -> Headers:
    """Return the headers beside `Allow` of an answer to OPTIONS: whether the page may send the request it is about.

    `methods`: those of the path. Empty where no page asks, or its origin is not allowed.
    """
    origin = headers.get("origin", "")
    if "access-control-request-method" not in headers or not allowed.has(origin):
        return ()
    private = headers.get("access-control-request-private-network") == "true"
    return (
        ("access-control-allow-methods", methods),
        ("access-control-allow-headers", ", ".join(filter(None, (*_REQUEST_HEADERS, allowed.key_header.lower())))),
        ("access-control-max-age", str(_PREFLIGHT_SECONDS)),
        *((("access-control-allow-private-network", "true"),) if private else ()),
    )


def _allow(origin: str, allowed: AllowedOrigins) -> Headers:
    if origin not in allowed.names:
        return (("access-control-allow-origin", ANY),)
    named = ("access-control-allow-origin", origin)
    return (named, ("access-control-allow-credentials", "true")) if allowed.credentials(origin) else (named,)
