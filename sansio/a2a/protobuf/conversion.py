"""JSON of the codecs to messages of Protocol Buffers and back: ProtoJSON, as far as the protocol's messages need it.

The library's own conversion takes five times as long for an event of a stream, twice as long for a message that
comes, and reads messages with any number of values. What it does is done once for each type here: members get the
names that the constructor takes, and fields those of their members.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import Any, Final, TypeAlias

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message

from sansio.a2a.bindings.json_input import MOST_VALUES, too_many_values
from sansio.a2a.errors import ErrorKind, ProtocolError
from sansio.a2a.model import JsonObject
from sansio.a2a.protobuf.messages import POOL, MessageClass
from sansio.a2a.timestamps import epoch_ms

Convert: TypeAlias = Callable[[Any], Any]
_LARGEST_WHOLE = 2**53

# --- from JSON --------------------------------------------------------------------------------------------


def message_of(kind: MessageClass, value: JsonObject) -> Message:
    """Return the message with the members of a JSON object. Members that it has no field for are left out."""
    return kind(**_fields(kind.DESCRIPTOR)(value))


def status_message(kind: MessageClass, value: JsonObject) -> Message:
    """Return a message that holds others of any kind, each named by its `@type`."""
    return json_format.ParseDict(value, kind(), descriptor_pool=POOL)


@cache
def _fields(kind: Descriptor) -> Convert:
    """Return what turns the members of a JSON object into arguments of a message's constructor."""
    table: dict[str, tuple[str, Convert | None]] = {}

    def convert(value: JsonObject) -> dict[str, Any]:
        if not table:  # not before the first use: a type may hold itself
            table.update({field.json_name: (field.name, _converter(field)) for field in kind.fields})
        found: dict[str, Any] = {}
        for member, given in value.items():
            row = table.get(member)
            if row is None:
                continue
            name, converter = row
            if given is not None:
                found[name] = given if converter is None else converter(given)
            elif converter is _value:  # the one type that has it as a value
                found[name] = {"null_value": 0}
        return found

    return convert


def _converter(field: FieldDescriptor) -> Convert | None:
    """Return what turns a member's JSON into an argument; None where that is the same."""
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        of_value = _single(kind.fields_by_name["value"])
        return of_value and (lambda given: {name: of_value(value) for name, value in given.items()})
    single = _single(field)
    if single is None or not field.is_repeated:
        return single
    return lambda given: [single(value) for value in given]


def _single(field: FieldDescriptor) -> Convert | None:
    kind = field.message_type
    if kind is not None:
        return _WELL_KNOWN[kind.full_name] if kind.full_name in _WELL_KNOWN else _fields(kind)
    return bytes_of if field.type == FieldDescriptor.TYPE_BYTES else None


def bytes_of(text: str) -> bytes:
    """Return the bytes of base64 in either alphabet, with its padding or without."""
    return base64.b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4))


def _timestamp(text: str) -> dict[str, int] | None:
    """Return a moment; None for a text that names none, which the codecs pass on as it came."""
    try:
        millis = epoch_ms(text)
    except ValueError:
        return None
    return {"seconds": millis // 1000, "nanos": millis % 1000 * 1_000_000}


def _value(given: Any) -> dict[str, Any]:
    match given:
        case bool():
            return {"bool_value": given}
        case int() | float():
            return {"number_value": given}
        case str():
            return {"string_value": given}
        case dict():
            return {"struct_value": given}
        case _:
            return {"list_value": given}


_WELL_KNOWN: Final[Mapping[str, Convert | None]] = {
    "google.protobuf.Struct": None,
    "google.protobuf.Timestamp": _timestamp,
    "google.protobuf.Value": _value,
}

# --- to JSON ----------------------------------------------------------------------------------------------


def json_of(kind: MessageClass, data: bytes, most: int = MOST_VALUES) -> JsonObject:
    """Return the JSON object of a message's bytes, without the fields that have their default.

    `most`: values that it may hold. Raises `ProtocolError`: PARSE_ERROR for bytes that are none, PAYLOAD_TOO_LARGE
    for too many values.
    """
    message = kind()
    try:
        message.ParseFromString(data)
        if len(data) > most:
            _count(message, most)
        found: JsonObject = _reader(kind.DESCRIPTOR)(message)
    except (DecodeError, json_format.Error):  # also a number or a time that JSON has no word for
        raise ProtocolError(ErrorKind.PARSE_ERROR, f"The message is no {kind.DESCRIPTOR.name}") from None
    return found


@cache
def _reader(kind: Descriptor) -> Convert:
    """Return what turns a message into JSON: a table of its fields, or what its type has of its own."""
    if kind.full_name in _READ_WELL_KNOWN:
        return _READ_WELL_KNOWN[kind.full_name]
    table: dict[int, tuple[str, Convert | None]] = {}

    def read(message: Message) -> JsonObject:
        if not table:  # not before the first use: a type may hold itself
            table.update({field.number: (field.json_name, _read_field(field)) for field in kind.fields})
        found: JsonObject = {}
        for field, value in message.ListFields():
            name, convert = table[field.number]
            found[name] = value if convert is None else convert(value)
        return found

    return read


def _read_field(field: FieldDescriptor) -> Convert | None:
    """Return what turns a field's value into JSON; None where that is the same."""
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        of_value = _read_single(kind.fields_by_name["value"])
        return dict if of_value is None else lambda given: {name: of_value(value) for name, value in given.items()}
    single = _read_single(field)
    if not field.is_repeated:
        return single
    return list if single is None else lambda given: [single(value) for value in given]


def _read_single(field: FieldDescriptor) -> Convert | None:
    if field.message_type is not None:
        return _reader(field.message_type)
    if field.enum_type is not None:
        names = {value.number: value.name for value in field.enum_type.values}
        return lambda number: names.get(number, number)
    return _READ_SCALAR[field.type]


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _read_struct(message: Any) -> JsonObject:
    return {name: _read_value(value) for name, value in message.fields.items()}


def _read_list(message: Any) -> list[Any]:
    return [_read_value(value) for value in message.values]


def _read_value(message: Any) -> Any:
    """Return the JSON of a `Value`. Whole numbers are as JSON has them: here, any number has a fraction."""
    kind = message.WhichOneof("kind")
    if kind is None or kind == "null_value":
        return None
    given = getattr(message, kind)
    if kind == "struct_value":
        return _read_struct(given)
    if kind == "list_value":
        return _read_list(given)
    if kind != "number_value":
        return given
    if not math.isfinite(given):
        raise DecodeError("JSON has no such number")
    return int(given) if given.is_integer() and abs(given) < _LARGEST_WHOLE else given


_READ_WELL_KNOWN: Final[Mapping[str, Convert]] = {
    "google.protobuf.Struct": _read_struct,
    "google.protobuf.Value": _read_value,
    "google.protobuf.ListValue": _read_list,
    "google.protobuf.Timestamp": json_format.MessageToDict,
}

_READ_SCALAR: Final[Mapping[int, Convert | None]] = {
    FieldDescriptor.TYPE_BOOL: None,
    FieldDescriptor.TYPE_BYTES: _base64,
    FieldDescriptor.TYPE_INT32: None,
    FieldDescriptor.TYPE_STRING: None,
}
"""The types of fields that the protocol's messages have."""


def _count(message: Message, left: int) -> int:
    """Return how many more values a request may hold after this message."""
    for field, value in message.ListFields():
        if not field.is_repeated:
            items: Collection[Any] = (value,)
        elif field.message_type is not None and field.message_type.GetOptions().map_entry:
            items = value.values()
        else:
            items = value
        left -= len(items)
        if left < 0:
            raise too_many_values()
        if field.message_type is not None:
            for item in items:
                left = _count(item, left) if isinstance(item, Message) else left
    return left
