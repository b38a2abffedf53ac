"""Encodes large messages in steps, as pieces, so that others get their turn between two of them.

A message's bytes are those of its fields, one after the other, so a large one is put together from fields that are
encoded by themselves. Structs are not taken apart.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor

from sansio.a2a.bindings.json_output import SLICE, Steps, is_heavier, joined_pieces, runs
from sansio.a2a.model import JsonObject
from sansio.a2a.protobuf.conversion import bytes_of, message_of
from sansio.a2a.protobuf.messages import MessageClass, message

_WITH_LENGTH: Final = 2  # the wire type
_GROUP: Final = 4  # characters of base64 that are whole bytes


def encoded_pieces(kind: MessageClass, value: JsonObject, *, size: int = SLICE) -> Steps[list[bytes]]:
    """Encode the message of a JSON object, in pieces of about `size` bytes; most are one, made without a step."""
    if not is_heavier(value, size):
        return [message_of(kind, value).SerializeToString()]
    yield  # to make the value took a while as well
    found = yield from _message(kind.DESCRIPTOR, value, size)
    return (yield from joined_pieces(found, size))


def field_pieces(kind: MessageClass, name: str, pieces: list[bytes]) -> list[bytes]:
    """Return a field of a message, by its JSON name, whose value is the message in the pieces."""
    return _with_head(_fields(kind.DESCRIPTOR)[name], pieces)


def field_class(kind: MessageClass, name: str) -> MessageClass:
    """Return the class of the message that a field holds. `name`: the field's, in JSON."""
    held: Any = _fields(kind.DESCRIPTOR)[name].message_type
    found: MessageClass = message(held.full_name)
    return found


def length_delimited(tag: bytes, size: int) -> bytes:
    """Return a field's tag and the length of its value."""
    if size < 0x80:
        return b"%b%c" % (tag, size)
    length = bytearray()
    while size >= 0x80:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    length.append(size)
    return b"%b%b" % (tag, bytes(length))


@cache
def _fields(kind: Any) -> dict[str, FieldDescriptor]:
    return {field.json_name: field for field in kind.fields}


def _message(kind: Any, value: JsonObject, size: int) -> Steps[list[bytes]]:
    pieces: list[bytes] = []
    light: JsonObject = {}
    for name, given in value.items():
        field = _fields(kind).get(name)
        if field is None:
            continue
        if not is_heavier(given, size) or not _is_divisible(field):
            light[name] = given
        elif not field.is_repeated:
            pieces += _with_head(field, (yield from _single(field, given, size)))
        else:
            for run in runs(given, size):
                if len(run) > 1:
                    pieces.append(message_of(message(kind.full_name), {name: run}).SerializeToString())
                else:
                    pieces += _with_head(field, (yield from _single(field, run[0], size)))
                yield
    pieces.append(message_of(message(kind.full_name), light).SerializeToString())
    yield
    return pieces


def _is_divisible(field: FieldDescriptor) -> bool:
    kind = field.message_type
    if kind is not None:
        return not kind.GetOptions().map_entry and not kind.full_name.startswith("google.protobuf.")
    return field.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES) and not field.is_repeated


def _single(field: FieldDescriptor, given: Any, size: int) -> Steps[list[bytes]]:
    if field.message_type is not None:
        return (yield from _message(field.message_type, given, size))
    size -= size % _GROUP
    slices = [given[start : start + size] for start in range(0, len(given), size)]
    if field.type == FieldDescriptor.TYPE_BYTES:
        return [bytes_of(text) for text in slices]
    return [text.encode() for text in slices]


def _with_head(field: FieldDescriptor, pieces: list[bytes]) -> list[bytes]:
    tag = bytes((field.number << 3 | _WITH_LENGTH,))
    first, *more = pieces
    return [length_delimited(tag, sum(map(len, pieces))) + first, *more]
