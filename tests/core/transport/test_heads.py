"""Request heads that two servers might read in two ways, or that are too large."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio.transport.heads import (
    LONGEST_FIELDS,
    LONGEST_LINE,
    ambiguity,
    empty_lines,
    oversize,
    oversize_fields,
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

    assert oversize(whole) == status
    assert oversize(whole + b"y" * 100_000) == status


@given(st.integers(14, LONGEST_LINE + 50), st.integers(3, LONGEST_FIELDS + 50), st.data())
def test_a_head_that_comes_in_pieces_gets_the_same_status_once_enough_is_there(
    line: int, fields: int, data: st.DataObject
) -> None:
    whole = head(line, fields)
    cut = data.draw(st.integers(0, len(whole)))

    assert oversize(whole[:cut]) in (None, oversize(whole))


@pytest.mark.parametrize("piece", [b"a", b"GET / HTTP/1.1\r\nX: b"])
def test_a_head_without_an_end_is_refused_at_last(piece: bytes) -> None:
    assert oversize(piece + b"c" * (LONGEST_LINE + LONGEST_FIELDS)) in (414, 431)


def test_a_head_that_is_parsed_already_has_the_same_bounds() -> None:
    fields = [(b"x", b"b" * (LONGEST_FIELDS - 5))]

    assert oversize_fields(b"/" * LONGEST_LINE, fields) is None
    assert oversize_fields(b"/" * (LONGEST_LINE + 1), fields) == 414
    assert oversize_fields(b"/", [*fields, (b"y", b"")]) == 431
