"""Request heads of HTTP/1.1: the ones that two servers might read in two ways, and the target of a request.

RFC 9112, sections 2.2, 5.2, 6.1 and 6.3: a proxy in front of this server may frame such a request differently, and
what one of them takes for a body the other takes for a second request. They are refused before they are parsed.
"""

from __future__ import annotations

import re

_END = re.compile(rb"\r?\n\r?\n")  # as a lenient server finds it
_FOLDED = re.compile(rb"\n[ \t]")
_FRAMING = re.compile(rb"\n(content-length|transfer-encoding)[ \t]*:([^\n]*)", re.IGNORECASE)
_BARE = re.compile(rb"(?<!\r)\n")
_EMPTY_LINES = re.compile(rb"(\r\n){0,8}\r?\Z|(\r\n){0,8}")
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)([^#]*)", re.IGNORECASE)
_OLD = re.compile(rb"HTTP/1\.0[ \t]*\r?\n")


def ambiguity(data: bytes) -> str | None:
    """Return the reason why the request head at the start of `data` is ambiguous; `None` for a good or incomplete
    one.
    """
    end = _END.search(data)
    if _BARE.search(data, 0, len(data) if end is None else end.end()):
        return "a line ends without CR"
    if end is None:
        return None
    head = data[: end.start() + 2]
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


def empty_lines(data: bytes) -> int:
    """Count the bytes of empty lines ahead of a request line (RFC 9112, section 2.2), eight lines at most.

    A last CR alone is the first half of such a line.
    """
    found = _EMPTY_LINES.match(data)
    return 0 if found is None else found.end()


def target(raw: bytes) -> tuple[bytes, bytes | None]:
    """Split a request target into path with query, and authority; None where the target has no authority.

    The authority of an absolute target replaces the Host header (RFC 9112, section 3.2.2).
    """
    found = _ABSOLUTE.fullmatch(raw)
    if found is None:
        return raw, None
    authority, path = found.groups()
    return (path if path.startswith(b"/") else b"/" + path), authority
