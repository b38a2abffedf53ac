"""What the asyncio runtime promises whoever starts it; each test runs a loop of its own by `run`."""

from __future__ import annotations

import asyncio
import socket

import pytest
import sniffio

import runtime_asyncio
from tests.runtimes.apps import get, hello


def test_main_runs_on_asyncio_and_gives_its_result() -> None:
    async def main() -> str:
        await asyncio.sleep(0)
        return "done"

    assert runtime_asyncio.run(main) == "done"


def test_the_loop_is_named_while_it_runs_and_not_after() -> None:
    async def main() -> str:
        return sniffio.thread_local.name or ""

    assert runtime_asyncio.run(main) == "asyncio"
    assert sniffio.thread_local.name is None


def test_it_serves_from_ready_until_told_to_stop() -> None:
    async def main() -> None:
        stop = asyncio.Event()
        ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def listening(addresses: list[str]) -> None:
            ready.set_result(addresses[0])

        async def until_stopped() -> None:
            await stop.wait()

        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            served = tasks.create_task(
                runtime_asyncio.serve(hello, "127.0.0.1:0", stop=until_stopped, ready=listening, grace=1)
            )
            address = await ready
            assert await asyncio.to_thread(get, address, "/there") == b"/there"
            stop.set()
            await served

        with pytest.raises(OSError, match="refused"):
            await asyncio.to_thread(get, address, "/there")

    runtime_asyncio.run(main)


def test_whoever_serves_can_be_cancelled_afterwards_and_only_then() -> None:
    async def main() -> int:
        async def at_once() -> None:
            return

        await runtime_asyncio.serve(hello, "127.0.0.1:0", stop=at_once, ready=lambda _: None, grace=1)
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    assert runtime_asyncio.run(main) == 0


# Hypercorn leaves the socket that it could not bind to the collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_address_that_is_taken_is_an_error() -> None:
    async def main() -> None:
        async def never() -> None:
            await asyncio.Event().wait()

        with socket.create_server(("127.0.0.1", 0)) as taken:
            bind = f"127.0.0.1:{taken.getsockname()[1]}"

            with pytest.raises(OSError, match="in use"):
                await runtime_asyncio.serve(hello, bind, stop=never, ready=lambda _: None, grace=1)

    runtime_asyncio.run(main)
