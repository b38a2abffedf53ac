"""The console, a page of this server: its paths, whose cookie counts, and the headers of its files.

A browser sends a cookie along with whatever any page asks for. So it counts only where a page of this origin asks,
and only with a header that no form and no link can set. Pure; cookies are in RFC 6265.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from typing import Final

from sansio.a2a.bindings.http_messages import Request
from sansio.guards.origins import AllowedOrigins, is_own_page

PATH: Final = "/console"
SESSION_PATH: Final = "/console/session"
HEADER: Final = "x-a2a-console"
"""The header of each request of the page, with any value."""

_INDEX: Final = "index.html"
_FILE: Final = re.compile(r"/console/([a-z0-9-]+\.(?:js|css|svg))")
_SECRET: Final = re.compile(r"[A-Za-z0-9_-]{43}")

CONTENT_TYPES: Final[Mapping[str, str]] = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
}
"""The media types of the page's files, by the ends of their names."""

POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "require-trusted-types-for 'script'",
    )
)
"""The page runs the scripts of this server alone, and makes HTML of nothing that it reads."""

FILE_HEADERS: Final = (
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=()"),
)
"""The headers of each file."""


def file_named(path: str) -> str | None:
    """Return the name of the file at a path; None for a path that is none of the page's files."""
    if path == PATH:
        return _INDEX
    found = _FILE.fullmatch(path)
    return found[1] if found else None


def path_of(name: str) -> str:
    """Return the path of a file, by its name."""
    return PATH if name == _INDEX else f"{PATH}/{name}"


def is_of_page(request: Request) -> bool:
    """Return whether the page itself asks, as it says. Of a browser, only a page of an allowed origin can say so."""
    return HEADER in request.headers


def secret_in(request: Request, origins: AllowedOrigins, prefix: str) -> str:
    """Return the secret of the session that a request brings; empty where none counts.

    `prefix`: the path of the public URL.
    """
    if not is_of_page(request) or "cookie" not in request.headers:
        return ""
    if not is_own_page(request.headers, origins, request.source):
        return ""
    own = {_name(request, prefix, is_secure=is_secure) for is_secure in (True, False)}
    for pair in request.headers["cookie"].split(";"):
        name, _, value = pair.strip().partition("=")
        if name in own and _SECRET.fullmatch(value):
            return value
    return ""


def cookie_of(request: Request, origins: AllowedOrigins, prefix: str, secret: str, seconds: float) -> str:
    """Return the value of `Set-Cookie` for a session; an empty secret ends it. `seconds`: until it ends.

    It is for TLS alone where the page came by that, as far as the connection, a trusted proxy or the public URL says.
    """
    is_secure = request.is_over_tls or origins.own == f"https://{_host(request)}"
    attributes = [
        f"{_name(request, prefix, is_secure=is_secure)}={secret}",
        f"Path={prefix or '/'}",
        f"Max-Age={math.ceil(seconds) if secret else 0}",
        "HttpOnly",
        "SameSite=Strict",
    ]
    return "; ".join((*attributes, "Secure") if is_secure else attributes)


def _name(request: Request, prefix: str, *, is_secure: bool) -> str:
    """Return the name of the cookie. Cookies do not know ports: each server of a host has a name of its own."""
    own = hashlib.sha256(f"{_host(request)} {prefix}".encode()).hexdigest()[:8]
    if not is_secure:
        return f"a2a-console-{own}"
    return f"{'__Secure-' if prefix else '__Host-'}a2a-console-{own}"


def _host(request: Request) -> str:
    return (request.source.host or request.headers.get("host", "")).lower()
