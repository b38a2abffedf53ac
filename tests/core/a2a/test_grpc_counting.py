"""The values of a message are counted in its bytes as in the message itself, in steps, before it is parsed."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.message import DecodeError, Message
from hypothesis import example, given
from hypothesis import strategies as st

from sansio.a2a.bindings import grpc
from sansio.a2a.bindings.http_messages import Request
from sansio.a2a.errors import ErrorKind, ProtocolError
from sansio.a2a.protobuf.conversion import json_of, message_of
from sansio.a2a.protobuf.counting import check_values
from sansio.a2a.protobuf.messages import message
from sansio.a2a.server import CallRefusedError, check_body
from tests.core.a2a.test_grpc import BOTH, NEW, post
from tests.steps import counted, taken
from tests.strategies import json_objects

SEND = message("lf.a2a.v1.SendMessageRequest")
UNKNOWN = 1000 << 3  # the key of a field that no message has, without its wire type


def varint(number: int) -> bytes:
    """Encode a number in seven bits a byte."""
    found = b""
    while number > 0x7F:
        found += bytes([number & 0x7F | 0x80])
        number >>= 7
    return found + bytes([number])


def unknown(wire: int, rest: bytes = b"") -> bytes:
    """Make a record of a field that no message has."""
    return varint(UNKNOWN | wire) + rest


def values_of(found: Message) -> int:
    """Count the values of a message that is parsed."""
    number = 0
    for field, value in found.ListFields():
        is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
        items = value.values() if is_map else value if field.is_repeated else [value]
        number += len(items) + sum(values_of(item) for item in items if isinstance(item, Message))
    return number


@given(json_objects, st.lists(json_objects, max_size=3))
def test_as_many_values_are_counted_as_the_message_has(metadata: dict[str, Any], data: list[dict[str, Any]]) -> None:
    parts = [{"text": "a"}, {"raw": "QUJD"}, *({"data": one} for one in data)]
    sent = message_of(SEND, {"message": {"messageId": "m", "parts": parts, "extensions": ["x", "y"]}})
    sent.MergeFrom(message_of(SEND, {"metadata": metadata, "configuration": {"historyLength": 3}}))
    body, number = sent.SerializeToString(), values_of(sent)

    assert taken(check_values(SEND, body, number)) is None
    with pytest.raises(ProtocolError) as refused:
        taken(check_values(SEND, body, number - 1))
    assert refused.value.kind is ErrorKind.PAYLOAD_TOO_LARGE


@given(st.binary())
def test_any_bytes_are_counted_or_left_to_the_library(data: bytes) -> None:
    assert taken(check_values(SEND, data)) is None


@pytest.mark.parametrize(
    "record",
    [
        unknown(0, b"\x81\x01"),
        unknown(1, bytes(8)),
        unknown(2, b"\x02ab"),
        unknown(3) + unknown(4),
        unknown(5, bytes(4)),
    ],
    ids=["number", "eight bytes", "text", "group", "four bytes"],
)
def test_fields_that_the_message_does_not_have_count_too(record: bytes) -> None:
    assert json_of(SEND, record * 3) == {}
    assert taken(check_values(SEND, record * 3, 6)) is None
    with pytest.raises(ProtocolError):
        taken(check_values(SEND, record * 3, 2))


def grouped(number: int, inside: bytes) -> bytes:
    """Make a group, which no message of today has."""
    return varint(number << 3 | 3) + inside + varint(number << 3 | 4)


_FIELDS = st.sampled_from([1, 2, 3, 4, 100])
_RECORDS = st.recursive(
    st.one_of(
        st.builds(lambda field, value: varint(field << 3) + varint(value), _FIELDS, st.integers(0, 2**64 - 1)),
        st.builds(lambda field: varint(field << 3 | 1) + bytes(8), _FIELDS),
        st.builds(lambda field: varint(field << 3 | 5) + bytes(4), _FIELDS),
        st.builds(lambda field, text: varint(field << 3 | 2) + varint(len(text)) + text, _FIELDS, st.binary()),
    ),
    lambda records: st.one_of(
        st.builds(grouped, _FIELDS, st.lists(records, max_size=3).map(b"".join)),
        st.builds(
            lambda field, inside: varint(field << 3 | 2) + varint(len(inside)) + inside,
            _FIELDS,
            st.lists(records, max_size=3).map(b"".join),
        ),
    ),
)


@given(st.lists(_RECORDS, max_size=4).map(b"".join))
@example(grouped(1000, b"\x12\x02\xff\xff"))
@example(grouped(1000, grouped(1, b"\x0a\x01\x80") + b"\x0a\x01\x80"))
def test_nothing_that_the_library_takes_ends_the_count(data: bytes) -> None:
    many = SEND(message={"parts": [{}] * 40}).SerializeToString()
    try:
        SEND.FromString(data)
    except DecodeError:
        return

    with pytest.raises(ProtocolError):
        taken(check_values(SEND, data + many, 39))


@pytest.mark.parametrize(
    "wrong",
    [
        b"\x80",
        b"\xff" * 11,
        unknown(1, bytes(7)),
        unknown(2, b"\x03ab"),
        unknown(5, bytes(3)),
        unknown(6),
        b"\x0a\x02\x0a\x05abcde",
        unknown(3),
        unknown(4),
    ],
    ids=[
        "cut",
        "long number",
        "cut eight bytes",
        "cut text",
        "cut four bytes",
        "no wire type",
        "beyond its message",
        "open group",
        "end of no group",
    ],
)
def test_what_is_no_message_is_left_to_the_library(wrong: bytes) -> None:
    assert taken(check_values(SEND, wrong)) is None
    with pytest.raises(ProtocolError) as refused:
        json_of(SEND, wrong)
    assert refused.value.kind is ErrorKind.PARSE_ERROR


def test_empty_entries_of_a_map_are_values() -> None:
    field = SEND.DESCRIPTOR.fields_by_name["metadata"].number
    entries = b"\x0a\x00" * 50
    body = bytes([field << 3 | 2, len(entries)]) + entries

    with pytest.raises(ProtocolError):
        taken(check_values(SEND, body, 50))
    assert taken(check_values(SEND, body, 51)) is None


def test_many_values_are_counted_in_steps() -> None:
    body = SEND(message={"parts": [{}] * 5000}).SerializeToString()

    assert counted(check_values(SEND, body))[1] == 6


def test_a_call_with_too_many_values_is_refused() -> None:
    body = SEND(message={"parts": [{}] * 30_000}).SerializeToString()
    request = post(f"{NEW}SendMessage", grpc.framed(body))

    with pytest.raises(CallRefusedError) as refused:
        taken(check_body(request, BOTH))
    assert refused.value.error.kind is ErrorKind.PAYLOAD_TOO_LARGE
    assert request.outcome.operation == "SEND"


def test_bodies_of_other_bindings_are_not_looked_at() -> None:
    request = Request(method="POST", path="/", query_string=b"", headers={}, body=b"[" * 100_000)

    assert counted(check_body(request, BOTH)) == (None, 1)
