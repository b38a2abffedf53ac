"""The stream of a call as Server-Sent Events, which two bindings have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from attrs import frozen

from sansio.a2a.bindings import sse
from sansio.a2a.bindings.http_messages import Response
from sansio.a2a.bindings.json_output import Steps, encoded_pieces
from sansio.a2a.media_types import EVENT_STREAM
from sansio.a2a.model import JsonObject
from sansio.a2a.serving.call import Call

STREAM_HEADERS = (
    ("content-type", f"{EVENT_STREAM}; charset=utf-8"),
    ("cache-control", "no-store"),
    ("x-accel-buffering", "no"),
)
_JOINED = 65536  # bytes of an answer up to which its pieces are joined; to copy more would hold the loop


@frozen(kw_only=True)
class SseCall(Call):
    """A call whose stream is one of Server-Sent Events. `prefix` and `suffix`: the envelope of a result."""

    keep_alive: ClassVar[bytes] = sse.COMMENT

    @property
    def prefix(self) -> bytes:
        """The envelope before a result."""
        return b""

    @property
    def suffix(self) -> bytes:
        """The envelope after a result."""
        return b""

    @property
    def stream_headers(self) -> tuple[tuple[str, str], ...]:
        """The headers of a stream."""
        return (*STREAM_HEADERS, *self.headers)

    def frame(self, number: int, encoded: bytes) -> bytes:
        """Render one event of a stream. `encoded`: a stream item, by `encode`."""
        return b"id: %d\ndata: %b%b%b\n\n" % (number, self.prefix, encoded, self.suffix)

    def frame_in_steps(self, number: int, item: JsonObject) -> Steps[list[bytes]]:
        """Render one event of a stream, which may be large, in steps and pieces, one at least."""
        pieces = [sse.json_data(piece) for piece in (yield from encoded_pieces(item))]
        pieces[0] = b"id: %d\ndata: %b%b" % (number, self.prefix, pieces[0])
        pieces[-1] = b"%b%b\n\n" % (pieces[-1], self.suffix)
        return pieces

    def comment(self, text: str) -> bytes:
        """Render a comment, which the clients' parsers pass over."""
        return b": %b\n" % text.encode()


def json_response(pieces: Sequence[bytes], media_type: str, headers: tuple[tuple[str, str], ...]) -> Response:
    """Render a whole JSON answer; the pieces of a large one are not joined."""
    headers = (("content-type", media_type), *headers)
    if sum(map(len, pieces)) <= _JOINED:
        return Response(200, b"".join(pieces), headers)
    return Response(200, b"", headers, tuple(pieces))
