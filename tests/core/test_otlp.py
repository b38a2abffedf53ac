"""Spans as OTLP's bytes, read with the classes that are generated from the protocol's own files."""

from __future__ import annotations

from attrs import define, evolve, field
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from sansio.a2a.bindings.trace_context import TraceContext
from sansio.otlp import CLIENT, INTERNAL, SERVER, SpanEncoder, SpanLimits, Value

TIMES = st.integers(0, 2**64 - 1)
TEXT = st.text(max_size=200)
VALUES = TEXT | st.integers(-(2**63), 2**63 - 1) | st.booleans() | st.floats(allow_nan=False)


@define(kw_only=True)
class Ended:
    """A span that has ended."""

    name: str = "GET /x"
    kind: int = CLIENT
    context: TraceContext = TraceContext("a" * 32, "b" * 16)
    parent: TraceContext | None = None
    remote: bool = False
    started: int = 1
    ended: int = 2
    attributes: dict[str, Value] = field(factory=dict)
    error: str = ""


CONTEXTS = st.builds(
    TraceContext,
    st.binary(min_size=16, max_size=16).map(bytes.hex),
    st.binary(min_size=8, max_size=8).map(bytes.hex),
    st.just(True),
    st.sampled_from(["", "vendor=1,other=2"]),
)
SPANS = st.builds(
    Ended,
    name=TEXT,
    kind=st.sampled_from([INTERNAL, SERVER, CLIENT]),
    context=CONTEXTS,
    parent=st.none() | CONTEXTS,
    remote=st.booleans(),
    started=TIMES,
    ended=TIMES,
    attributes=st.dictionaries(st.text(max_size=20), VALUES, max_size=6),
    error=st.sampled_from(["", "503", "cancelled"]),
)
ENCODER = SpanEncoder.of({"service.name": "mine", "process.pid": 7, "args": ["a", "b"]}, "opencode-a2a", "2.0.0")


def read(encoder: SpanEncoder, *spans: Ended) -> list[Span]:
    [resource] = ExportTraceServiceRequest.FromString(encoder.encode(spans)).resource_spans
    [scope] = resource.scope_spans
    return list(scope.spans)


def value_of(value: AnyValue) -> Value:
    found: Value = getattr(value, value.WhichOneof("value") or "string_value")
    return found


@given(st.lists(SPANS, max_size=5))
def test_spans_are_read_as_they_were_written(spans: list[Ended]) -> None:
    found = read(ENCODER, *spans)

    assert len(found) == len(spans)
    for got, span in zip(found, spans, strict=True):
        parent = span.parent.span_id if span.parent is not None else ""
        assert (got.trace_id.hex(), got.span_id.hex()) == (span.context.trace_id, span.context.span_id)
        assert (got.parent_span_id.hex(), got.trace_state) == (parent, span.context.state)
        assert (got.name, got.kind) == (span.name, span.kind)
        assert (got.start_time_unix_nano, got.end_time_unix_nano) == (span.started, span.ended)
        assert got.flags == (0x300 if span.remote else 0x100)
        assert got.status.code == (Status.STATUS_CODE_ERROR if span.error else Status.STATUS_CODE_UNSET)
        wanted = {**span.attributes, "error.type": span.error} if span.error else span.attributes
        read_back = {one.key: value_of(one.value) for one in got.attributes}
        assert read_back == wanted
        assert {name: type(value) for name, value in read_back.items()} == {
            name: type(value) for name, value in wanted.items()
        }


def test_the_process_and_the_library_are_named_once() -> None:
    [resource] = ExportTraceServiceRequest.FromString(ENCODER.encode([Ended(), Ended()])).resource_spans
    [scope] = resource.scope_spans
    attributes = {one.key: one.value for one in resource.resource.attributes}

    assert attributes["service.name"].string_value == "mine"
    assert attributes["process.pid"].int_value == 7
    assert [one.string_value for one in attributes["args"].array_value.values] == ["a", "b"]
    assert (scope.scope.name, scope.scope.version) == ("opencode-a2a", "2.0.0")
    assert len(scope.spans) == 2


def test_values_that_the_protocol_has_not_are_text() -> None:
    [span] = read(ENCODER, Ended(attributes={"large": 2**64, "low": -(2**63), "lone": "\ud800"}))

    assert [value_of(one.value) for one in span.attributes] == [str(2**64), -(2**63), "?"]


def test_equal_values_of_different_types_stay_apart() -> None:
    for _ in range(2):  # the second time they come from a cache
        [span] = read(ENCODER, Ended(attributes={"a": True, "b": 1, "c": 1.0}))
        assert [one.value.WhichOneof("value") for one in span.attributes] == [
            "bool_value",
            "int_value",
            "double_value",
        ]
        [span] = read(ENCODER, Ended(attributes={"a": 1, "b": 1.0, "c": True}))
        assert [one.value.WhichOneof("value") for one in span.attributes] == [
            "int_value",
            "double_value",
            "bool_value",
        ]


def test_the_limits_cut_texts_and_leave_out_attributes() -> None:
    encoder = evolve(ENCODER, limits=SpanLimits(characters=3, attributes=2))
    [span] = read(encoder, Ended(attributes={"a": "12345", "b": 12345, "c": 1}, error="503"))

    assert [(one.key, value_of(one.value)) for one in span.attributes] == [("a", "123"), ("b", 12345)]
    assert span.dropped_attributes_count == 2
