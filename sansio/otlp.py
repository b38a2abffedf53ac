"""OTLP's request with spans, as bytes of Protocol Buffers: what is sent to a collector of OpenTelemetry.

Written by hand from `opentelemetry/proto/trace/v1/trace.proto`: the generated classes take some 45 us for a span,
this a tenth of it. A field is a tag, which is its number times eight plus its wire type, and a value.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final, Protocol, TypeAlias

from attrs import frozen

from sansio.a2a.bindings.trace_context import TraceContext

Value: TypeAlias = str | int | float | bool

INTERNAL: Final = 1
SERVER: Final = 2
CLIENT: Final = 3
"""The numbers of the kinds of spans."""

_INT64: Final = 1 << 63
_HAS_REMOTE: Final = 0x100  # flags: whether the parent is another process's is known, and that it is
_IS_REMOTE: Final = 0x200
_FAILED: Final = b"\x7a\x02\x18\x02"  # `status`, whose `code` is STATUS_CODE_ERROR
_CACHED: Final = 1024  # attributes; most have one of few values
_times = struct.Struct("<BQBQ").pack
_flags = struct.Struct("<HI").pack
_double = struct.Struct("<d").pack


class EndedSpan(Protocol):
    """A span that has ended. `kind`: its number. `parent`: None for the first of a trace. Times: epoch nanoseconds.

    `remote`: the parent is a span of another process. `error`: the type of what went wrong; empty: nothing.
    """

    name: str
    kind: int
    context: TraceContext
    parent: TraceContext | None
    remote: bool
    started: int
    ended: int
    error: str

    @property
    def attributes(self) -> Mapping[str, Value]: ...


@frozen
class SpanLimits:
    """Bounds of one span: characters of a text, and the number of attributes. None: no bound."""

    characters: int | None = None
    attributes: int | None = None


NO_LIMITS: Final = SpanLimits()


@frozen
class SpanEncoder:
    """Encodes spans of one process. `resource`, `scope`: the messages that are the same for all of them."""

    resource: bytes
    scope: bytes
    limits: SpanLimits = NO_LIMITS

    @classmethod
    def of(
        cls, resource: Mapping[str, Value | Sequence[Value]], name: str, version: str, limits: SpanLimits = NO_LIMITS
    ) -> SpanEncoder:
        """Make an encoder. `resource`: the attributes of the process; `name`, `version`: of what makes the spans."""
        attributes = b"".join(_field(0x0A, _key_value(key, _any(value))) for key, value in resource.items())
        return cls(attributes, _text(0x0A, name) + _text(0x12, version), limits)

    def encode(self, spans: Iterable[EndedSpan]) -> bytes:
        """Return an `ExportTraceServiceRequest`."""
        encoded = b"".join([_field(0x12, self._span(span)) for span in spans])
        scope_spans = _field(0x0A, self.scope) + encoded
        return _field(0x0A, _field(0x0A, self.resource) + _field(0x12, scope_spans))

    def _span(self, span: EndedSpan) -> bytes:
        context, parent = span.context, span.parent
        ids = b"\x0a\x10%b\x12\x08%b" % (bytes.fromhex(context.trace_id), bytes.fromhex(context.span_id))
        pieces = [ids]
        if context.state:
            pieces.append(_text(0x1A, context.state))
        if parent is not None:
            pieces.append(b"\x22\x08" + bytes.fromhex(parent.span_id))
        pieces += (_name_and_kind(span.name, span.kind), _times(0x39, span.started, 0x41, span.ended))
        pieces += self._attributes(span)
        if span.error:
            pieces.append(_FAILED)
        pieces.append(_flags(0x0185, _HAS_REMOTE | _IS_REMOTE if span.remote else _HAS_REMOTE))
        return b"".join(pieces)

    def _attributes(self, span: EndedSpan) -> list[bytes]:
        given = {**span.attributes, "error.type": span.error} if span.error else span.attributes
        longest, most = self.limits.characters, self.limits.attributes
        items = list(given.items())
        dropped = 0 if most is None else max(0, len(items) - most)
        if dropped:
            items = items[: len(items) - dropped]
        if longest is not None:
            items = [(key, value[:longest] if isinstance(value, str) else value) for key, value in items]
        found = [_attribute(key, value) for key, value in items]
        return [*found, b"\x50" + _varint(dropped)] if dropped else found


def _varint(number: int) -> bytes:
    if number < 0x80:
        return bytes((number,))
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def _field(tag: int, content: bytes) -> bytes:
    """A field of bytes, text or a message."""
    return b"%c%b%b" % (tag, _varint(len(content)), content)


def _text(tag: int, text: str) -> bytes:
    return _field(tag, text.encode("utf-8", "replace"))


@lru_cache(_CACHED)
def _name_and_kind(name: str, kind: int) -> bytes:
    return b"%b\x30%c" % (_text(0x2A, name), kind)


@lru_cache(_CACHED, typed=True)
def _attribute(key: str, value: Value) -> bytes:
    """The field of a span. `typed`: to a cache True would be 1."""
    return _field(0x4A, _key_value(key, _any(value)))


def _key_value(key: str, value: bytes) -> bytes:
    return _text(0x0A, key) + _field(0x12, value)


def _any(value: Value | Sequence[Value]) -> bytes:
    """An `AnyValue`. An integer of more than 64 bits is written as text."""
    if isinstance(value, str):
        return _text(0x0A, value)
    if isinstance(value, bool):
        return b"\x10\x01" if value else b"\x10\x00"
    if isinstance(value, int):
        return b"\x18" + _varint(value % (2 * _INT64)) if -_INT64 <= value < _INT64 else _text(0x0A, str(value))
    if isinstance(value, float):
        return b"\x21" + _double(value)
    return _field(0x2A, b"".join(_field(0x0A, _any(one)) for one in value))
