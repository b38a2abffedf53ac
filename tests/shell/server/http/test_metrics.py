"""The metrics over HTTP: who may read them, that Prometheus' own parser reads them, and what they count."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from opencode_a2a.agent.metrics import open_metrics
from opencode_a2a.cli.serve import serve
from opencode_a2a.config.settings import Settings, SettingsError, load_settings
from opencode_a2a.fake_opencode import Say
from opencode_a2a.metrics import prometheus
from opencode_a2a.metrics.prometheus import PrometheusMeters
from sansio.access import Credential, CredentialSet
from sansio.metrics import METERS, REFUSED, Kind
from tests.shell.cases import one_codec
from tests.shell.harness import (
    CREDENTIALS,
    DEADLINE,
    REST_10,
    RUNTIMES,
    Agent,
    Serving,
    Wire,
    client,
    quick,
    served,
    until,
)
from tests.shell.push_receiver import OK, answer, receiving
from tests.tools.test_dashboards import rules

pytestmark = pytest.mark.anyio

SCRAPER = "scraper-4b7e1c"
WITH_SCRAPER = CredentialSet(
    (*CREDENTIALS.credentials, Credential.bearer(SCRAPER, principal="prometheus", capabilities=("metrics",)))
)
ON: dict[str, Any] = {"metrics_enabled": True, "credentials": WITH_SCRAPER}


def samples(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """The samples by name and label values, as Prometheus' own parser reads them."""
    families = list(text_string_to_metric_families(text))
    return {(sample.name, tuple(sample.labels.values())): sample.value for one in families for sample in one.samples}


async def scraped(agent: Agent) -> dict[tuple[str, tuple[str, ...]], float]:
    async with client(agent.url, SCRAPER) as scraper:
        response = await scraper.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    return samples(response.text)


async def test_only_a_credential_with_the_capability_reads_the_metrics(serving: Serving) -> None:
    async with serving(**ON) as agent, client(agent.url, None) as stranger, client(agent.url, SCRAPER) as scraper:
        assert (await stranger.get("/metrics")).status_code == 401
        refused = await agent.http.get("/metrics")
        assert refused.status_code == 403
        assert "metrics" in refused.text
        assert (await scraper.head("/metrics")).status_code == 200
        assert (await scraper.post("/metrics", json={})).status_code == 405


async def test_without_the_setting_there_are_none(serving: Serving) -> None:
    async with serving(credentials=WITH_SCRAPER) as agent, client(agent.url, SCRAPER) as scraper:
        assert (await scraper.get("/metrics")).status_code == 404


@one_codec
async def test_every_row_of_the_table_is_there_and_counts_what_happened(serving: Serving, wire: Wire) -> None:
    async with serving(**ON) as agent:
        caller = agent.caller(wire)
        await caller.send("hi")
        await caller.stream("hi")
        await caller.send("FAIL401")
        await caller.refused("get", id="none")
        await agent.http.get("/tasks", headers={"authorization": "Bearer no-such-token"})
        found = await scraped(agent)

    label = {"rpc": "other", "rest": "other"}[wire.binding]
    assert found["a2a_http_requests_total", ("send", "200")] == 2
    assert found["a2a_http_requests_total", ("stream", "200")] == 1
    assert found["a2a_http_requests_total", (label, "401")] == 1
    assert found["a2a_requests_refused_total", ("TASK_NOT_FOUND",)] == 1
    assert found["a2a_requests_refused_total", ("UNAUTHENTICATED",)] == 1
    assert found["a2a_stream_requests_total", ()] == 1
    assert found["a2a_turns_total", ("completed",)] == 2
    assert found["a2a_turns_total", ("auth-required",)] == 1
    assert found["a2a_turn_failures_total", ("UPSTREAM_UNAUTHORIZED",)] == 1
    assert found["a2a_turn_duration_seconds_count", ()] == 3
    assert found["a2a_turn_first_token_seconds_count", ()] == 2
    assert found["a2a_event_lag_seconds_count", ()] >= 1
    assert found["a2a_event_lag_seconds_sum", ()] < DEADLINE
    assert found["a2a_upstream_connected", ()] == 1
    assert found["a2a_store_writable", ()] == 1
    assert found["a2a_stream_active", ()] == 0
    assert found["a2a_interrupts_pending", ()] == 0
    assert ("process_cpu_seconds_total", ()) in found
    assert not [name for name, _ in found if name.startswith("a2a_replica")]  # there is one server


async def test_what_a_rule_looks_for_is_there_before_its_first_event(serving: Serving) -> None:
    async with serving(**ON) as agent:
        found = await scraped(agent)
    counters = {meter.name for meter in METERS if meter.kind is Kind.COUNTER}
    selected = {
        (name, tuple(re.findall(r'"([^"]*)"', matchers)))
        for rule in rules()
        for name, matchers in re.findall(r"(\w+)\{([^}]*)\}", rule["expr"])
        if name in counters
    }

    alone = {series for series in selected if not series[0].startswith("a2a_replica")}
    assert len(alone) > 4
    assert {found.get(series) for series in alone} == {0}
    assert not [name for name, _ in found if name.endswith("_created")]


async def test_what_is_under_way_is_read_when_somebody_asks(serving: Serving) -> None:
    async with serving(**ON) as agent:
        agent.fake_opencode.hold(Say, tokens=1)
        async with agent.caller(REST_10).open("hi") as stream:
            await stream.until(lambda: stream.text)
            working = await scraped(agent)
            agent.fake_opencode.release()
            await stream.whole()
        task = await agent.caller(REST_10).send("PERMISSION", configuration=REST_10.at_once())
        await agent.caller(REST_10).until_waiting(task.id)
        asking = await scraped(agent)

    assert working["a2a_stream_active", ()] == 1
    assert working["a2a_tasks_active", ("working",)] == 1
    assert asking["a2a_interrupts_pending", ()] == 1
    assert 0 <= asking["a2a_interrupt_oldest_seconds", ()] < DEADLINE
    assert asking["a2a_tasks_active", ("input-required",)] == 1


async def test_a_permission_is_counted_as_it_is_asked_and_as_it_is_answered(serving: Serving) -> None:
    async with serving(**ON) as agent:
        caller = agent.caller(REST_10)
        agent.fake_opencode.hold(Say, tokens=1)
        task = await caller.send("PERMISSION", configuration=REST_10.at_once())
        await caller.until_waiting(task.id)
        asked = await scraped(agent)
        await caller.send("once", taskId=task.id, contextId=task.context_id, configuration=REST_10.at_once())
        with anyio.fail_after(DEADLINE):
            await agent.fake_opencode.held()
        answered = await scraped(agent)
        agent.fake_opencode.release()
        await caller.finished(task.id)
        ended = await scraped(agent)

    assert counts_of_interrupts(asked) == (1, 1, 0)
    assert counts_of_interrupts(answered) == (0, 1, 1)
    assert answered["a2a_tasks_active", ("working",)] == 1
    assert counts_of_interrupts(ended) == (0, 1, 1)


async def test_what_still_waits_as_its_turn_ends_was_not_answered(serving: Serving) -> None:
    async with serving(**ON) as agent:
        caller = agent.caller(REST_10)
        for _ in range(2):
            task = await caller.send("PERMISSION", configuration=REST_10.at_once())
            await caller.until_waiting(task.id)
            await caller.ask("cancel", {"id": task.id})
            await until(lambda: not agent.running.tasks.active_tasks)
        found = await scraped(agent)

    assert counts_of_interrupts(found) == (0, 2, 0)


def counts_of_interrupts(found: dict[tuple[str, tuple[str, ...]], float]) -> tuple[float, float, float]:
    """The numbers of those that wait, that were asked, and that were answered."""
    names = ("a2a_interrupts_pending", "interrupt_requests_total", "interrupt_resolved_total")
    pending, asked, answered = (found[name, ()] for name in names)
    return pending, asked, answered


async def test_deliveries_are_counted_by_their_outcome(serving: Serving) -> None:
    async with receiving() as receiver, serving(push_allow_private_hosts=True, **ON) as agent:
        url = receiver.plan("/push", answer(503, "retry-after: 0"), OK)
        await agent.caller().send("hi", configuration={"taskPushNotificationConfig": {"url": url}})
        await receiver.until(lambda: len(receiver.received) >= 4)
        found = await scraped(agent)

    counted = {labels[0]: value for (name, labels), value in found.items() if name == "a2a_push_notifications_total"}
    assert set(counted) == {"delivered", "retried", "given_up"}
    assert counted["delivered"] >= 2
    assert (counted["retried"], counted["given_up"]) == (1, 0)


async def test_commits_are_measured_in_a_database(serving_on_disk: Serving) -> None:
    async with serving_on_disk(**ON) as agent:
        await agent.caller().send("hi")
        found = await scraped(agent)

    assert found["a2a_store_commit_seconds_count", ()] >= 2
    assert found["a2a_store_size_bytes", ()] > 0
    assert ("a2a_store_tasks", ()) in found
    assert found["a2a_store_queue_length", ()] >= 0


async def test_the_lag_of_the_loop_has_the_name_of_the_runtime(anyio_backend: str, serving: Serving) -> None:
    async with serving(**ON, runtime=anyio_backend) as agent:
        with anyio.fail_after(DEADLINE):
            while True:
                if (await scraped(agent)).get(("a2a_loop_lag_seconds_count", (anyio_backend,))):
                    break
                await anyio.sleep(0.05)


@asynccontextmanager
async def with_port(backend: str) -> AsyncGenerator[str]:
    """A server whose metrics have a port of their own; gives its URL."""
    lines: list[str] = []
    stop, ended = anyio.Event(), anyio.Event()
    async with served(backend, quick()) as opencode, anyio.create_task_group() as tasks:
        settings = Settings(
            port=0,
            opencode_url=opencode,
            credentials=CREDENTIALS,
            task_store_backend="memory",
            metrics_enabled=True,
            metrics_port=0,
            tool_enabled=False,
        )

        async def run() -> None:
            await serve(settings, RUNTIMES[backend], stop=stop.wait, ready=lambda url: None, say=lines.append)
            ended.set()

        tasks.start_soon(run)
        await until(lambda: lines)
        try:
            yield lines[0].removeprefix("metrics on ")
        finally:
            stop.set()
            with anyio.move_on_after(DEADLINE, shield=True):
                await ended.wait()


async def test_a_port_of_its_own_wants_no_credential_and_has_nothing_else(anyio_backend: str) -> None:
    async with with_port(anyio_backend) as url, httpx.AsyncClient(trust_env=False) as http:
        response = await http.get(url)
        other = await http.get(url.replace("/metrics", "/health"))
        posted = await http.post(url)

    assert url.startswith("http://127.0.0.1:")
    assert samples(response.text)["a2a_store_writable", ()] == 1
    assert (other.status_code, posted.status_code) == (404, 405)


def every_meter_used() -> PrometheusMeters:
    """Meters with a value in each row of the table."""
    meters = PrometheusMeters()
    for meter in METERS:
        labels = ["x"] * len(meter.labels)
        if meter.kind is Kind.COUNTER:
            meters.count(meter, *labels)
        elif meter.kind is Kind.HISTOGRAM:
            meters.observe(meter, 0.2, *labels)
        else:
            meters.read(meter, partial(dict, {"x": 1.0}) if labels else lambda: 1.0)
    return meters


async def test_the_text_has_the_rows_of_the_table_with_their_kinds() -> None:
    meters = every_meter_used()
    families = {one.name: one for one in text_string_to_metric_families((await meters.text()).decode())}

    for meter in METERS:
        family = families[meter.name.removesuffix("_total")]
        assert (family.type, family.documentation) == (meter.kind.value, meter.help)
        shown = {label for sample in family.samples for label in sample.labels} - {"le"}
        assert shown == set(meter.labels)


async def test_label_values_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus, "MOST_LABELS", len(REFUSED.known) + 3)
    meters = PrometheusMeters()
    for number in range(10):
        meters.count(REFUSED, f"reason-{number}")
    found = samples((await meters.text()).decode())

    counted = {labels: value for (name, labels), value in found.items() if name == "a2a_requests_refused_total"}
    known = {(reason,): 0 for reason in REFUSED.known}
    assert counted == {("reason-0",): 1, ("reason-1",): 1, ("reason-2",): 1, ("other",): 7} | known


def test_the_server_needs_no_prometheus() -> None:
    program = (
        "import sys; import opencode_a2a.cli.serve, opencode_a2a.server.agent_server; "
        "sys.exit('prometheus_client' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_missing_library_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opencode_a2a.metrics.prometheus", None)

    with pytest.raises(SettingsError, match=r"prometheus-client.*metrics"):
        open_metrics(Settings(metrics_enabled=True))


def test_a_port_without_metrics_is_warned_about() -> None:
    _, warnings = load_settings({"A2A_METRICS_PORT": "9000"})

    assert warnings == ["A2A_METRICS_PORT has no effect without A2A_METRICS_ENABLED"]
