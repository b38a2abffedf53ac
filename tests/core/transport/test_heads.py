"""Request heads that two servers might read in two ways, or that are too large."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio.transport.heads import (
    LONGEST_FIELDS,
    LONGEST_LINE,
    MOST_FIELDS,
    HeadScan,
    Refusal,
    ambiguity,
    empty_lines,
    last_chunk,
    refused_fields,
    refused_trailers,
    target,
)

START = b"POST / HTTP/1.1\r\nHost: a\r\n"


@pytest.mark.parametrize(
    "lines",
    [
        b"",
        b"Content-Length: 0\r\n",
        b"Content-Length:12  \r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"transfer-encoding:CHUNKED\r\n",
        b"X-Content-Length: many\r\nX: Transfer-Encoding: gzip\r\n",
    ],
)
def test_good_heads_pass_with_whatever_follows(lines: bytes) -> None:
    head = START + lines + b"\r\n"

    assert ambiguity(head) is None
    assert ambiguity(head + b" folded\nContent-Length: x\r\nContent-Length: y\r\n\r\n") is None


@pytest.mark.parametrize("line", [b"X: a\n", b"X: a\nTransfer-Encoding: chunked\r\n", b"\n", b"X: a\r\n\n"])
def test_a_line_without_cr_is_found_also_before_the_head_is_complete(line: bytes) -> None:
    assert ambiguity(START + line) == "a line ends without CR"
    assert ambiguity(START + line + b"\r\n") == "a line ends without CR"
    assert ambiguity((START + line).replace(b"\r\n", b"\n")) == "a line ends without CR"


@pytest.mark.parametrize(
    ("data", "size"),
    [(b"", 0), (b"GET", 0), (b"\r\nGET", 2), (b"\r\n\r\n", 4), (b"\r", 1), (b"\r\n\r", 3), (b"\rG", 0), (b"\n", 0)],
)
def test_empty_lines_ahead_of_a_request_line_are_counted(data: bytes, size: int) -> None:
    assert empty_lines(data) == size


def test_empty_lines_are_bounded() -> None:
    assert empty_lines(b"\r\n" * 50 + b"GET") == 16


@pytest.mark.parametrize(
    ("raw", "path", "authority"),
    [
        (b"/a?b", b"/a?b", None),
        (b"*", b"*", None),
        (b"http://a:1/b?c", b"/b?c", b"a:1"),
        (b"HTTPS://a", b"/", b"a"),
        (b"http://a?b", b"/?b", b"a"),
        (b"/http://a/b", b"/http://a/b", None),
    ],
)
def test_targets_are_split(raw: bytes, path: bytes, authority: bytes | None) -> None:
    assert target(raw) == (path, authority)


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "together"),
        (b"TRANSFER-ENCODING: chunked\r\ncontent-length: 4\r\n", "together"),
        (b"Transfer-Encoding:\r\n chunked\r\n", "folded"),
        (b"X: a\r\n\tb\r\n", "folded"),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "twice"),
        (b"Content-Length: 4\r\nContent-Length: 4\r\n", "twice"),
        (b"Content-Length: 4\r\nContent-Length: 5\r\n", "twice"),
        (b"Content-Length: 4, 4\r\n", "not a number"),
        (b"Content-Length: +4\r\n", "not a number"),
        (b"Content-Length: 0x4\r\n", "not a number"),
        (b"Content-Length:\r\n", "not a number"),
        (b"Transfer-Encoding: xchunked\r\n", "not chunked"),
        (b"Transfer-Encoding: chunked, identity\r\n", "not chunked"),
        (b"Transfer-Encoding: identity\r\n", "not chunked"),
        (b"Transfer-Encoding: \x0bchunked\r\n", "not chunked"),
        (b"Transfer-Encoding : chunked\r\nContent-Length: 4\r\n", "together"),
    ],
)
def test_ambiguous_heads_are_found(lines: bytes, reason: str) -> None:
    assert reason in str(ambiguity(START + lines + b"\r\n"))
    assert ambiguity(START + lines) is None  # not complete yet


def test_http_1_0_has_no_transfer_coding() -> None:
    head = b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"

    assert ambiguity(head) == "HTTP/1.0 has no Transfer-Encoding"


@given(st.binary(max_size=200))
def test_any_bytes_give_a_verdict(data: bytes) -> None:
    assert ambiguity(data) is None or isinstance(ambiguity(data), str)


def head(line: int, fields: int) -> bytes:
    """A head with a request line, and header fields, of so many bytes without their last line ends."""
    start = b"GET / HTTP/1.1"
    return b"GET /" + b"a" * (line - len(start)) + b" HTTP/1.1\r\n" + b"X: " + b"b" * (fields - 3) + b"\r\n\r\n"


@pytest.mark.parametrize(
    ("line", "fields", "status"),
    [
        (20, 10, None),
        (LONGEST_LINE, LONGEST_FIELDS, None),
        (LONGEST_LINE + 1, 10, 414),
        (LONGEST_LINE + 1, LONGEST_FIELDS + 1, 414),
        (20, LONGEST_FIELDS + 1, 431),
        (20, LONGEST_FIELDS * 4, 431),
    ],
)
def test_a_head_is_refused_for_its_size(line: int, fields: int, status: int | None) -> None:
    whole = head(line, fields)

    assert judged(whole) == status
    assert judged(whole + b"y" * 100_000) == status


@given(st.integers(14, LONGEST_LINE + 50), st.integers(3, LONGEST_FIELDS + 50), st.data())
def test_a_head_that_comes_in_pieces_gets_the_same_status_once_enough_is_there(
    line: int, fields: int, data: st.DataObject
) -> None:
    whole = head(line, fields)
    cut = data.draw(st.integers(0, len(whole)))

    assert judged(whole[:cut]) in (None, judged(whole))


@pytest.mark.parametrize("piece", [b"a", b"GET / HTTP/1.1\r\nX: b"])
def test_a_head_without_an_end_is_refused_at_last(piece: bytes) -> None:
    assert judged(piece + b"c" * (LONGEST_LINE + LONGEST_FIELDS)) in (414, 431)


@pytest.mark.parametrize(("count", "status"), [(MOST_FIELDS, None), (MOST_FIELDS + 1, 431), (4000, 431)])
@pytest.mark.parametrize("behind", [b"", b"a:\r\n" * 500], ids=["alone", "more behind"])
def test_a_head_is_refused_for_the_number_of_its_fields(count: int, status: int | None, behind: bytes) -> None:
    whole = b"GET / HTTP/1.1\r\n" + b"a:\r\n" * count

    assert judged(whole + b"\r\n" + behind) == status
    assert judged(whole) == status  # before its end has come
    assert judged_in_pieces(whole + b"\r\n", 1) == status


lines = st.lists(
    st.sampled_from([b"a: b\r\n", b"\r\n", b"\n", b" c\r\n", b"a: b\n", b"Content-Length: 1\r\n", b"\r", b"GET"])
    | st.just(b"x: y\r\n" * MOST_FIELDS),
    max_size=8,
)


@given(lines, st.lists(st.integers(1, 40), min_size=1, max_size=5))
def test_a_head_is_refused_or_not_however_it_is_cut(parts: list[bytes], sizes: list[int]) -> None:
    data = b"GET / HTTP/1.1\r\n" + b"".join(parts)

    # of two faults, the one that comes first may be found before the other has come
    assert (judged_in_pieces(data, *sizes) is None) is (judged(data) is None)


def judged_in_pieces(data: bytes, *sizes: int) -> int | None:
    """The status for a head that comes in pieces of these sizes, in turn."""
    scan = HeadScan()
    at = 0
    while at < len(data):
        at = min(len(data), at + sizes[at % len(sizes)])
        refusal = scan.look(data[:at])
        if refusal is not None:
            return refusal.status
        if b"\n\r\n" in data[:at]:
            return None  # a good head is complete
    return None


def test_a_line_without_cr_is_refused_before_the_head_is_complete() -> None:
    scan = HeadScan()

    assert scan.look(b"GET / HTTP/1.1\r") is None
    assert scan.look(b"GET / HTTP/1.1\r\nX: a") is None
    assert scan.look(b"GET / HTTP/1.1\r\nX: a\n") == Refusal(400, "a line ends without CR")


def test_a_head_that_is_parsed_already_has_the_same_bounds() -> None:
    fields = [(b"x", b"b" * (LONGEST_FIELDS - 5))]

    assert refused_fields(b"/" * LONGEST_LINE, fields) is None
    assert status_of(refused_fields(b"/" * (LONGEST_LINE + 1), fields)) == 414
    assert status_of(refused_fields(b"/", [*fields, (b"y", b"")])) == 431
    assert refused_fields(b"/", [(b"y", b"")] * MOST_FIELDS) is None
    assert status_of(refused_fields(b"/", [(b"y", b"")] * (MOST_FIELDS + 1))) == 431


@pytest.mark.parametrize(
    ("data", "begins"),
    [
        (b"0\r\n\r\n", 3),
        (b"\r\n0\r\na: b\r\n\r\n", 5),
        (b"\n000;name=value\r\n", 17),
        (b"0 \r\n", 4),
        (b"0", None),
        (b"\r\n0\r", None),
        (b"0a\r\n0123456789\r\n0\r\n", None),
        (b"10\r\n", None),
        (b"", None),
    ],
)
def test_the_last_chunk_is_found_where_it_comes_next(data: bytes, begins: int | None) -> None:
    assert last_chunk(data) == begins


@pytest.mark.parametrize("end", [b"", b"\r\n", b"\n", b"\r\nGET / HTTP/1.1\r\n" + b"a:\r\n" * 500])
@pytest.mark.parametrize(("count", "status"), [(0, None), (MOST_FIELDS, None), (MOST_FIELDS + 1, 431), (4000, 431)])
def test_trailers_have_the_bound_of_header_fields(count: int, status: int | None, end: bytes) -> None:
    assert status_of(refused_trailers(b"a:\r\n" * count + end)) == status


def judged(data: bytes) -> int | None:
    return status_of(HeadScan().look(data))


def status_of(refusal: Refusal | None) -> int | None:
    return None if refusal is None else refusal.status
