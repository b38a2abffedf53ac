"""A worker waits for its parent's signals, or for the parent's end. It runs in the tests' own process here."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from opencode_a2a.cli.supervision.workers import beating, until_stopped
from opencode_a2a.server.signals import Hangups, until_signalled
from tests.shell.harness import DEADLINE, until

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(name="pipe")
def pipe_of_parent() -> Iterator[list[int]]:
    ends = list(os.pipe())
    yield ends
    for end in ends:
        os.close(end)


async def test_it_stops_when_the_parent_ends(pipe: list[int], anyio_backend: str) -> None:
    os.close(pipe.pop())
    with anyio.fail_after(DEADLINE):
        await until_stopped(Hangups(), pipe[0])

    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN


async def test_a_hang_up_that_came_before_is_made_up_for_and_sigterm_stops_once(
    pipe: list[int], anyio_backend: str
) -> None:
    hangups, reloads = Hangups(), list[str]()

    async def reload() -> None:
        reloads.append("reloaded")
        os.kill(os.getpid(), signal.SIGTERM)

    hangups.add(reload)
    with anyio.fail_after(DEADLINE):
        await until_stopped(hangups, pipe[0], [signal.SIGHUP])
    os.kill(os.getpid(), signal.SIGTERM)

    assert reloads == ["reloaded"]


async def test_a_second_sigterm_is_ignored_before_anything_else_runs(pipe: list[int], anyio_backend: str) -> None:
    hangups, found = Hangups(), list[object]()

    async def reload() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            await anyio.sleep_forever()
        finally:
            found.append(signal.getsignal(signal.SIGTERM))

    hangups.add(reload)
    with anyio.fail_after(DEADLINE):
        await until_stopped(hangups, pipe[0], [signal.SIGHUP])

    assert found == [signal.SIG_IGN]


async def test_a_second_sigterm_that_comes_while_the_first_is_handled_is_ignored_too(
    pipe: list[int], anyio_backend: str
) -> None:
    hangups, before = Hangups(), signal.getsignal(signal.SIGHUP)

    async def reload() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            await anyio.sleep_forever()
        finally:
            os.kill(os.getpid(), signal.SIGTERM)  # signals are still received here

    hangups.add(reload)
    with anyio.fail_after(DEADLINE):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(until_stopped, hangups, pipe[0])
            await until(lambda: signal.getsignal(signal.SIGHUP) is not before)
            os.kill(os.getpid(), signal.SIGHUP)

    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN


async def test_a_sigterm_that_comes_before_signals_are_received_stops_it(
    pipe: list[int], anyio_backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def late(*arguments: Any, **options: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await until_signalled(*arguments, **options)

    monkeypatch.setattr("opencode_a2a.cli.supervision.workers.until_signalled", late)
    with anyio.fail_after(DEADLINE):
        await until_stopped(Hangups(), pipe[0])


async def test_it_shows_that_its_event_loop_turns_until_the_server_has_ended(
    anyio_backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("opencode_a2a.cli.supervision.workers.BEAT", 0.001)
    beats = memoryview(bytearray(16)).cast("q")

    async def serving() -> None:
        await until(lambda: beats[1] > 2)

    with anyio.fail_after(DEADLINE):
        await beating(beats, 1, serving)

    assert beats[0] == 0
