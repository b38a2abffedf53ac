"""What the trio runtime promises whoever starts it, tested by trio's own plug-in."""

from __future__ import annotations

import socket

import pytest
import trio

import runtime_trio
from tests.runtimes.apps import get, hello


def test_main_runs_on_trio_and_gives_its_result() -> None:
    async def main() -> str:
        await trio.lowlevel.checkpoint()
        return "done"

    assert runtime_trio.run(main) == "done"


@pytest.mark.trio
async def test_it_serves_from_ready_until_told_to_stop(nursery: trio.Nursery) -> None:
    stop, ended = trio.Event(), trio.Event()
    addresses: list[str] = []

    async def serve() -> None:
        await runtime_trio.serve(hello, "127.0.0.1:0", stop=stop.wait, ready=addresses.extend, grace=1)
        ended.set()

    nursery.start_soon(serve)
    with trio.fail_after(20):
        while not addresses:
            await trio.lowlevel.checkpoint()
        assert await trio.to_thread.run_sync(get, addresses[0], "/there") == b"/there"
        stop.set()
        await ended.wait()

    with pytest.raises(OSError, match="refused"):
        await trio.to_thread.run_sync(get, addresses[0], "/there")


# Hypercorn leaves the socket that it could not bind to the collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.trio
async def test_an_address_that_is_taken_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"

        with pytest.raises(OSError, match="in use"):
            await runtime_trio.serve(hello, bind, stop=trio.sleep_forever, ready=lambda _: None, grace=1)
