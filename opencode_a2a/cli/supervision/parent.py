"""The parent of worker processes: forks, signals and reaps them. `sansio.supervision` decides; knows no server.

The parent has neither an event loop nor a thread, so that it can fork at any time. Each worker has a pipe on which it
reports that it is ready. All of them read from one more pipe, which ends when the parent does, however it ends.
"""

from __future__ import annotations

import logging
import math
import os
import select
import signal
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType
from typing import Final, NoReturn

from attrs import define, field, frozen

from opencode_a2a.logs import LIFECYCLE
from sansio.supervision.workers import (
    Action,
    Announce,
    Drain,
    End,
    GiveUp,
    Hanging,
    Kill,
    Reload,
    Restarting,
    Start,
    Supervisor,
)

_log = logging.getLogger(LIFECYCLE)
_WATCHED: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
_LONGEST: Final = 4096  # bytes of what a worker reports


@frozen(kw_only=True)
class Worker:
    """One worker, in its own process. `ready`: reports its URL. `parent`: a pipe that ends with the parent."""

    number: int
    ready: Callable[[str], None]
    parent: int


def run_workers(
    supervisor: Supervisor,
    work: Callable[[Worker], int],
    *,
    announce: Callable[[str], None],
    say: Callable[[str], None],
    ended: Callable[[int], None] = lambda number: None,
    beats: Sequence[int] = (),
) -> int:
    """Run workers until a signal comes, or they cannot be started; return the exit code. Blocks.

    `work`: runs in the process of a worker, and returns its exit code. `announce`: gets the URL when all are ready,
    `say` a line for the operator, `ended` the number of a worker that has. `beats`: counts that the workers raise in
    shared memory, in the order of their numbers.
    """
    with _pipe() as (signals, woken), _pipe() as (alive, held), _waking(woken):
        parent = _Parent(supervisor, work, announce, say, ended, beats, alive, own=(signals, woken, held))
        return parent.run(signals)


@contextmanager
def _pipe() -> Generator[tuple[int, int]]:
    ends = os.pipe()
    try:
        yield ends
    finally:
        for end in ends:
            os.close(end)


@contextmanager
def _waking(woken: int) -> Generator[None]:
    """Have signals written to a pipe. SIGHUP stays ignored where the process was started so, as by `nohup`."""
    os.set_blocking(woken, False)
    before = {number: signal.getsignal(number) for number in _WATCHED}
    former = signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    for number, handler in before.items():
        if number != signal.SIGHUP or handler is not signal.SIG_IGN:
            signal.signal(number, _noted)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(former)


def _noted(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: the signal is read from the pipe."""


@define(eq=False)
class _Parent:
    """The workers that run. `own`: descriptors of the parent alone."""

    _supervisor: Supervisor
    _work: Callable[[Worker], int]
    _announce: Callable[[str], None]
    _say: Callable[[str], None]
    _ended: Callable[[int], None]
    _beats: Sequence[int]
    _alive: int
    _own: Sequence[int] = field(kw_only=True)
    _pids: dict[int, int] = field(factory=dict)  # by number
    _pipes: dict[int, int] = field(factory=dict)  # by number; gone once the worker has reported
    _to_do: deque[Action] = field(factory=deque)
    _url: str = ""
    _code: int | None = None

    def run(self, signals: int) -> int:
        self._do(self._supervisor.begin())
        try:
            while self._code is None:
                self._wait(signals)
        finally:
            for pid in self._pids.values():  # after the second signal, or a fault of the parent's own
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            for pipe in self._pipes.values():
                os.close(pipe)
        return self._code

    def _wait(self, signals: int) -> None:
        poll = select.poll()
        for descriptor in (signals, *self._pipes.values()):
            poll.register(descriptor, select.POLLIN)
        due = self._supervisor.due
        changed = {
            descriptor
            for descriptor, _ in poll.poll(
                None if due is None else math.ceil(max(0.0, due - time.monotonic()) * 1000)
            )
        }
        for number, pipe in list(self._pipes.items()):
            if pipe in changed:
                self._read(number)
        if signals in changed:
            for received in os.read(signals, 512):
                self._signalled(received)
        self._reap()
        self._do(self._supervisor.look(time.monotonic(), self._beats))

    def _signalled(self, received: int) -> None:
        if received in (signal.SIGINT, signal.SIGTERM):
            is_second = self._supervisor.is_stopping
            self._do(self._supervisor.stop(time.monotonic(), received))
            if is_second:
                self._say(f"ended at once by {signal.Signals(received).name}")
        elif received == signal.SIGHUP:
            self._do(self._supervisor.hang_up())

    def _read(self, number: int) -> None:
        """Read what a worker reports: its URL, once; or nothing, if it ends before."""
        pipe = self._pipes.pop(number)
        url = os.read(pipe, _LONGEST).decode()
        os.close(pipe)
        if url:
            self._url = url
            self._do(self._supervisor.ready(number, time.monotonic()))

    def _reap(self) -> None:
        for number, pid in list(self._pids.items()):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                if number in self._pipes:
                    self._read(number)
                self._gone(number, os.waitstatus_to_exitcode(status))

    def _gone(self, number: int, code: int) -> None:
        self._pids.pop(number, None)
        self._ended(number)
        self._do(self._supervisor.ended(number, code if code >= 0 else 128 - code, time.monotonic()))

    def _do(self, actions: Sequence[Action]) -> None:
        """Do actions, in order. What follows from one, as from a start that fails, is done after the others."""
        is_first = not self._to_do
        self._to_do += actions
        while is_first and self._to_do:
            self._do_one(self._to_do[0])
            self._to_do.popleft()

    def _do_one(self, action: Action) -> None:
        match action:
            case Start(number):
                self._start(number)
            case Drain(number):
                self._kill(number, signal.SIGTERM)
            case Reload(number):
                self._kill(number, signal.SIGHUP)
            case Kill(number):
                self._kill(number, signal.SIGKILL)
            case Announce():
                self._announce(self._url)
            case Restarting(number, code, pause):
                when = f"in {pause:g} s" if pause else "at once"
                _log.warning("worker %d has ended (exit code %d); it is started again %s", number, code, when)
            case Hanging(number, silence):
                _log.error("worker %d hangs: no sign of it for %g s; it is killed", number, silence)
            case GiveUp(code):
                _log.error("no worker serves, and none can be started (exit code %d): giving up", code)
            case End(code) if self._code is None:  # workers that were killed may be reaped after that
                self._code = code

    def _kill(self, number: int, received: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(self._pids[number], received)

    def _start(self, number: int) -> None:
        reader, writer = os.pipe()
        # a signal that comes now waits until the worker has its own handlers, or the parent is itself again
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
        try:
            pid = os.fork()
            if not pid:
                self._be_worker(number, (reader, *self._own, *self._pipes.values()), writer, before)
        except OSError as error:
            _log.error("worker %d cannot be started: %s", number, error.strerror)
            os.close(reader)
            pid = 0
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(writer)
        if pid:
            self._pids[number], self._pipes[number] = pid, reader
            _log.info("worker %d is process %d", number, pid)
        else:
            self._gone(number, 1)

    def _be_worker(
        self, number: int, of_parent: Sequence[int], writer: int, mask: set[int | signal.Signals]
    ) -> NoReturn:
        """Be the process of a worker, to its end.

        SIGTERM drains it, any number of times: systemd signals the parent and the workers, and the parent signals
        them too. A terminal's Ctrl+C is the parent's affair. Who wants to end it at once has SIGKILL.
        """
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            for descriptor in of_parent:
                os.close(descriptor)
            code = self._work(Worker(number=number, ready=partial(_report, writer), parent=self._alive))
        except BaseException:  # nothing may return into what the parent was doing
            traceback.print_exc()
        finally:
            with suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)


def _report(writer: int, url: str) -> None:
    os.write(writer, url.encode()[:_LONGEST])
    os.close(writer)
