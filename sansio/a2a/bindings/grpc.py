"""gRPC over HTTP/2: framing of messages, metadata, deadlines and the status in the trailers.

The rules are those of gRPC's `PROTOCOL-HTTP2.md`. Knows no message: it carries bytes.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final
from urllib.parse import quote

from sansio.a2a.errors import ErrorKind, ProtocolError, invalid

MEDIA_TYPE: Final = "application/grpc"
HEADERS: Final = (("content-type", f"{MEDIA_TYPE}+proto"), ("grpc-accept-encoding", "identity"))
"""The headers of every answer."""

HEALTH: Final = "grpc.health.v1.Health"
HEALTH_PATH: Final = f"/{HEALTH}/Check"
HEALTH_PATHS: Final = frozenset({HEALTH_PATH, f"/{HEALTH}/Watch", f"/{HEALTH}/List"})
"""Paths of the methods of health, which clients ask for by themselves. `Check` alone is served."""
REFLECTIONS: Final = ("grpc.reflection.v1", "grpc.reflection.v1alpha")
REFLECTION_PATHS: Final[Mapping[str, str]] = {
    f"/{name}.ServerReflection/ServerReflectionInfo": name for name in REFLECTIONS
}
"""The paths of reflection, each with the package of its messages."""

CODES: Final[Mapping[str, int]] = {
    "OK": 0,
    "CANCELLED": 1,
    "UNKNOWN": 2,
    "INVALID_ARGUMENT": 3,
    "DEADLINE_EXCEEDED": 4,
    "NOT_FOUND": 5,
    "ALREADY_EXISTS": 6,
    "PERMISSION_DENIED": 7,
    "RESOURCE_EXHAUSTED": 8,
    "FAILED_PRECONDITION": 9,
    "ABORTED": 10,
    "OUT_OF_RANGE": 11,
    "UNIMPLEMENTED": 12,
    "INTERNAL": 13,
    "UNAVAILABLE": 14,
    "DATA_LOSS": 15,
    "UNAUTHENTICATED": 16,
}
"""The codes of a status by their names."""

OK: Final = (("grpc-status", "0"),)
"""The trailers of what went well."""

_PREFIX: Final = 5  # bytes before a message: whether it is compressed, and its length
_LARGEST: Final = 2**32 - 1  # bytes that a prefix can name; of a whole request, its body is the bound
_PRINTABLE: Final = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
_TIMEOUT: Final = re.compile(r"([0-9]{1,8})([HMSmun])")
_UNITS: Final[Mapping[str, float]] = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


def is_grpc(headers: Mapping[str, str]) -> bool:
    """Return whether a request is one of gRPC, by its content type. One of gRPC-Web is none."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == MEDIA_TYPE or kind.startswith(f"{MEDIA_TYPE}+")


def framed(message: bytes) -> bytes:
    """Return a message with its prefix."""
    return b"\x00%b%b" % (len(message).to_bytes(4, "big"), message)


def framed_pieces(pieces: Sequence[bytes]) -> list[bytes]:
    """Return a message that comes in pieces, one at least, with its prefix."""
    first, *more = pieces
    return [b"\x00%b%b" % (sum(map(len, pieces)).to_bytes(4, "big"), first), *more]


def message_in(body: bytes) -> bytes:
    """Return the one message of a request. Raises `ProtocolError`: INVALID_REQUEST, METHOD_NOT_FOUND.

    A compressed one is refused, as no compression is offered: a small message could become a large one.
    """
    reader = MessageReader(_LARGEST)
    messages = reader.feed(body)
    reader.end()
    if len(messages) != 1:
        raise _cut()
    return messages[0]


class MessageReader:
    """Takes bytes in any chunking and gives the messages in them. `limit`: bytes of one."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()

    @property
    def held(self) -> int:
        """Bytes of a message whose end has not come."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """Return the messages that are whole now. Raises `ProtocolError` for one too large, or compressed."""
        return list(self.messages(data))

    def messages(self, data: bytes) -> Iterator[bytes]:
        """Yield the messages that are whole now; consume it whole.

        Raises `ProtocolError` for one too large, or compressed, after those before it.
        """
        self._buffer += data
        start = 0
        while len(self._buffer) - start >= _PREFIX:
            _check_flag(self._buffer[start])
            length = int.from_bytes(self._buffer[start + 1 : start + _PREFIX], "big")
            if length > self._limit:
                raise ProtocolError(ErrorKind.PAYLOAD_TOO_LARGE, f"A message is larger than {self._limit} bytes")
            end = start + _PREFIX + length
            if end > len(self._buffer):
                break
            message = bytes(self._buffer[start + _PREFIX : end])
            start = end
            yield message
        del self._buffer[:start]

    def end(self) -> None:
        """Take the end of the bytes. Raises `ProtocolError` where a message is cut."""
        if self._buffer:
            raise _cut()


def _check_flag(compressed: int) -> None:
    if compressed:
        raise ProtocolError(ErrorKind.METHOD_NOT_FOUND, "A message is compressed, and no compression is supported")


def _cut() -> ProtocolError:
    return ProtocolError(ErrorKind.INVALID_REQUEST, "There must be one message, whole and with its length")


def timeout(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that the client waits for the whole answer; None: it does not say.

    Raises `ProtocolError` naming the header where its value is none.
    """
    text = headers.get("grpc-timeout")
    if text is None:
        return None
    found = _TIMEOUT.fullmatch(text)
    if found is None:
        raise invalid(("grpc-timeout",), "must be a number of at most 8 digits and a unit of H, M, S, m, u or n")
    return int(found[1]) * _UNITS[found[2]]


def trailers(code: str, message: str, details: bytes) -> tuple[tuple[str, str], ...]:
    """Return the trailers of a status. `code`: a name of `CODES`. `details`: a serialized `google.rpc.Status`."""
    return (
        ("grpc-status", str(CODES[code])),
        ("grpc-message", quote(message, safe=_PRINTABLE)),
        ("grpc-status-details-bin", base64.b64encode(details).decode().rstrip("=")),
    )
