"""An answer that came whole in one read says what h11 reads in it; any other is left to h11."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio.opencode.upstream.http1 import Fields, request_head, whole_answer

OK = b"HTTP/1.1 200 OK\r\n"


def by_h11(data: bytes) -> tuple[int, Fields, bytes]:
    """What h11 reads, which must be all of it, on a connection that stays open."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("host", "")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    head, body = connection.next_event(), b""
    assert isinstance(head, h11.Response)
    while isinstance(event := connection.next_event(), h11.Data):
        body += bytes(event.data)
    assert isinstance(event, h11.EndOfMessage)
    assert (connection.trailing_data[0], connection.their_state) == (b"", h11.DONE)
    return head.status_code, list(head.headers), body


WHOLE = [
    OK + b"content-length: 2\r\n\r\n{}",
    OK + b"Content-Length:2\r\nX-Next-Cursor: \t a b \r\n\r\nab",
    OK + b"connection: Keep-Alive\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 204\r\ncontent-length: 7\r\nempty:\r\n\r\n",
    b"HTTP/1.1 500 \xff\r\ncontent-length: 3\r\n\r\nbad",
]


@pytest.mark.parametrize("data", WHOLE)
def test_an_answer_that_is_whole_is_read_as_h11_reads_it(data: bytes) -> None:
    assert whole_answer(data) == by_h11(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00\x01",
        OK,
        OK + b"content-length: 2\r\n\r\n{",
        OK + b"content-length: 2\r\n\r\n{} ",
        OK + b"content-length: +2\r\n\r\n{}",
        OK + b"content-length: 0000000002\r\n\r\n{}",
        OK + b"content-length: 2\r\ncontent-length: 2\r\n\r\n{}",
        OK + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{}",
        OK + b"content-length: 2\r\nconnection: close\r\n\r\n{}",
        OK + b"content-length : 2\r\n\r\n{}",
        OK + b"a: b\r\n c\r\ncontent-length: 2\r\n\r\n{}",
        OK + b"a: b\0\r\ncontent-length: 2\r\n\r\n{}",
        OK + b"\r\n",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\nx",
        b"HTTP/1.1 204 No Content\r\ncontent-length:: 7\r\n\r\n",
    ],
)
def test_any_other_answer_is_left_to_h11(data: bytes) -> None:
    assert whole_answer(data) is None


@given(
    st.sampled_from(WHOLE).flatmap(
        lambda data: st.builds(
            lambda start, size, put: data[:start] + put + data[start + size :],
            st.integers(0, len(data)),
            st.integers(0, 3),
            st.sampled_from([b"", b" ", b"\t", b"\r", b"\n", b"\r\n", b":", b"0", b"2", b"\0", b"a", b"\x80", b","]),
        )
    )
)
def test_an_answer_is_left_to_h11_or_read_as_h11_reads_it(data: bytes) -> None:
    found = whole_answer(data)
    assert found is None or found == by_h11(data)


def test_a_request_head_has_its_fields() -> None:
    assert (
        request_head("GET", "/a?b", [("host", "c"), ("x", "d e")])
        == b"GET /a?b HTTP/1.1\r\nhost: c\r\nx: d e\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("method", "target", "value"),
    [
        ("get", "/", "a"),
        ("GET", "/a b", "a"),
        ("GET", "/\r\n", "a"),
        ("GET", "/", "a\r\nb: c"),
        ("GET", "/ä", "a"),
        ("GET", "/", ""),
    ],
)
def test_what_a_request_head_cannot_hold_is_refused(method: str, target: str, value: str) -> None:
    with pytest.raises(ValueError, match="cannot hold"):
        request_head(method, target, [("host", value)])
