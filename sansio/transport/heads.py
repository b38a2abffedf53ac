"""Request heads of HTTP/1.1 that two servers might read in two ways.

RFC 9112, sections 5.2, 6.1 and 6.3: a proxy in front of this server may frame such a request differently, and what
one of them takes for a body the other takes for a second request. They are refused before they are parsed.
"""

from __future__ import annotations

import re

_END = re.compile(rb"\r?\n\r?\n")
_FOLDED = re.compile(rb"\n[ \t]")
_FRAMING = re.compile(rb"\n(content-length|transfer-encoding)[ \t]*:([^\n]*)", re.IGNORECASE)
_OLD = re.compile(rb"HTTP/1\.0[ \t]*\r?\n")


def ambiguity(data: bytes) -> str | None:
    """What makes the request head at the start of ``data`` ambiguous; None for a good or an incomplete one."""
    end = _END.search(data)
    if end is None:
        return None
    head = data[: end.start() + 1]
    if _FOLDED.search(head):
        return "a header line is folded"
    found: dict[bytes, bytes] = {}
    for name, value in _FRAMING.findall(head):
        name = name.lower()
        if name in found:
            return f"{name.decode().title()} comes twice"
        found[name] = value.strip(b" \t\r")
    length, coding = found.get(b"content-length"), found.get(b"transfer-encoding")
    if length is not None and not length.isdigit():
        return "Content-Length is not a number"
    if coding is None:
        return None
    if length is not None:
        return "Content-Length and Transfer-Encoding come together"
    if coding.lower() != b"chunked":
        return "Transfer-Encoding is not chunked"
    if _OLD.search(head):
        return "HTTP/1.0 has no Transfer-Encoding"
    return None
