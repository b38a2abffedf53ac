"""Parts that the runtimes share: HTTP on Hypercorn's protocols, within the bounds of `sansio.transport`.

Knows no event loop: a runtime brings connections, tasks and time. Knows nothing of A2A or OpenCode.
"""

from __future__ import annotations

import sys
from typing import Any

from hypercorn.config import Config

from runtime_http.pool import Pool
from runtime_http.protocols import Protocol

__all__ = ["PIECE", "Pool", "Protocol", "address", "configuration", "kinds"]

PIECE = 65536
"""Bytes that are written at once: as many must leave within the limit of a write."""


def configuration(bind: str, grace: float) -> Config:
    """Configure Hypercorn's protocols. `bind`: `host:port`. `grace`: seconds."""
    config = Config()
    config.bind = [bind]
    config.errorlog = None
    config.accesslog = None
    config.include_server_header = False
    config.graceful_timeout = grace
    config.max_app_queue_size = sys.maxsize  # `Http1` has a bound of its own, in bytes
    config.keep_alive_max_requests = 1_000_000
    return config


def kinds(group: BaseExceptionGroup[BaseException]) -> list[str]:
    """Name the types of the errors in a group. Their texts may hold what a client sent."""
    found: set[str] = set()
    for error in group.exceptions:
        found.update(kinds(error) if isinstance(error, BaseExceptionGroup) else [type(error).__name__])
    return sorted(found)


def address(name: tuple[Any, ...]) -> str:
    """Write a socket's address as `host:port`."""
    host, port = name[0], name[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
