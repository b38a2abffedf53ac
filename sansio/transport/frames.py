"""HTTP/2 frames that cost a server work and get a client nothing: counted against the client's useful work.

Pure. Reads frame headers off the bytes of one connection (RFC 9113, section 4.1), ahead of the protocol's own
parser, so that a flood is not parsed.
"""

from __future__ import annotations

from typing import Final

from attrs import define

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS = 0x0, 0x1, 0x3, 0x4
_END_STREAM, _PADDED = 0x1, 0x8
LARGEST_FRAME: Final = 16_384
"""Bytes of a frame's payload, as HTTP/2 has it where the settings say nothing (RFC 9113, section 6.5.2)."""
_HEAD = 9  # bytes of a frame header
_RESET = 2
_SMALL = 64  # bytes; a DATA frame with fewer costs more to parse than it carries
_MOST_PADDING = 256  # bytes, with the one that counts them
_FEW_SETTINGS = 60  # bytes, which are ten settings; each one more is work, too


@define
class FrameBudget:
    """Budget of a client's control frames: full at first, refilled by time and by answers.

    PING, PRIORITY, WINDOW_UPDATE, CONTINUATION, unknown frames and DATA of few bytes beside its padding cost 1,
    SETTINGS 1 and as much for each ten of them, RST_STREAM 2; HEADERS, larger DATA and the last DATA of a request
    cost nothing. A fault that makes the server reset or refuse a stream costs 2. Each piece of an answer that is sent
    pays for `per_piece`, since a client acknowledges it.
    """

    now: float
    most: float = 200.0
    per_second: float = 10.0
    per_piece: float = 4.0
    _left: float = 200.0
    _skip: int = len(PREFACE)
    _partial: bytes = b""

    def sent(self) -> None:
        """Record that a piece of an answer is sent."""
        self._left = min(self.most, self._left + self.per_piece)

    def provoked(self) -> bool:
        """Count a stream that had to be reset or refused; False once the client has spent more than it may."""
        self._left -= _RESET
        return self._left >= 0

    def take(self, data: bytes, now: float) -> bool:
        """Count the frames that begin in `data`; False once the client has spent more than it may.

        So it is at the head of a frame that is too large: the parser would wait for all of it, up to 16 MiB.
        """
        self._left = min(self.most, self._left + (now - self.now) * self.per_second)
        self.now = now
        if self._partial:
            data, self._partial = self._partial + data, b""
        at, size = self._skip, len(data)
        while at + _HEAD <= size:
            length = int.from_bytes(data[at : at + 3], "big")
            self._left -= _cost(data[at + 3], data[at + 4], length)
            if self._left < 0 or length > LARGEST_FRAME:
                return False
            at += _HEAD + length
        if at < size:
            self._partial, self._skip = data[at:], 0
        else:
            self._skip = at - size
        return True


def _cost(kind: int, flags: int, length: int) -> int:
    if kind == _HEADERS:
        return 0
    if kind == _DATA:  # the padding's length is part of the payload, which may not have come yet
        least = _SMALL + (_MOST_PADDING if flags & _PADDED else 0)
        return 0 if length >= least or flags & _END_STREAM else 1
    if kind == _SETTINGS:
        return 1 + length // _FEW_SETTINGS
    return _RESET if kind == _RST_STREAM else 1
