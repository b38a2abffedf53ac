"""The server under test in front of the stand-in, each a process, started as a user starts it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import httpx

from tests.interop.driver import ROOT
from tests.interop.fake_opencode_server import HOLD, RELEASE
from tests.real.adapter import Adapter, environment, listening, running_adapter

_MORE = {
    "PYTHONPATH": str(ROOT),
    # The receivers of push notifications in these tests listen on loopback.
    "A2A_PUSH_ALLOW_PRIVATE_HOSTS": "true",
    "A2A_RATE_LIMIT_ENABLED": "false",
}


@attrs.frozen
class Served:
    """A server, and where its stand-in is."""

    adapter: Adapter
    opencode: str

    def hold(self) -> None:
        """From now on turns wait once they have said a little."""
        httpx.post(self.opencode + HOLD, trust_env=False).raise_for_status()

    def release(self) -> None:
        """Turns go on."""
        httpx.post(self.opencode + RELEASE, trust_env=False).raise_for_status()


@contextmanager
def running_server(runtime: str, folder: Path) -> Iterator[Served]:
    """A server and its stand-in, both on `runtime`."""
    fake_opencode = ["tests.interop.fake_opencode_server", runtime]
    with (
        listening(fake_opencode, folder, environment(folder) | _MORE) as opencode,
        running_adapter(runtime, folder, opencode, _MORE) as adapter,
    ):
        yield Served(adapter, opencode)
