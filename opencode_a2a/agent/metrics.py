"""Opens the meters that the settings ask for, and lets them read what the agent knows."""

from __future__ import annotations

from attrs import frozen

from opencode_a2a.agent.instances import Instances
from opencode_a2a.agent.turns.instance_interrupts import InstanceInterrupts
from opencode_a2a.config.settings import Settings, SettingsError
from opencode_a2a.distribution import how_to_install
from opencode_a2a.metrics.endpoint import MetricsEndpoint
from opencode_a2a.metrics.meters import NO_METERS, Meters
from sansio.metrics import (
    INSTANCE_TURNS,
    INSTANCE_UP,
    INTERRUPTS,
    INTERRUPTS_ASKED,
    INTERRUPTS_RESOLVED,
    OLDEST_INTERRUPT,
    RECONNECTS,
    UPSTREAM_UP,
)


@frozen
class Metrics:
    """The meters, and what serves them; None where metrics are off."""

    meters: Meters
    endpoint: MetricsEndpoint | None


def open_metrics(settings: Settings) -> Metrics:
    """Open the meters. Raises `SettingsError` where metrics are on and their library is not installed."""
    if not settings.metrics_enabled:
        return Metrics(NO_METERS, None)
    try:
        from opencode_a2a.metrics.prometheus import CONTENT_TYPE, PrometheusMeters
    except ImportError:
        problem = f"A2A_METRICS_ENABLED: needs the package prometheus-client: {how_to_install('metrics')}"
        raise SettingsError([problem]) from None
    meters = PrometheusMeters()
    return Metrics(meters, MetricsEndpoint(meters.text, CONTENT_TYPE))


def watch_agent(meters: Meters, instances: Instances) -> None:
    """Let the meters read what there is of OpenCode and of pending interrupts."""
    interrupts = InstanceInterrupts([instance.interrupts for instance in instances])
    meters.read(UPSTREAM_UP, lambda: float(all(one.bus.connected for one in instances)))
    meters.read(RECONNECTS, lambda: sum(max(0, one.bus.reconnects - 1) for one in instances))
    if instances.are_named:
        meters.read(INSTANCE_UP, lambda: {one.name: float(one.bus.connected) for one in instances})
        meters.read(INSTANCE_TURNS, lambda: {one.name: len(one.turns.running) for one in instances})
    meters.read(INTERRUPTS, lambda: len(interrupts.ages()))
    meters.read(OLDEST_INTERRUPT, lambda: max(interrupts.ages(), default=0.0))
    meters.read(INTERRUPTS_ASKED, lambda: sum(total.asked for total in interrupts.totals()))
    meters.read(INTERRUPTS_RESOLVED, lambda: sum(total.answered for total in interrupts.totals()))
