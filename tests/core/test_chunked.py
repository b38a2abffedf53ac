"""The chunked transfer coding: read as a reference decoder reads it, in any pieces; garbage raises one error."""

from __future__ import annotations

from itertools import pairwise

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sansio.a2a.errors import ProtocolError
from sansio.chunked import ChunkedDecoder

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


def by_h11(data: bytes) -> tuple[bytes, bool] | None:
    """Body so far and whether it has ended; None for what is not chunked."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(HEAD + data)
    body = b""
    try:
        while (event := connection.next_event()) is not h11.NEED_DATA:
            if isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return body, True
    except h11.RemoteProtocolError:
        return None
    return body, False


def decoded(pieces: list[bytes]) -> tuple[bytes, bool]:
    decoder = ChunkedDecoder()
    body = b"".join([decoder.feed(piece) for piece in pieces])
    return body, decoder.ended


def cut(data: bytes, locations: list[int]) -> list[bytes]:
    """The same bytes in pieces."""
    edges = [0, *sorted(location % (len(data) + 1) for location in locations), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def chunk(body: bytes, form: int) -> bytes:
    size = b"%x" % len(body)
    heads = (size, size.upper(), size.rjust(4, b"0"), size + b";name=value", size + b" ")
    return heads[form % len(heads)] + b"\r\n" + body + b"\r\n"


BODIES = st.lists(st.tuples(st.binary(min_size=1, max_size=40), st.integers(0, 4)), max_size=8)
PLACES = st.lists(st.integers(0, 500), max_size=12)


@given(BODIES, PLACES, st.booleans())
def test_whole_bodies_are_read_as_by_h11_in_any_pieces(
    bodies: list[tuple[bytes, int]], locations: list[int], ends: bool
) -> None:
    data = b"".join(chunk(body, form) for body, form in bodies) + (b"0\r\n\r\n" if ends else b"")

    found = decoded(cut(data, locations))

    assert found == (b"".join(body for body, _ in bodies), ends)
    assert found == by_h11(data)


@given(BODIES, PLACES, st.integers(0, 500))
def test_a_body_that_breaks_off_gives_what_has_come(
    bodies: list[tuple[bytes, int]], locations: list[int], length: int
) -> None:
    data = b"".join(chunk(body, form) for body, form in bodies)[:length]

    assert decoded(cut(data, locations)) == by_h11(data)


@given(
    st.lists(st.one_of(st.binary(max_size=12), st.sampled_from([b"\r\n", b"5\r\nhello\r\n", b"0\r\n", b";", b"f"])))
)
@example([b"-1\r\n"])
@example([b"+5\r\nhello\r\n"])
@example([b"0x5\r\nhello\r\n"])
@example([b"5_0\r\n"])
@example([b"\r\n"])
@example([b"11111111111111111\r\n"])
@example([b"5\r\nhello", b"\rX"])
def test_garbage_is_read_or_raises_the_one_error(pieces: list[bytes]) -> None:
    try:
        body, _ = decoded(pieces)
    except ProtocolError:
        return
    reference = by_h11(b"".join(pieces))
    # what this takes h11 takes in the same way, but for what it has yet to see of a line
    assert reference is None or reference[0].startswith(body) or body.startswith(reference[0])


@given(st.binary(max_size=60), PLACES)
def test_the_pieces_do_not_matter_even_for_garbage(data: bytes, locations: list[int]) -> None:
    def outcome(pieces: list[bytes]) -> object:
        try:
            return decoded(pieces)
        except ProtocolError as error:
            return error.kind

    assert outcome(cut(data, locations)) == outcome([data])


def test_a_line_that_never_ends_is_refused() -> None:
    decoder = ChunkedDecoder()
    for _ in range(4):
        assert decoder.feed(b"5;" + b"x" * 1000) == b""

    with pytest.raises(ProtocolError, match="too long"):
        decoder.feed(b"x" * 1000)


def test_nothing_is_read_beyond_the_end() -> None:
    decoder = ChunkedDecoder()

    assert decoder.feed(b"2\r\nok\r\n0\r\n\r\n") == b"ok"
    assert decoder.feed(b"more") == b""
    assert decoder.ended
