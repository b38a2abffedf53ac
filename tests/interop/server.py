"""The server under test in front of the stand-in, each a process, started as a user starts it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.real.adapter import Adapter, environment, listening, running_adapter

from .driver import ROOT

_MORE = {
    "PYTHONPATH": str(ROOT),
    # The receivers of push notifications in these tests listen on loopback.
    "A2A_PUSH_ALLOW_PRIVATE_HOSTS": "true",
}


@contextmanager
def running_server(runtime: str, folder: Path) -> Iterator[Adapter]:
    """A server and its stand-in, both on `runtime`."""
    standin = ["tests.interop.standin_server", runtime]
    with (
        listening(standin, folder, environment(folder) | _MORE) as opencode,
        running_adapter(runtime, folder, opencode, _MORE) as adapter,
    ):
        yield adapter
