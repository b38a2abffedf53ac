"""`python -m tests.shell.cli.signalled RUNTIME CASE`: a program that waits for signals, whose reloads may hang."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import anyio

from opencode_a2a.loose_thread import LooseThread
from opencode_a2a.server import signals
from opencode_a2a.server.runtimes import find_runtime


def say(text: str) -> None:
    print(text, flush=True)


async def in_a_thread(pipe: str) -> None:
    """Wait in a thread for somebody who writes: nobody does."""
    await LooseThread("test").run(partial(os.open, pipe, os.O_RDONLY))


async def in_the_loop(pipe: str) -> None:
    """Hold the event loop."""
    os.open(pipe, os.O_RDONLY)


async def a_while(_: str) -> None:
    await anyio.sleep(0.3)


async def for_good(_: str) -> None:
    await anyio.sleep_forever()


CASES: dict[str, Callable[[str], Awaitable[None]]] = {
    "thread": in_a_thread,
    "loop": in_the_loop,
    "while": a_while,
    "slow": for_good,
    "drain": a_while,
}


async def main(case: str, pipe: str) -> None:
    hangups = signals.Hangups()
    count = 0

    async def reload() -> None:
        nonlocal count
        count += 1
        say(f"reload {count}")
        await CASES[case](pipe)

    hangups.add(reload)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(announce)
        await signals.until_signalled(hangups)
    say("draining")
    if case == "drain":
        time.sleep(60)  # noqa: ASYNC251 - it holds the loop
    say("drained")


async def announce() -> None:
    await anyio.sleep(0.05)  # the signals are awaited by then
    say("ready")


if __name__ == "__main__":
    if sys.argv[2] == "slow":
        signals.RELOAD_SECONDS = 0.2
    with tempfile.TemporaryDirectory() as folder:
        os.mkfifo(Path(folder) / "pipe")
        find_runtime(sys.argv[1]).run(partial(main, sys.argv[2], str(Path(folder) / "pipe")))
