"""Header blocks of HTTP/2: how many fields one has, counted before it is decoded (RFC 7541, section 6).

A field may take one byte, and a change of the table's size does, too. To decode either costs some microseconds.
Whoever refuses a block ends its connection, since the decoder's table is part of what was not decoded.
"""

from __future__ import annotations

from typing import Final

from sansio.transport.heads import LARGEST_LIST, MOST_FIELDS

MOST_ENTRIES: Final = 2 * MOST_FIELDS
"""Entries of a block that is decoded: a request with somewhat more than `MOST_FIELDS` still gets its answer."""

_INDEXED, _INDEXING, _SIZE = 0x80, 0x40, 0x20


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
