"""The variables that turn traces on and off, and what keeps a server with them from being held up."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from contextlib import nullcontext

import anyio
import pytest

from opencode_a2a.tracing import opentelemetry_switch, otlp_sender
from opencode_a2a.tracing.opentelemetry_spans import CLOSING_SECONDS
from opencode_a2a.tracing.opentelemetry_switch import asks_for_traces, tracing
from opencode_a2a.tracing.spans import NO_TRACER, SpanKind
from tests.shell.harness import until
from tests.shell.tracing.collector import Collector
from tests.shell.tracing.conftest import Traced, came

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


@pytest.mark.parametrize(
    ("environ", "on"),
    [
        ({}, False),
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, False),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "True"}, False),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "false"}, True),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, False),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({**ENDPOINT, "A2A_OTEL_INSTRUMENTATION_ENABLED": "false"}, False),
        ({"OTEL_SERVICE_NAME": "mine"}, False),
    ],
    ids=range(10),
)
def test_an_endpoint_turns_traces_on(environ: dict[str, str], on: bool) -> None:
    assert asks_for_traces(environ) is on


def test_without_the_variables_nothing_of_opentelemetry_is_loaded() -> None:
    program = (
        "import sys; import opencode_a2a.cli.serve as serve; "
        "from opencode_a2a.tracing.opentelemetry_switch import tracing; "
        "tracing('1', {}, print, {}); "
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.strip() == "[]"


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(opentelemetry_switch, "import_module", missing)
    warnings: list[str] = []

    found = tracing("1", {}, warnings.append, dict(ENDPOINT))

    assert isinstance(found, nullcontext)
    assert found.enter_result is NO_TRACER
    assert len(warnings) == 1
    assert ".[otel]" in warnings[0]


@pytest.mark.anyio
async def test_variables_that_cannot_be_used_are_warned_about_without_their_values(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "-17")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=secret-5d2f")
    warnings: list[str] = []

    async with tracing("1", {}, warnings.append) as found:
        assert found is NO_TRACER

    assert [("cannot be used" in text, "secret" in text) for text in warnings] == [(True, False)]


def test_another_protocol_is_warned_about() -> None:
    warnings: list[str] = []

    tracing(
        "1", {}, warnings.append, {**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_SDK_DISABLED": "true"}
    )
    assert warnings == []

    tracing("1", {}, warnings.append, {**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})
    assert "http/protobuf" in warnings[0]


@pytest.mark.anyio
async def test_headers_and_names_are_those_of_the_variables(
    traced: Traced, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20secret-5d2f")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
    async with traced() as agent:
        await agent.caller().send("hi")
        await came(collector, lambda: collector.named("invoke_agent"))

    resource = collector.spans[0].resource
    assert collector.headers[0]["authorization"] == "Bearer secret-5d2f"
    assert (resource["service.name"], resource["service.version"]) == ("mine", "2.0.0")
    assert resource["deployment.environment"] == "test"
    assert resource["telemetry.sdk.name"] == "opentelemetry"


def test_variables_of_the_file_are_the_processs(monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {"OTEL_SERVICE_NAME": "mine"}

    tracing("1", {"OTEL_SERVICE_NAME": "other", "OTEL_SDK_DISABLED": "true", "A2A_PORT": "1"}, print, environ)

    assert environ == {"OTEL_SERVICE_NAME": "mine", "OTEL_SDK_DISABLED": "true"}


@pytest.mark.anyio
async def test_a_collector_that_hangs_holds_up_neither_a_turn_nor_the_end(
    traced: Traced, collector: Collector
) -> None:
    collector.delay = 8.0
    async with traced() as agent:
        for _ in range(3):
            started = anyio.current_time()
            await agent.caller().send("hi")
            assert anyio.current_time() - started < 7  # the collector takes 8
        await anyio.sleep(0.1)  # so that the exporter is at work
        ending = time.monotonic()
    assert time.monotonic() - ending < CLOSING_SECONDS + 5
    collector.delay = 0.0


@pytest.mark.anyio
async def test_a_collector_that_is_away_is_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=secret-5d2f")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")

    def complaints() -> list[logging.LogRecord]:
        return [record for record in caplog.records if record.name == otlp_sender.__name__]

    async with tracing("1", {}, pytest.fail) as tracer:
        tracer.start("one", SpanKind.SERVER, None).end()
        await until(complaints)
        tracer.start("two", SpanKind.SERVER, None).end()

    assert len(complaints()) == 1
    assert "secret" not in caplog.text
