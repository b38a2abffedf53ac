"""Header blocks of HTTP/2: encoded, and how many fields one has, counted before it is decoded (RFC 7541, section 6).

A field may take one byte, and a change of the table's size does, too. To decode either costs some microseconds.
Whoever refuses a block ends its connection, since the decoder's table is part of what was not decoded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from sansio.transport.heads import LARGEST_LIST, MOST_FIELDS

MOST_ENTRIES: Final = 2 * MOST_FIELDS
"""Entries of a block that is decoded: a request with somewhat more than `MOST_FIELDS` still gets its answer."""

_INDEXED, _INDEXING, _SIZE = 0x80, 0x40, 0x20
_STATUSES: Final[Mapping[bytes, bytes]] = {
    status: bytes((_INDEXED | entry,))
    for entry, status in enumerate((b"200", b"204", b"206", b"304", b"400", b"404", b"500"), 8)
}
"""The entries of the static table for statuses (RFC 7541, appendix A)."""


def is_costly(block: bytes) -> bool:
    """Return whether a block is too long, or has too many entries, to be decoded. A malformed one is counted too."""
    if len(block) > LARGEST_LIST:
        return True
    at = count = 0
    while at < len(block):
        count += 1
        if count > MOST_ENTRIES:
            return True
        at = _behind(block, at)
    return False


def changes_table(block: bytes) -> bool:
    """Return whether a block that is not costly changes the decoder's table, or its size."""
    at = 0
    while at < len(block):
        first = block[at]
        if not first & _INDEXED and first & (_INDEXING | _SIZE):
            return True
        at = _behind(block, at)
    return False


def _behind(block: bytes, at: int) -> int:
    """Return where the entry at `at` ends."""
    first = block[at]
    if first & _INDEXED:
        return _integer(block, at, 0x7F)[1]
    if not first & _INDEXING and first & _SIZE:
        return _integer(block, at, 0x1F)[1]
    name, at = _integer(block, at, 0x3F if first & _INDEXING else 0x0F)
    if not name:
        at = _behind_text(block, at)
    return _behind_text(block, at)


def _behind_text(block: bytes, at: int) -> int:
    length, at = _integer(block, at, 0x7F)
    return at + length


def _integer(block: bytes, at: int, mask: int) -> tuple[int, int]:
    """Return the integer at `at`, whose first byte has these bits for it, and where it ends."""
    if at >= len(block):
        return 0, at + 1
    value = block[at] & mask
    at += 1
    if value < mask:
        return value, at
    shift = 0
    while at < len(block):
        value += (block[at] & 0x7F) << shift
        shift = min(shift + 7, 63)  # of a longer one, the end alone matters
        at += 1
        if not block[at - 1] & 0x80:
            break
    return value, at


def encoded(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Encode fields as literals without a table (RFC 7541, section 6.2.2), so that it takes a microsecond for each.

    A name is not looked for in a table either; `:status` alone has its entry there.
    """
    pieces: list[bytes] = []
    for name, value in fields:
        status = _STATUSES.get(value) if name == b":status" else None
        if status is not None:
            pieces.append(status)
        elif len(name) < 0x7F and len(value) < 0x7F:
            pieces.append(b"\0%c%b%c%b" % (len(name), name, len(value), value))
        else:
            pieces.append(b"\0%b%b%b%b" % (_length(len(name)), name, _length(len(value)), value))
    return b"".join(pieces)


def _length(size: int) -> bytes:
    """Encode the length of a text that is not compressed (RFC 7541, sections 5.1 and 5.2)."""
    if size < 0x7F:
        return bytes((size,))
    size -= 0x7F
    found = bytearray((0x7F,))
    while size >= 0x80:
        found.append(size & 0x7F | 0x80)
        size >>= 7
    found.append(size)
    return bytes(found)
