"""Parts that the runtimes share: HTTP on h2 and Hypercorn's protocols, within the bounds of `sansio.transport`.

Knows no event loop: a runtime brings connections, tasks and time. Knows nothing of A2A or OpenCode.
"""

from __future__ import annotations

from runtime_http.accepting import Listener, SharedListener
from runtime_http.pool import TOO_MANY
from runtime_http.protocols import Protocol
from runtime_http.server import Server, addresses, log_failure
from runtime_http.tls import TlsSession
from runtime_http.tls_reading import read_decrypted, shake_hands

__all__ = [
    "PIECE",
    "TOO_MANY",
    "Listener",
    "Protocol",
    "Server",
    "SharedListener",
    "TlsSession",
    "addresses",
    "log_failure",
    "read_decrypted",
    "shake_hands",
]

PIECE = 65536
"""Bytes that are read or written at once: as many must leave within the limit of a write."""
