"""Prometheus' own checker reads metrics, rules and dashboard. Each rule fires for what it is for, no other does."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.tools import program
from tests.shell.server.http.test_metrics import every_meter_used
from tests.tools.test_dashboards import ALERTS, expressions, rules

TARGET = 'instance="localhost:9000",job="opencode-a2a"'
"""The labels that Prometheus adds."""

HEALTHY = {
    "up": "1x45",
    "a2a_upstream_connected": "1x45",
    "opencode_stream_retries_total": "0x45",
    "a2a_store_writable": "1x45",
    "a2a_store_unstored_bytes": "200000x45",
    'a2a_turns_total{state="completed"}': "0+6x45",
    'a2a_turns_total{state="failed"}': "0x45",
    'a2a_turns_total{state="auth-required"}': "0x45",
    "a2a_interrupt_oldest_seconds": "0x45",
    "a2a_tls_certificate_expiry_timestamp_seconds": "7776000x45",
    'a2a_push_notifications_total{outcome="given_up"}': "0x45",
    'a2a_requests_refused_total{reason="INTERNAL_ERROR"}': "0x45",
    'a2a_requests_refused_total{reason="UNAUTHENTICATED"}': "0+1x45",
    "a2a_replicas_alive": "1x45",
    "a2a_replica_lease_held": "1x45",
    "a2a_replica_lease_renewals_failed_total": "0x45",
    "a2a_replica_lease_lost_total": "0x45",
    "a2a_replica_takeovers_total": "0x45",
    'a2a_replica_commands_sent_total{outcome="unanswered"}': "0x45",
    **{
        f'{name}_bucket{{le="{bound}"}}': f"0+{count}x45"
        for name in ("a2a_store_commit_seconds", "a2a_event_lag_seconds", "a2a_loop_lag_seconds")
        for bound, count in (("0.01", 50), ("0.25", 100), ("0.5", 100), ("1.0", 100), ("2.5", 100), ("+Inf", 100))
    },
}
"""Three quarters of an hour of a server that is well, a value a minute."""


def late(name: str, *bounds: str) -> dict[str, str]:
    """A tenth of the values is above these bounds."""
    return {f'{name}_bucket{{le="{bound}"}}': "0+90x45" for bound in bounds}


TROUBLE = {
    "OpenCodeA2AUpstreamDown": {"a2a_upstream_connected": "1x40 0x5"},
    "OpenCodeA2AUpstreamFlapping": {"opencode_stream_retries_total": "0+1x45"},
    "OpenCodeA2AStoreNotWritable": {"a2a_store_writable": "1x42 0x3"},
    "OpenCodeA2AWritesWait": {"a2a_store_unstored_bytes": "0x40 5000000+5000000x4"},
    "OpenCodeA2ACommitsSlow": late("a2a_store_commit_seconds", "0.25", "0.5"),
    "OpenCodeA2ATurnsFail": {'a2a_turns_total{state="failed"}': "0+2x45"},
    "OpenCodeA2ALoginWanted": {'a2a_turns_total{state="auth-required"}': "0x40 1x5"},
    "OpenCodeA2AInterruptWaits": {"a2a_interrupt_oldest_seconds": "0+60x45"},
    "OpenCodeA2AEventsLate": late("a2a_event_lag_seconds", "0.25", "0.5", "1.0"),
    "OpenCodeA2ALoopBlocked": late("a2a_loop_lag_seconds", "0.25"),
    "OpenCodeA2APushGivenUp": {'a2a_push_notifications_total{outcome="given_up"}': "0x40 1x5"},
    "OpenCodeA2ARequestsFail": {'a2a_requests_refused_total{reason="INTERNAL_ERROR"}': "0x30 1+1x15"},
    "OpenCodeA2ACertificateEnds": {"a2a_tls_certificate_expiry_timestamp_seconds": "1000000x45"},
    "OpenCodeA2AGuessing": {'a2a_requests_refused_total{reason="UNAUTHENTICATED"}': "0+120x45"},
    "OpenCodeA2AServerMissing": {'up{instance="localhost:9001",job="opencode-a2a"}': "0x45"},
    "OpenCodeA2ANoLease": {"a2a_replica_lease_held": "1x42 0x3"},
    "OpenCodeA2ALeaseLost": {"a2a_replica_lease_lost_total": "0x40 1x5"},
    "OpenCodeA2ARenewalsFail": {"a2a_replica_lease_renewals_failed_total": "0x30 1+1x15"},
    "OpenCodeA2ATakeovers": {"a2a_replica_takeovers_total": "0x20 1x7 2x7 3x7 4x4"},
    "OpenCodeA2ACommandsUnanswered": {'a2a_replica_commands_sent_total{outcome="unanswered"}': "0x40 1x5"},
}
"""How the series of each rule go where it has to fire."""


def promtool(*arguments: str, given: bytes = b"") -> str:
    """What it prints. A failed check fails the test."""
    command = [program("promtool"), *arguments]
    done = subprocess.run(command, input=given, capture_output=True, timeout=60, check=False)
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, said
    return said


def of_target(name: str) -> str:
    """A series as Prometheus has it, unless it is another target's."""
    if "instance=" in name:
        return name
    return f"{name[:-1]},{TARGET}}}" if name.endswith("}") else f"{name}{{{TARGET}}}"


def story(series: dict[str, str], firing: str | None) -> dict[str, Any]:
    """A test of the rules: the series, and the alert that fires at their end."""
    given = [{"series": of_target(name), "values": values} for name, values in series.items()]
    expected = [] if firing is None else [{"labels": f'{{alertname="{firing}"}}', "value": 1}]
    look = {
        "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
        "eval_time": "45m",
        "exp_samples": expected,
    }
    return {"interval": "1m", "name": firing or "healthy", "input_series": given, "promql_expr_test": [look]}


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_the_text_of_the_metrics_has_nothing_that_it_complains_of(anyio_backend: str) -> None:
    assert promtool("check", "metrics", given=await every_meter_used().text()) == ""


def test_the_rules_are_rules() -> None:
    assert f"SUCCESS: {len(rules())} rules found" in promtool("check", "rules", str(ALERTS))


def test_every_expression_of_the_dashboard_is_promql(tmp_path: Path) -> None:
    written = [
        {"record": f"panel:{number}", "expr": text.replace("$__rate_interval", "1m").replace("$instance", ".*")}
        for number, (_, text) in enumerate(expressions())
    ]
    file = tmp_path / "panels.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": written}]}))

    assert f"SUCCESS: {len(written)} rules found" in promtool("check", "rules", str(file))


def test_each_rule_fires_for_what_it_is_for_and_none_for_a_healthy_server(tmp_path: Path) -> None:
    assert set(TROUBLE) == {rule["alert"] for rule in rules()}
    stories = [story(HEALTHY, None), *(story(HEALTHY | series, name) for name, series in TROUBLE.items())]
    file = tmp_path / "stories.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": stories}))

    assert "SUCCESS" in promtool("test", "rules", str(file))
