"""Finds ports on loopback for servers that tests start."""

from __future__ import annotations

import fcntl
import itertools
import os
import socket
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final

_FIRST: Final = 20_000  # all are below those that the system hands out
_RANGES: Final = 40
_PORTS: Final = 300  # of a range
_next = itertools.count()


def free_port() -> int:
    """Return a port that nobody listens on now, and that no other test process is given.

    Raises `OSError` where none is free.
    """
    first = _FIRST + _claimed_range() * _PORTS
    for _ in range(_PORTS):
        port = first + next(_next) % _PORTS
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise OSError(f"none of {_PORTS} ports is free")


@cache
def _claimed_range() -> int:
    """Claim a range for as long as this process lives: several runs of tests may go on beside each other."""
    for number in range(_RANGES):
        path = Path(tempfile.gettempdir(), f"opencode-a2a-test-ports-{number}.lock")
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(descriptor)
            else:
                return number  # the lock lasts as long as the descriptor is open
    raise OSError(f"{_RANGES} test processes have all ports")
