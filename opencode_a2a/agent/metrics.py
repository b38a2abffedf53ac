"""Opens the meters that the settings ask for, and lets them read what the agent knows."""

from __future__ import annotations

from attrs import frozen

from opencode_a2a.agent.turns.interrupt_service import InterruptService
from opencode_a2a.agent.upstream.event_bus import EventBus
from opencode_a2a.config.settings import Settings, SettingsError
from opencode_a2a.distribution import how_to_install
from opencode_a2a.metrics.endpoint import MetricsEndpoint
from opencode_a2a.metrics.meters import NO_METERS, Meters
from sansio.metrics import (
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


def watch_agent(meters: Meters, bus: EventBus, interrupts: InterruptService) -> None:
    """Let the meters read what there is of OpenCode and of pending interrupts."""
    meters.read(UPSTREAM_UP, lambda: float(bus.connected))
    meters.read(RECONNECTS, lambda: max(0, bus.reconnects - 1))
    meters.read(INTERRUPTS, lambda: len(interrupts.ages()))
    meters.read(OLDEST_INTERRUPT, lambda: max(interrupts.ages(), default=0.0))
    meters.read(INTERRUPTS_ASKED, lambda: interrupts.totals().asked)
    meters.read(INTERRUPTS_RESOLVED, lambda: interrupts.totals().answered)
