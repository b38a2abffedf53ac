"""The parent of worker processes, with workers that do next to nothing: signals, deaths, and how it ends."""

from __future__ import annotations

import errno
import logging
import mmap
import os
import re
import signal
import time
from collections.abc import Callable

import pytest

from opencode_a2a.cli.supervision.parent import Worker, run_workers
from sansio.supervision.workers import Supervisor

# The tests' own process may have threads; none of the workers here needs what they hold.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
LONGEST = 20.0


def waiting(worker: Worker) -> int:
    """Serve until SIGTERM comes, which the parent alone sends."""
    signal.alarm(int(LONGEST))  # should the parent fail
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGHUP})
    worker.ready(f"http://worker-{worker.number}")
    while True:
        if signal.sigwait({signal.SIGTERM, signal.SIGHUP}) == signal.SIGTERM:
            return 0
        os.kill(os.getppid(), signal.SIGTERM)  # it was SIGHUP: report that it came


def running(
    work: Callable[[Worker], int], said: list[str], *, then: Callable[[], None] = lambda: None, count: int = 2
) -> int:
    def announced(url: str) -> None:
        said.append(url)
        then()

    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)]
    code = run_workers(Supervisor(count, grace=LONGEST), work, announce=announced, say=said.append)
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)] == before
    return code


def signalled(number: int) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_workers_drain(number: int) -> None:
    said: list[str] = []

    assert running(waiting, said, then=signalled(number)) == 0
    assert len(said) == 1
    assert re.fullmatch(r"http://worker-\d", said[0])


def test_a_hang_up_reaches_the_workers() -> None:
    assert running(waiting, [], then=signalled(signal.SIGHUP), count=1) == 0


def stubborn(worker: Worker) -> int:
    signal.alarm(int(LONGEST))
    signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getppid(), signal.SIGINT))
    worker.ready("http://here")
    while True:
        signal.pause()


def test_the_second_signal_ends_workers_that_hang() -> None:
    said: list[str] = []

    assert running(stubborn, said, then=signalled(signal.SIGTERM), count=1) == 128 + signal.SIGINT
    assert said == ["http://here", "ended at once by SIGINT"]


def failing(worker: Worker) -> int:
    return 2


def raising(worker: Worker) -> int:
    raise RuntimeError("of the test")


@pytest.mark.parametrize(("work", "code"), [(failing, 2), (raising, 1)])
def test_a_start_that_fails_ends_with_its_code(work: Callable[[Worker], int], code: int) -> None:
    said: list[str] = []

    assert running(work, said) == code
    assert said == []


def test_a_worker_that_dies_is_replaced(caplog: pytest.LogCaptureFixture) -> None:
    def work(worker: Worker) -> int:
        if worker.number == 2:
            worker.ready("http://here")
            os.kill(os.getpid(), signal.SIGKILL)
        return waiting(worker)

    ended: list[int] = []

    def noted(number: int) -> None:
        ended.append(number)
        if len(ended) == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    def nothing(text: str) -> None:
        pass

    with caplog.at_level(logging.INFO):
        code = run_workers(Supervisor(2, grace=LONGEST), work, announce=nothing, say=nothing, ended=noted)

    assert code == 0
    assert ended == [2, 2, 1]
    texts = [record.getMessage() for record in caplog.records if "has ended" in record.getMessage()]
    assert texts == [
        "worker 2 has ended (exit code 137); it is started again at once",
        "worker 2 has ended (exit code 137); it is started again in 0.5 s",
    ]


def test_a_worker_that_hangs_is_killed_and_replaced(caplog: pytest.LogCaptureFixture) -> None:
    lives = memoryview(mmap.mmap(-1, 8)).cast("q")

    def work(worker: Worker) -> int:
        lives[0] += 1
        if lives[0] == 1:
            worker.ready("http://here")
            os.kill(os.getpid(), signal.SIGSTOP)
        os.kill(os.getppid(), signal.SIGTERM)
        return waiting(worker)

    def nothing(text: str) -> None:
        pass

    with caplog.at_level(logging.WARNING):
        code = run_workers(
            Supervisor(1, grace=LONGEST, patience=0.3), work, announce=nothing, say=nothing, beats=lives
        )

    assert code == 0
    assert [record.getMessage() for record in caplog.records] == [
        "worker 1 hangs: no sign of it for 0.3 s; it is killed",
        "worker 1 has ended (exit code 137); it is started again at once",
    ]


def test_a_process_that_cannot_be_forked_ends_the_start(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", full)

    assert running(waiting, []) == 1
    assert "worker 1 cannot be started: Resource temporarily unavailable" in caplog.text


def test_a_process_that_cannot_be_forked_lets_those_that_run_drain(monkeypatch: pytest.MonkeyPatch) -> None:
    forks, fork = iter((True, False)), os.fork

    def full_once() -> int:
        if next(forks, True):
            return fork()
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "fork", full_once)

    assert running(waiting, [], count=3) == 1


def test_a_parent_that_gives_up_says_so(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sansio.supervision.workers.MOST_FAILURES", 1)
    reader, writer = os.pipe()  # holds one byte: the first worker takes it, and serves
    os.write(writer, b".")
    os.set_blocking(reader, False)

    def work(worker: Worker) -> int:
        try:
            os.read(reader, 1)
        except BlockingIOError:
            return 3
        worker.ready("http://here")
        time.sleep(0.05)
        return 0

    assert running(work, [], count=1) == 3
    assert "no worker serves, and none can be started (exit code 3): giving up" in caplog.text
    os.close(reader)
    os.close(writer)
