"""Accepts connections from a socket, which several processes may listen on. Knows no event loop."""

from __future__ import annotations

import errno
import logging
import socket
from typing import Final

from sansio.transport.sharing import PAUSE, AcceptShare

_log = logging.getLogger(__name__)

EXHAUSTED: Final = 1.0
"""Seconds until the next attempt where file descriptors or memory have run out."""

_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Listener:
    """A listening socket of this process alone.

    The runtime waits until the socket is readable, then for `pause()` seconds, and then calls `take` as often as
    there are connections, up to `at_once`: those who come later are not to wait for the work of those before them.
    """

    at_once = 128

    def __init__(self, listener: socket.socket) -> None:
        self.socket = listener
        self._is_exhausted = False

    def pause(self) -> float:
        """Return the seconds to wait before the next connection is taken."""
        return EXHAUSTED if self._is_exhausted else 0.0

    def take(self) -> socket.socket | None:
        """Accept a connection; None where another process has it by now, its client has left, or means ran out."""
        self._is_exhausted = False
        try:
            connection, _ = self.socket.accept()
        except OSError as error:
            if error.errno in _EXHAUSTED:
                self._is_exhausted = True
                _log.error("no connection can be accepted now: %s", error.strerror)
            return None
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection


class SharedListener(Listener):
    """A listening socket that other processes accept from, too: one at a time. `share`: that of this process."""

    at_once = 1

    def __init__(self, listener: socket.socket, share: AcceptShare) -> None:
        super().__init__(listener)
        self.share = share

    def pause(self) -> float:
        """Return the seconds to wait before the next connection is taken."""
        return super().pause() or (PAUSE if self.share.lets_others_first else 0.0)
