"""The settings of what the server shows its operator: the log and the metrics. Knows neither of them."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from opencode_a2a.config import settings_values as values
from opencode_a2a.config.settings_peers import PeerSettings
from opencode_a2a.config.settings_rows import row

LOG_FORMATS: Final = ("text", "json")
_LOG, _METRICS = "The log", "Metrics"


@frozen(kw_only=True, init=False, repr=False, eq=False)
class TelemetrySettings(PeerSettings):
    """The rows of the log and the metrics."""

    log_format: str = row(
        _LOG,
        "A2A_LOG_FORMAT",
        values.one_of(*LOG_FORMATS),
        "text",
        "the form of a record: text, or json with one JSON object a line",
    )
    log_payloads: bool = row(
        _LOG,
        "A2A_LOG_PAYLOADS",
        values.flag,
        False,
        "whether the level DEBUG has the bodies of requests and answers, which hold what people write: true or false",
    )
    log_body_limit: int = row(
        _LOG,
        "A2A_LOG_BODY_LIMIT",
        values.whole(0),
        0,
        "how much of each body is logged then: a whole number of bytes; 0, and more than 16384, are 16384",
    )
    metrics_enabled: bool = row(
        _METRICS,
        "A2A_METRICS_ENABLED",
        values.flag,
        False,
        "whether `/metrics` is there, for callers whose credential has the capability metrics: true or false",
    )
    metrics_port: int | None = row(
        _METRICS,
        "A2A_METRICS_PORT",
        values.whole(0, 65535),
        None,
        "a port of its own for `/metrics`, without credentials: a whole number from 0 to 65535; 0 takes any free one",
        default_text="none: only the main port has it",
    )
    metrics_host: str = row(
        _METRICS,
        "A2A_METRICS_HOST",
        values.host,
        "127.0.0.1",
        "the address of that port: a host name or an IP address",
    )
