"""A collector, and the variables that have the server send spans to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import anyio.to_thread
import pytest
from attrs import evolve

from opencode_a2a.config.settings import Settings
from opencode_a2a.fake_opencode import FakeOpenCode
from opencode_a2a.tracing.opentelemetry_switch import tracing
from sansio.outbound import parse_allowed_hosts
from sansio.redact import Secret
from tests.shell.harness import ALICE, CREDENTIALS, Agent, agent_at, quick, served
from tests.shell.tracing.collector import Collector, collecting

Traced: TypeAlias = Callable[..., AbstractAsyncContextManager[Agent]]


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collecting() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        yield found


@pytest.fixture
def traced(anyio_backend: str, collector: Collector, tmp_path: Path) -> Traced:
    """Starts an agent that sends its spans to the collector."""

    @asynccontextmanager
    async def start(
        fake_opencode: FakeOpenCode | None = None, opencode: str = "", **more: Any
    ) -> AsyncIterator[Agent]:
        app = fake_opencode or quick()
        if not opencode:
            async with served(anyio_backend, app) as url, start(app, url, **more) as agent:
                yield agent
            return
        given: dict[str, Any] = {
            "opencode_url": opencode,
            "credentials": CREDENTIALS,
            "task_store_database_url": f"sqlite:///{tmp_path / 'tasks.db'}",
            "client_allowed_hosts": parse_allowed_hosts("127.0.0.1"),
            "client_bearer_token": Secret(ALICE),
            **more,
        }
        settings = Settings(**given)
        async with (
            tracing("2.0.0", {}, pytest.fail) as tracer,
            agent_at(anyio_backend, app, settings, tracer=tracer) as agent,
        ):
            agent.running.listening(evolve(settings, port=int(agent.url.rpartition(":")[2])))
            yield agent

    return start


async def came(collector: Collector, condition: Callable[[], object]) -> None:
    """Wait until the spans that came make it true."""
    await anyio.to_thread.run_sync(collector.wait, condition)
