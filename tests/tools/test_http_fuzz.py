"""The judge of `python -m fuzz.http_server` tells good answers from bad ones."""

from __future__ import annotations

import pytest

from fuzz.http_server import fault_in

GOOD = b"HTTP/1.1 400 \r\ncontent-length: 0\r\n\r\n"


@pytest.mark.parametrize("answer", [b"", GOOD, GOOD + GOOD, b"\0\0\x12\4\0"], ids=["none", "one", "two", "http2"])
def test_an_answer_that_is_http_is_no_fault(answer: bytes) -> None:
    assert fault_in(answer) is None


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (b"HTTP/1.1 500 \r\n\r\n", "HTTP 500"),
        (GOOD + b"HTTP/1.1 500 \r\n\r\n", "HTTP 500"),
        (b"oops", "not HTTP: b'oops'"),
    ],
    ids=["first", "second", "text"],
)
def test_what_no_server_should_answer_is_a_fault(answer: bytes, fault: str) -> None:
    assert fault_in(answer) == fault
