"""The number of connections that the server takes: as configured, within what file descriptors allow."""

from __future__ import annotations

import logging
import resource

from opencode_a2a.config.settings import Settings
from sansio.a2a.cards.parse import WEBSOCKET
from sansio.a2a.websocket.messages import PATH as WEBSOCKET_PATH
from sansio.transport.connections import ConnectionLimits, affordable

_FEW = 256  # connections; fewer are worth a warning

_log = logging.getLogger(__name__)


def connection_limits(settings: Settings, descriptors: int | None = None) -> ConnectionLimits:
    """Bound connections below the limit of file descriptors, and log where that is less than is asked for.

    `descriptors`: their number; None for the soft `RLIMIT_NOFILE` of this process.
    """
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0] if descriptors is None else descriptors
    if limit == resource.RLIM_INFINITY:
        limit = 1 << 20
    total = affordable(limit, settings.max_connections)
    if total < (settings.max_connections or _FEW):
        _log.warning(
            "RLIMIT_NOFILE is %d: connections served at once: at most %d; raise it with `ulimit -n`", limit, total
        )
    return ConnectionLimits(
        total=total,
        per_address=settings.max_connections_per_address,
        http2=settings.speaks_http2,
        websockets=WEBSOCKET_PATH if WEBSOCKET in settings.bindings else "",
        largest_message=settings.max_request_body_bytes,
        uncounted=settings.trusted_proxies,
    )
