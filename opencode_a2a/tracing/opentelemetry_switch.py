"""Decides by the variables `OTEL_…` whether traces are recorded. Loads OpenTelemetry only where they are."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Mapping, MutableMapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Final

from opencode_a2a.config.settings_values import FALSE
from opencode_a2a.distribution import how_to_install
from opencode_a2a.tracing.spans import NO_TRACER, Tracer

if TYPE_CHECKING:
    from opencode_a2a.tracing.opentelemetry_spans import OpenTelemetryTracer

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""The variables that turn traces on."""

_PREFIX: Final = "OTEL_"
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PROTOCOL: Final = "http/protobuf"
_EARLIER_SWITCH: Final = "A2A_OTEL_INSTRUMENTATION_ENABLED"


def asks_for_traces(environ: Mapping[str, str]) -> bool:
    """Return whether the variables turn traces on: an endpoint is set, and nothing turns them off."""
    if _value(environ, "OTEL_SDK_DISABLED") == "true" or _value(environ, _EARLIER_SWITCH) in FALSE:
        return False
    endpoint = any(_value(environ, name) for name in ENDPOINTS)
    return endpoint and _value(environ, "OTEL_TRACES_EXPORTER") in ("", "otlp")


def tracing(
    version: str,
    dotenv: Mapping[str, str],
    warn: Callable[[str], None],
    environ: MutableMapping[str, str] = os.environ,
) -> AbstractAsyncContextManager[Tracer]:
    """Return what gives the tracer that the variables ask for. `version`: of the server.

    The SDK reads the process's environment alone, so that variables of a `.env` file are put there. `warn` gets what
    keeps traces from being recorded; the server works all the same.
    """
    environ.update({name: text for name, text in dotenv.items() if name.startswith(_PREFIX) and name not in environ})
    if not asks_for_traces(environ):
        return nullcontext(NO_TRACER)
    protocol = next((value for name in _PROTOCOLS if (value := _value(environ, name))), _PROTOCOL)
    if protocol != _PROTOCOL:
        warn(f"traces are sent by {_PROTOCOL}, whatever {_PROTOCOLS[1]} says: name the collector's port for that")
    try:
        module = import_module("opencode_a2a.tracing.opentelemetry_spans")
    except ImportError:
        warn(f"{' or '.join(ENDPOINTS)} asks for traces, which need an extra: {how_to_install('otel')}")
        return nullcontext(NO_TRACER)
    return _open(partial(module.OpenTelemetryTracer, version), warn)


def _value(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name, "").strip().lower()


@asynccontextmanager
async def _open(make: Callable[[], OpenTelemetryTracer], warn: Callable[[str], None]) -> AsyncGenerator[Tracer]:
    try:
        tracer = make()
    except Exception as exc:  # whose text may repeat a value, and the values hold credentials
        warn(f"no traces are recorded: a variable {_PREFIX}… cannot be used ({type(exc).__name__})")
        yield NO_TRACER
        return
    try:
        yield tracer
    finally:
        await tracer.close()
