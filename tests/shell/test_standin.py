"""The stand-in for OpenCode behaves on the wire as the recorded OpenCode did, and fails where a test asks it to.

Over real loopback sockets, on both event loops; the expectations are the recorded turns in short.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import hypercorn.asyncio
import hypercorn.trio
import orjson
import pytest
from attrs import define, field
from hypercorn.config import Config

from opencode_a2a import standin
from opencode_a2a.standin import StandIn
from sansio.a2a.sse import SseDecoder

pytestmark = pytest.mark.anyio
DEADLINE = 5.0
Event = dict[str, Any]


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@asynccontextmanager
async def served(app: StandIn) -> AsyncIterator[str]:
    """Serves an application on a free port with the Hypercorn of the running loop."""
    listening = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    config = Config()
    config.bind = [f"fd://{listening.detach()}"]
    config.graceful_timeout = 0.05
    config.errorlog = None
    stop = anyio.Event()
    trio_runs = anyio.get_current_task().__class__ and _backend() == "trio"
    serve = hypercorn.trio.serve if trio_runs else hypercorn.asyncio.serve

    async def run() -> None:
        await serve(app, config, shutdown_trigger=stop.wait)  # type: ignore[arg-type]

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        try:
            yield url
        finally:
            stop.set()
