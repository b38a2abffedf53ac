"""Counts the values of a message in its bytes, in steps, before the library parses it in one call.

A megabyte can hold half a million empty messages, which take the library 40 ms. Knows the wire format, and of the
messages which of their fields are messages themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final, TypeAlias

from attrs import frozen
from google.protobuf.descriptor import Descriptor

from sansio.a2a.bindings.json_input import MOST_VALUES, too_many_values
from sansio.a2a.bindings.json_output import Steps
from sansio.a2a.protobuf.messages import MessageClass

_AT_ONCE: Final = 1000
"""Records that are counted in one step, some 0.5 ms."""
_LENGTH: Final = 2  # the wire type of texts, bytes and messages
_FIXED: Final[Mapping[int, int]] = {1: 8, 5: 4}  # bytes of the wire types that have always as many
_GROUP, _END_OF_GROUP = 3, 4
_LONGEST: Final = 10  # bytes of a number
_PAIR: Final = 2  # records of an entry of a map, which is one value


@frozen(eq=False)
class _Kind:
    """A kind of message: its fields that are messages, by number, and how many of its records are no values."""

    fields: Mapping[int, Descriptor]
    free: int


_UNKNOWN: Final = _Kind({}, 0)
"""The inside of a group: no message has groups, so the library skips it."""


class _CutError(ValueError):
    """The bytes are no message."""


_Around: TypeAlias = tuple[_Kind, int, int]
"""A message that is being counted: its kind, its end, and its records that are still no values."""


def check_values(kind: MessageClass, data: bytes, most: int = MOST_VALUES) -> Steps[None]:
    """Raise `ProtocolError` (PAYLOAD_TOO_LARGE) for a message of more values than `most`, in steps.

    Fields that the message does not have count as well. Bytes that are no message are left to the library, which
    refuses them where the count has stopped.
    """
    try:
        yield from _counted(kind, data, most)
    except _CutError:
        return


def _counted(kind: MessageClass, data: bytes, most: int) -> Steps[None]:
    around: list[_Around] = []
    here, free = _kind(kind.DESCRIPTOR), 0
    at, end = 0, len(data)
    records = values = 0
    while True:
        while at == end:
            if not around:
                return
            here, end, free = around.pop()
        records += 1
        if records % _AT_ONCE == 0:
            yield
        key, at = _number(data, at, end)
        if free:
            free -= 1
        else:
            values += 1
        if values > most:
            raise too_many_values()
        wire = key & 7
        if wire == _LENGTH:
            size, at = _number(data, at, end)
            if size > end - at:
                raise _CutError
            inner = here.fields.get(key >> 3)
            if inner is None:
                at += size
            else:
                around.append((here, end, free))
                here, end = _kind(inner), at + size
                free = here.free
        elif wire == 0:
            _, at = _number(data, at, end)
        elif wire in _FIXED:
            at += _FIXED[wire]
            if at > end:
                raise _CutError
        elif wire == _GROUP:
            around.append((here, end, free))
            here, free = _UNKNOWN, 0
        elif wire == _END_OF_GROUP and here is _UNKNOWN:
            here, end, free = around.pop()
        else:
            raise _CutError


@cache
def _kind(kind: Descriptor) -> _Kind:
    fields = {field.number: field.message_type for field in kind.fields if field.message_type is not None}
    return _Kind(fields, _PAIR if kind.GetOptions().map_entry else 0)


def _number(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Return the number that begins `at`, in seven bits a byte, and where it ends. Raises `_CutError`."""
    found = 0
    for place in range(min(_LONGEST, end - at)):
        byte = data[at + place]
        found |= (byte & 0x7F) << 7 * place
        if byte < 0x80:  # no more follow
            return found, at + place + 1
    raise _CutError
