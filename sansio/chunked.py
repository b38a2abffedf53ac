"""Decoder of the chunked transfer coding (RFC 9112, section 7.1) of a long event stream, fast.

An event bus sends every event as a chunk of its own, and h11 spends some ten microseconds on each: this takes a tenth
of that. Only for bodies whose head h11 has parsed as chunked; whole answers stay with h11.
"""

from __future__ import annotations

import re

from sansio.a2a.errors import ErrorKind, ProtocolError

_LINE_LIMIT = 4096
_HEX = frozenset(b"0123456789abcdefABCDEF")
_HEAD = re.compile(rb"([0-9a-fA-F]{1,16})\r\n")


class ChunkedDecoder:
    """Bytes in any pieces in, the body's bytes out. `ended` once the last chunk has come.

    `fault` is set where what came is not chunked: what stood before it has been given all the same.
    """

    def __init__(self) -> None:
        self.ended: bool = False
        self.fault: ProtocolError | None = None
        self._buffer = b""
        self._remaining = 0  # bytes of the current chunk that have not come
        self._closing = False  # the chunk's data is whole, its line end is due

    def feed(self, data: bytes) -> bytes:
        """Decode what came. Raises `ProtocolError` (INVALID_AGENT_RESPONSE) once there is a fault."""
        if self.fault is not None:
            raise self.fault
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        body: list[bytes] = []
        at, size = 0, len(data)
        while at < size and not self.ended:
            if not (self._remaining or self._closing) and (head := _HEAD.match(data, at)) is not None:
                begin = head.end()
                end = begin + int(head[1], 16)
                if data.startswith(b"\r\n", end) and end > begin:  # a whole chunk, as nearly all are
                    body.append(data[begin:end])
                    at = end + 2
                    continue
            if self._remaining:
                piece = data[at : at + self._remaining]
                body.append(piece)
                at += len(piece)
                self._remaining -= len(piece)
                self._closing = not self._remaining
                continue
            end = data.find(b"\r\n", at)
            try:
                if end < 0:
                    self._unfinished(data[at:])
                    break
                self._line(data[at:end])
            except ProtocolError as exc:
                self.fault = exc
                if not body:
                    raise
                break
            at = end + 2
        return body[0] if len(body) == 1 else b"".join(body)

    def _line(self, line: bytes) -> None:
        """Parse the end of a chunk's data, or the size of the next."""
        if not self._closing:
            self._remaining = _chunk_size(line)
            self.ended = not self._remaining
        elif line:
            raise _broken("a chunk is longer than it said")
        self._closing = False

    def _unfinished(self, line: bytes) -> None:
        """Keep a line whose end has not come, unless it is wrong already."""
        if self._closing and line != b"\r":
            raise _broken("a chunk is longer than it said")
        if len(line) > _LINE_LIMIT:
            raise _broken("a line is too long")
        self._buffer = line


def _chunk_size(line: bytes) -> int:
    digits = line.partition(b";")[0].rstrip(b" \t")
    if not 0 < len(digits) <= 16 or not _HEX.issuperset(digits):
        raise _broken("a chunk's size is not a hexadecimal number")
    return int(digits, 16)


def _broken(what: str) -> ProtocolError:
    return ProtocolError(ErrorKind.INVALID_AGENT_RESPONSE, f"The chunked transfer coding is broken: {what}")
