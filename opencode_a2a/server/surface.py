"""The deployment, as what serves its requests needs to know it. Knows no request."""

from __future__ import annotations

from attrs import field, frozen

from opencode_a2a.metrics.endpoint import MetricsEndpoint
from opencode_a2a.metrics.meters import NO_METERS, Meters
from opencode_a2a.server.console.console import Console
from opencode_a2a.server.http.payload_log import PayloadLog
from opencode_a2a.server.identity.authenticator import Authenticator
from opencode_a2a.server.identity.connection_tickets import ConnectionTickets, LocalTickets
from opencode_a2a.tracing.spans import NO_TRACER, Tracer
from sansio.a2a.server import ServedProtocol
from sansio.guards.hosts import ServedHosts
from sansio.guards.origins import NO_ORIGINS, AllowedOrigins
from sansio.guards.proxies import NO_PROXIES, TrustedProxies
from sansio.guards.rate_limits import RequestRates
from sansio.limits import StreamLimits


@frozen(kw_only=True)
class Surface:
    """The deployment, as the HTTP surface needs to know it.

    `body_limit` and `gzip_minimum`: bytes, 0 for none. `stays_open`: no stream ends where its task asks;
    `stays_open_for`: nor does one with one of these extensions. `websockets_per_principal`: 0 for no limit.
    `prefix`: the path of the public URL, without a slash at its end. `rates`: None for no rate limits.
    """

    authenticator: Authenticator
    protocol: ServedProtocol
    body_limit: int
    gzip_minimum: int
    limits: StreamLimits
    started: float
    origins: AllowedOrigins = NO_ORIGINS
    prefix: str = ""
    hosts: ServedHosts = ServedHosts()
    proxies: TrustedProxies = NO_PROXIES
    rates: RequestRates | None = None
    stays_open: bool = False
    stays_open_for: frozenset[str] = frozenset()
    meters: Meters = NO_METERS
    metrics: MetricsEndpoint | None = None
    payloads: PayloadLog | None = None
    tracer: Tracer = NO_TRACER
    tickets: ConnectionTickets = field(factory=LocalTickets)
    websockets_per_principal: int = 64
    console: Console | None = None
