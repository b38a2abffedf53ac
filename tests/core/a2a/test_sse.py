"""Server-sent events: the decoder against a plain reading of the format, in any chunking, and the encoder."""

from __future__ import annotations

import re
import sys
from types import FrameType
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio.a2a.bindings.sse import COMMENT, SseDecoder, SseEvent, encode, json_data
from sansio.a2a.errors import ErrorKind, ProtocolError
from tests.strategies import chunked, sse_bytes

BOM = b"\xef\xbb\xbf"


def events_of(*chunks: bytes) -> list[SseEvent]:
    decoder = SseDecoder()
    return [event for chunk in chunks for event in decoder.feed(chunk)]


def feed_all(decoder: SseDecoder, chunks: list[bytes]) -> None:
    for chunk in chunks:
        decoder.feed(chunk)


def plain_reading(data: bytes) -> list[SseEvent]:
    """The format read at leisure, step by step as its specification tells it."""
    *lines, _ = re.split(rb"\r\n|\n|\r", data.removeprefix(BOM))
    events: list[SseEvent] = []
    last_id, kind, buffer = "", "", b""
    for line in lines:
        if not line:
            if buffer:
                events.append(SseEvent(buffer[:-1], kind, last_id))
            kind, buffer = "", b""
            continue
        name, _, value = line.partition(b":")
        value = value[1:] if value[:1] == b" " else value
        if name == b"data":
            buffer += value + b"\n"
        elif name == b"event":
            kind = value.decode("utf-8", "replace")
        elif name == b"id" and b"\0" not in value:
            last_id = value.decode("utf-8", "replace")
    return events


@given(chunked(sse_bytes))
def test_any_chunking_gives_the_same_events(case: tuple[bytes, list[bytes]]) -> None:
    data, chunks = case

    assert events_of(*chunks) == plain_reading(data)


@given(sse_bytes)
def test_single_bytes_give_the_same_events(data: bytes) -> None:
    assert events_of(*(data[i : i + 1] for i in range(len(data)))) == plain_reading(data)


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_every_line_end_is_one(end: bytes) -> None:
    data = end.join([b"id: 7", b"event: x", b"data: a", b"data:b", b"data", b"", b"data: c", b"", b""])

    assert events_of(data) == [SseEvent(b"a\nb\n", "x", "7"), SseEvent(b"c", "", "7")]


def test_line_end_cut_in_two_is_one() -> None:
    assert events_of(b"data: a\r", b"\ndata: b\r", b"", b"\n\r", b"\n") == [SseEvent(b"a\nb")]


def test_event_that_is_not_finished_is_not_told() -> None:
    assert events_of(b"data: a\n") == []
    assert events_of(b"data: a") == []


def test_comments_and_unknown_fields_are_passed_over() -> None:
    assert events_of(b": hello\n:\nnews: x\n data: y\ndata: a\n\n", COMMENT, COMMENT) == [SseEvent(b"a")]


def test_only_one_space_after_the_colon_belongs_to_the_format() -> None:
    assert events_of(b"data:  a \n\n") == [SseEvent(b" a ")]


def test_empty_data_is_an_event_and_no_data_is_none() -> None:
    assert events_of(b"data:\n\n") == [SseEvent(b"")]
    assert events_of(b"event: x\nid: 1\n\ndata: a\n\n") == [SseEvent(b"a", "", "1")]


def test_byte_order_mark_counts_at_the_very_beginning_only() -> None:
    assert events_of(BOM + b"data: a\n\n") == [SseEvent(b"a")]
    assert events_of(BOM[:1], BOM[1:], b"data: a\n\n") == [SseEvent(b"a")]
    assert events_of(b"\n" + BOM + b"data: a\n\n") == []
    assert events_of(b"data: a\n" + BOM + b"data: b\n\n") == [SseEvent(b"a")]


def test_id_holds_until_another_and_an_id_with_a_nul_is_none() -> None:
    assert events_of(b"id: 1\ndata: a\n\ndata: b\n\nid: 2\0\ndata: c\n\nid\ndata: d\n\n") == [
        SseEvent(b"a", "", "1"),
        SseEvent(b"b", "", "1"),
        SseEvent(b"c", "", "1"),
        SseEvent(b"d", "", ""),
    ]


def test_stream_is_resumed_after_the_last_event_that_came_whole() -> None:
    decoder = SseDecoder()

    decoder.feed(b"id: 4\ndata: a\n\nid: 5\ndata: b\n")

    assert decoder.last_id == "4"


@pytest.mark.parametrize(
    ("line", "retry"),
    [
        *((b"retry: 1500", 1500), (b"retry:0", 0), (b"retry: -1", None)),
        *((b"retry: 1s", None), (b"retry", None), (b"retry: 1234567890", None)),
    ],
)
def test_reconnection_time_is_kept(line: bytes, retry: int | None) -> None:
    decoder = SseDecoder()

    decoder.feed(line + b"\n")

    assert decoder.retry == retry


@pytest.mark.parametrize(
    "data",
    [b"data: 12345678901", b"data: 12345678901\n", b"data:1234\ndata:12345\n", b": comment 10\n", b"x" * 11],
)
def test_line_or_event_beyond_the_limit_is_refused_however_it_comes(data: bytes) -> None:
    for chunks in ([data], [data[i : i + 1] for i in range(len(data))]):
        decoder = SseDecoder(limit=10)
        with pytest.raises(ProtocolError) as caught:
            feed_all(decoder, chunks)
        assert caught.value.kind is ErrorKind.PAYLOAD_TOO_LARGE


def test_what_is_within_the_limit_is_taken_again_and_again() -> None:
    decoder = SseDecoder(limit=10)

    assert [decoder.feed(b"data: 1234\n\n") for _ in range(50)] == [[SseEvent(b"1234")]] * 50


_plain = st.text(max_size=8).filter(lambda text: not set(text) & set("\r\n\0"))


@given(
    st.lists(
        st.tuples(
            st.lists(st.binary(max_size=6), min_size=1).map(b"\n".join),
            st.none() | _plain,
            _plain,
            st.none() | st.integers(0, 10**8),
        ),
        max_size=4,
    )
)
def test_what_is_encoded_is_decoded(frames: list[tuple[bytes, str | None, str, int | None]]) -> None:
    decoder = SseDecoder()

    for data, name, event, retry in frames:
        before = decoder.last_id
        frame = encode(data, id=name, event=event or None, retry=retry)
        normal = re.sub(rb"\r\n|\r", b"\n", data)
        assert decoder.feed(frame) == [SseEvent(normal, event, before if name is None else name)]
        assert retry is None or decoder.retry == retry


def test_frame_is_as_small_as_can_be() -> None:
    assert encode(b"{}") == b"data: {}\n\n"
    assert encode(b"a\r\nb\rc\nd", id="9", event="e", retry=5) == (
        b"retry: 5\nevent: e\nid: 9\ndata: a\ndata: b\ndata: c\ndata: d\n\n"
    )


class ByteCounter:
    """Counts the bytes that methods of bytes objects are called on, and the bytes they are called with."""

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, _frame: FrameType, event: str, function: Any) -> None:
        owner = getattr(function, "__self__", None)
        if event == "c_call" and isinstance(owner, bytes):
            self.seen += len(owner)


@pytest.mark.parametrize("size", [2_000, 8_000])
def test_every_byte_is_looked_at_a_bounded_number_of_times(size: int) -> None:
    line = b"data: " + b"x" * size + b"\n\n"
    decoder, counter = SseDecoder(), ByteCounter()
    events: list[SseEvent] = []

    sys.setprofile(counter)
    try:
        for index in range(len(line)):
            events += decoder.feed(line[index : index + 1])
    finally:
        sys.setprofile(None)

    assert events == [SseEvent(b"x" * size)]
    assert counter.seen <= 8 * len(line)


@pytest.mark.parametrize("mark", ["\x85", "\u2028", "\u2029"])
def test_json_in_a_frame_holds_no_line_break_of_anybodys(mark: str) -> None:
    json = orjson.dumps({"text": f"a{mark}b"})

    data = json_data(json)

    assert mark.encode() not in data
    assert orjson.loads(data) == {"text": f"a{mark}b"}


@given(st.text())
def test_json_in_a_frame_says_what_it_said(text: str) -> None:
    assert orjson.loads(json_data(orjson.dumps(text))) == text


def test_a_comment_ends_no_event() -> None:
    # With an id before it, an empty line makes some clients see an event without data.
    assert COMMENT.startswith(b":")
    assert COMMENT.count(b"\n") == 1
    assert events_of(encode(b"a", id="1"), COMMENT, encode(b"b", id="2")) == [
        SseEvent(b"a", id="1"),
        SseEvent(b"b", id="2"),
    ]
