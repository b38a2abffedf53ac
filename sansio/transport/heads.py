"""Request heads of HTTP/1.1: the ones that two servers might read in two ways, their size, and their target.

RFC 9112, sections 2.2, 5.2, 6.1 and 6.3: a proxy in front of this server may frame such a request differently, and
what one of them takes for a body the other takes for a second request. They are refused before they are parsed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

_END = re.compile(rb"\r?\n\r?\n")  # as a lenient server finds it
_FOLDED = re.compile(rb"\n[ \t]")
_FRAMING = re.compile(rb"\n(content-length|transfer-encoding)[ \t]*:([^\n]*)", re.IGNORECASE)
_BARE = re.compile(rb"(?<!\r)\n")
_EMPTY_LINES = re.compile(rb"(\r\n){0,8}\r?\Z|(\r\n){0,8}")
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)([^#]*)", re.IGNORECASE)
_OLD = re.compile(rb"HTTP/1\.0[ \t]*\r?\n")


LONGEST_LINE: Final = 8192
"""Bytes of a request line, or of the target of a request over HTTP/2."""

LONGEST_FIELDS: Final = 16384
"""Bytes of all header fields of a request."""


def oversize(data: bytes) -> int | None:
    """Return the status that refuses the request head at the start of `data` for its size; None for another one.

    414 for the request line (RFC 9110, section 15.5.15), 431 for the header fields (RFC 6585, section 5). A head
    that is not complete is refused as soon as it is too large.
    """
    line = data.find(b"\n", 0, LONGEST_LINE + 2)
    if line < 0:
        return 414 if len(data) >= LONGEST_LINE + 2 else None
    end = _END.search(data, max(0, line - 1), line + LONGEST_FIELDS + 5)
    if end is None and len(data) > line + LONGEST_FIELDS + 4:
        return 431
    return None


def oversize_fields(target: bytes, fields: Iterable[tuple[bytes, bytes]]) -> int | None:
    """Return what `oversize` does for a request whose head is parsed already."""
    if len(target) > LONGEST_LINE:
        return 414
    size = sum(len(name) + len(value) + 4 for name, value in fields)
    return 431 if size > LONGEST_FIELDS else None


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
