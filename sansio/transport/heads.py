"""Request heads of HTTP/1.1: the ones that two servers might read in two ways, their size, and their target.

RFC 9112, sections 2.2, 5.2, 6.1 and 6.3: a proxy in front of this server may frame such a request differently, and
what one of them takes for a body the other takes for a second request. They are refused before they are parsed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from attrs import define, frozen

_END = re.compile(rb"\r?\n\r?\n")  # as a lenient server finds it
_FOLDED = re.compile(rb"\n[ \t]")
_FRAMING = re.compile(rb"\n(content-length|transfer-encoding)[ \t]*:([^\n]*)", re.IGNORECASE)
_BARE = re.compile(rb"(?<!\r)\n")
_EMPTY_LINES = re.compile(rb"(\r\n){0,8}\r?\Z|(\r\n){0,8}")
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)([^#]*)", re.IGNORECASE)
_OLD = re.compile(rb"HTTP/1\.0[ \t]*\r?\n")
_LAST_CHUNK = re.compile(rb"(?:\r?\n)?0{1,20}(?![0-9A-Fa-f])[^\n]*\n")  # with the end of the chunk before


LONGEST_LINE: Final = 8192
"""Bytes of a request line, or of the target of a request over HTTP/2."""

LONGEST_FIELDS: Final = 16384
"""Bytes of all header fields of a request."""


MOST_FIELDS: Final = 128
"""Header fields of a request, and trailer fields behind its body. To parse one costs far more than its bytes do."""


LARGEST_LIST: Final = LONGEST_LINE + LONGEST_FIELDS + 32 * (MOST_FIELDS + 8)
"""Bytes of a header list over HTTP/2, with 32 for each field (RFC 9113, section 6.5.2). A larger one is an error."""


@frozen
class Refusal:
    """The status that refuses a request, and the reason for the log.

    414: the request line (RFC 9110, section 15.5.15). 431: the fields (RFC 6585, section 5). 400: it is ambiguous.
    """

    status: int
    reason: str


TOO_LONG: Final = Refusal(414, "the request line is too long")
TOO_LARGE: Final = Refusal(431, "the header fields are too large")
TOO_MANY: Final = Refusal(431, "there are too many header fields")


@define
class HeadScan:
    """Judges a request head while its bytes come in, in pieces of any size. Each byte is looked at once.

    Bytes are counted, and line ends with them; nothing is parsed. A head that is not complete is refused as soon as
    it is too large, has too many fields, or a line without CR.
    """

    _seen: int = 0  # bytes that were looked at
    _line: int = -1  # where the request line ends
    _fields: int = 0

    def look(self, data: bytes) -> Refusal | None:
        """Return why the head is refused; None for a good one, and for one that may become good.

        `data`: what came since the head began, and whatever follows it. Ends with a look at a whole head.
        """
        start, self._seen = self._seen, len(data)
        if self._line < 0:
            self._line = data.find(b"\n", start, LONGEST_LINE + 2)
            if self._line < 0:
                return TOO_LONG if len(data) >= LONGEST_LINE + 2 else None
        most = self._line + LONGEST_FIELDS + 5
        found = _END.search(data, max(self._line - 1, start - 3), most)
        end = min(len(data), most) if found is None else found.end()
        self._fields += data.count(b"\n", max(start, self._line + 1), end)
        if found is None and len(data) >= most:
            return TOO_LARGE
        if self._fields - (found is not None) > MOST_FIELDS:
            return TOO_MANY
        if data.count(b"\n", start, end) != data.count(b"\r\n", max(0, start - 1), end):
            return Refusal(400, "a line ends without CR")
        reason = None if found is None else ambiguity(data[:end])
        return None if reason is None else Refusal(400, reason)


def refused_fields(target: bytes, fields: Iterable[tuple[bytes, bytes]]) -> Refusal | None:
    """Return why a request whose head is parsed already is refused for its size; None for another one."""
    if len(target) > LONGEST_LINE:
        return TOO_LONG
    sizes = [len(name) + len(value) + 4 for name, value in fields]
    if sum(sizes) > LONGEST_FIELDS:
        return TOO_LARGE
    return TOO_MANY if len(sizes) > MOST_FIELDS else None


def last_chunk(data: bytes) -> int | None:
    """Return where the trailer section begins, if the last chunk of a body is at the start of `data`, or None.

    The end of the chunk before, or the rest of it, may come first.
    """
    found = _LAST_CHUNK.match(data)
    return None if found is None else found.end()


def refused_trailers(data: bytes) -> Refusal | None:
    """Return why the trailer section at the start of `data`, complete or not, is refused; None for another one."""
    ends = [at + 1 for at in (data.find(b"\n\r\n"), data.find(b"\n\n")) if at >= 0]
    end = 0 if data.startswith((b"\r\n", b"\n")) else min(ends, default=len(data))
    return TOO_MANY if data.count(b"\n", 0, end) > MOST_FIELDS else None


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
