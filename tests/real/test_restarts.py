"""A real OpenCode is killed and started again: what is sent then is answered, and what ran has an end."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.adapter import running_adapter
from tests.real.conftest import connected
from tests.real.model_server import running_model
from tests.real.opencode import running_opencode

pytestmark = pytest.mark.real

RESTARTS = 3
SOON = 20.0  # seconds: far below the patience with an OpenCode that is away, which is 120


@pytest.fixture(scope="module")
def model_url() -> Iterator[str]:
    with running_model() as url:
        yield url


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@pytest.mark.parametrize("runtime", ["asyncio", "trio"])
def test_what_is_sent_after_a_restart_is_answered_within_seconds(
    binary: Path, tmp_path: Path, model_url: str, runtime: str
) -> None:
    port, folder = free_port(), tmp_path / "opencode"
    folder.mkdir()
    server = tmp_path / "server"
    server.mkdir()
    waited: list[float] = []
    with running_adapter(runtime, server, f"http://127.0.0.1:{port}") as adapter:
        client = connected(adapter, "1.0", "jsonrpc")
        with client.http:
            for _ in range(RESTARTS):
                with running_opencode(binary, folder, model_url, port=port):
                    started = time.monotonic()
                    task = client.send("hi")
                    waited.append(time.monotonic() - started)
                    assert task.state == "completed", task

    assert max(waited) < SOON, waited
