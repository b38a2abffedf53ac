"""How spans get to a collector: batches, retries, headers, and what is lost where it takes nothing."""

from __future__ import annotations

import ssl
import time
from collections.abc import Sequence
from pathlib import Path
from threading import Event

import pytest
import trustme

from opencode_a2a.tracing.opentelemetry_switch import tracing
from opencode_a2a.tracing.otlp_sender import OtlpSender
from opencode_a2a.tracing.span_queue import QueueLimits, SpanQueue
from opencode_a2a.tracing.spans import SpanKind
from sansio.a2a.bindings.trace_context import TraceContext
from sansio.otlp import EndedSpan, SpanEncoder
from tests.core.test_otlp import Ended
from tests.shell.harness import DEADLINE
from tests.shell.tracing.collector import Collector, collecting

BODY = SpanEncoder.of({}, "x", "1").encode([Ended(name="one")])
PARENT = TraceContext("a" * 32, "b" * 16)


@pytest.mark.parametrize("compression", ["gzip", "deflate", "none"])
def test_a_request_is_compressed_as_the_variable_says(collector: Collector, compression: str) -> None:
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"{collector.url}/", "OTEL_EXPORTER_OTLP_COMPRESSION": compression}

    OtlpSender(environ, "test/1").send(BODY)

    assert [span.name for span in collector.spans] == ["one"]
    assert collector.headers[0].get("content-encoding", "none") == compression
    assert collector.headers[0]["user-agent"] == "test/1"


def test_variables_for_traces_go_before_those_for_all_signals(collector: Collector) -> None:
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{collector.url}/v1/traces",
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=other",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "Authorization=Bearer%20a%3Db, x-tenant = mine,",
    }

    OtlpSender(environ, "test/1").send(BODY)

    assert collector.headers[0]["authorization"] == "Bearer a=b"
    assert collector.headers[0]["x-tenant"] == "mine"


@pytest.mark.parametrize(
    "environ",
    [
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "file:///etc/passwd"},
        {"OTEL_EXPORTER_OTLP_COMPRESSION": "brotli"},
        {"OTEL_EXPORTER_OTLP_TIMEOUT": "soon"},
        {"OTEL_EXPORTER_OTLP_CERTIFICATE": "/does/not/exist"},
        {"OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": "/does/not/exist"},
    ],
    ids=range(5),
)
def test_variables_that_cannot_be_used_are_refused(environ: dict[str, str]) -> None:
    with pytest.raises((ValueError, OSError)):
        OtlpSender({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", **environ}, "test/1")


@pytest.mark.parametrize("name", ["SCHEDULE_DELAY", "MAX_QUEUE_SIZE", "MAX_EXPORT_BATCH_SIZE"])
def test_limits_of_the_queue_are_positive_numbers(name: str) -> None:
    for value in ("-17", "0", "many"):
        with pytest.raises(ValueError, match=f"OTEL_BSP_{name} must be a positive number"):
            QueueLimits.of({f"OTEL_BSP_{name}": value})
    assert QueueLimits.of({}) == QueueLimits(5.0, 2048, 512)


def test_a_collector_that_is_busy_is_asked_again_and_one_that_refuses_is_not(
    collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    sender = OtlpSender({"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}, "test/1")
    collector.answers = [503, 200]
    sender.send(BODY)
    assert (len(collector.spans), collector.requests) == (1, 2)
    assert not caplog.records

    collector.answers = [400, 200]
    sender.send(BODY)
    assert (len(collector.spans), collector.requests) == (1, 3)
    assert "the answer is 400" in caplog.text


def test_a_redirect_is_not_followed(collector: Collector, caplog: pytest.LogCaptureFixture) -> None:
    with collecting() as other:
        collector.answers, collector.location = [307], f"{other.url}/v1/traces"
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_EXPORTER_OTLP_HEADERS": "x=secret-5d2f"}
        OtlpSender(environ, "test/1").send(BODY)

        assert other.requests == 0
    assert "the answer is 307" in caplog.text
    assert "secret" not in caplog.text


def test_both_ends_prove_who_they_are_with_certificates_of_the_variables(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority = trustme.CA()
    own, tls = authority.issue_cert("opencode-a2a"), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    authority.configure_trust(tls)
    tls.verify_mode = ssl.CERT_REQUIRED
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    own.private_key_and_cert_chain_pem.write_to_path(tmp_path / "own.pem")
    with collecting(tls=tls) as collector:
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_EXPORTER_OTLP_TIMEOUT": "0.5"}
        OtlpSender(environ, "test/1").send(BODY)
        assert "SSLCertVerificationError" in caplog.text
        environ |= {"OTEL_EXPORTER_OTLP_CERTIFICATE": str(tmp_path / "authority.pem")}
        environ |= {"OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": str(tmp_path / "own.pem")}
        environ |= {"OTEL_EXPORTER_OTLP_TIMEOUT": "10"}
        OtlpSender(environ, "test/1").send(BODY)

        assert [span.name for span in collector.spans] == ["one"]


def test_retries_end_with_the_time_limit_and_with_the_program(caplog: pytest.LogCaptureFixture) -> None:
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_TIMEOUT": "60"}
    sender = OtlpSender(environ, "test/1")
    sender.close()
    began = time.monotonic()
    sender.send(BODY)

    assert time.monotonic() - began < 20  # of the 60 that it has
    assert "ConnectionRefusedError" in caplog.text


def test_spans_are_sent_in_batches_and_what_is_too_much_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    batches: list[list[str]] = []
    busy, go_on = Event(), Event()

    def send(spans: Sequence[EndedSpan]) -> None:
        batches.append([span.name for span in spans])
        busy.set()
        go_on.wait(DEADLINE)

    queue = SpanQueue(QueueLimits(delay=3600.0, waiting=5, batch=2), send)
    for number in range(2):
        queue.put(Ended(name=str(number)))
    assert busy.wait(DEADLINE)
    for number in range(2, 9):  # while the first batch is on its way
        queue.put(Ended(name=str(number)))
    go_on.set()
    queue.close(DEADLINE)

    assert batches == [["0", "1"], ["2", "3"], ["4", "5"], ["6"]]
    assert "2 spans were dropped" in caplog.text


def test_a_batch_that_cannot_be_sent_does_not_end_the_queue(caplog: pytest.LogCaptureFixture) -> None:
    sent: list[str] = []

    def send(spans: Sequence[EndedSpan]) -> None:
        if spans[0].name == "bad":
            raise RuntimeError("no")
        sent.extend(span.name for span in spans)

    queue = SpanQueue(QueueLimits(delay=3600.0, waiting=5, batch=1), send)
    queue.put(Ended(name="bad"))
    queue.put(Ended(name="good"))
    queue.close(DEADLINE)

    assert sent == ["good"]
    assert "1 spans are lost" in caplog.text


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("sampler", "argument", "roots", "of_sampled", "of_left_out"),
    [
        ("", "", True, True, False),
        ("parentbased_traceidratio", "0.0", False, True, False),
        ("parentbased_always_off", "", False, True, False),
        ("always_on", "", True, True, True),
        ("always_off", "", False, False, False),
        ("traceidratio", "1.0", True, True, True),
    ],
    ids=range(6),
)
async def test_the_sampler_is_that_of_the_variables(
    anyio_backend: str,
    collector: Collector,
    monkeypatch: pytest.MonkeyPatch,
    sampler: str,
    argument: str,
    roots: bool,
    of_sampled: bool,
    of_left_out: bool,
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", argument)
    left_out = TraceContext("c" * 32, "d" * 16, sampled=False, state="vendor=1")
    async with tracing("1", {}, pytest.fail) as tracer:
        for name, parent in (("root", None), ("of sampled", PARENT), ("of left out", left_out)):
            span = tracer.start(name, SpanKind.SERVER, parent, {"a": 1})
            if parent is not None:
                assert span.context.trace_id == parent.trace_id
                assert span.context.span_id != parent.span_id
                assert span.context.state == parent.state
            child = tracer.start(f"child of {name}", SpanKind.CLIENT, span.context)
            assert child.context.sampled == span.context.sampled
            child.end()
            span.end()

    recorded = {"root": roots, "of sampled": of_sampled, "of left out": of_left_out}
    wanted = {name for name, is_recorded in recorded.items() if is_recorded}
    assert {span.name for span in collector.spans} == wanted | {f"child of {name}" for name in wanted}


@pytest.mark.anyio
async def test_a_span_that_has_ended_changes_no_more(anyio_backend: str, collector: Collector) -> None:
    async with tracing("1", {}, pytest.fail) as tracer:
        span = tracer.start("one", SpanKind.INTERNAL, None)
        span.set({"kept": True})
        before = span.recording
        span.end("503")
        span.set({"late": True})
        span.end()
        assert (before, span.recording) == (True, False)

    [found] = collector.spans
    assert found.attributes == {"kept": True, "error.type": "503"}
    assert found.failed
