"""Serves by the command line, and notes for how long the event loop does not come round: milliseconds of a case.

Run by `holds`, as the process that is measured. SIGUSR1 writes down what was longest since the last time:

- **step**: the processor time of the loop's thread in one step, a callback or a task's run until it waits.
- **lag**: how late a short sleep in the same loop ends. Other programs on the machine make a sleep late as well, so
  no more counts than the processor time of the whole process meanwhile. Threads that hold the interpreter do count.
- **collection**: the processor time of one run of Python's garbage collector, which a step includes.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import FrameType
from typing import Any, Final

import orjson
from attrs import define, field

import runtime_asyncio

REPORT: Final = "A2A_BENCHMARK_HOLD_FILE"
STACKS: Final = "A2A_BENCHMARK_HOLD_STACKS"
"""Set where the calls of long steps are to be noted; that slows the server."""

_SLEEP: Final = 0.001
_LONG: Final = 0.004  # seconds of a step whose calls are noted
_DEPTH: Final = 8  # innermost calls of ours that are noted


@define
class Longest:
    """The longest step, lag and collection since they were reset: seconds."""

    step: float = 0.0
    lag: float = 0.0
    collection: float = 0.0
    calls: Counter[str] = field(factory=Counter)
    _began: float = 0.0
    _collecting: float = 0.0
    _seen: list[str] = field(factory=list)

    def begin(self) -> None:
        self._began = time.thread_time()

    def end(self) -> None:
        took = time.thread_time() - self._began
        if took > _LONG:
            self.calls.update(self._seen)
        self._seen.clear()
        self.step = max(self.step, took)

    def ticked(self, late: float, used: float) -> None:
        self.lag = max(self.lag, min(late, used))

    def sample(self, _signal: int, frame: FrameType | None) -> None:
        calls: list[str] = []
        while frame is not None and len(calls) < _DEPTH:
            code = frame.f_code
            if "/asyncio/" not in code.co_filename and "/trio/" not in code.co_filename:
                calls.append(f"{Path(code.co_filename).name}:{frame.f_lineno} {code.co_name}")
            frame = frame.f_back
        self._seen.append(" < ".join(calls))

    def collected(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._collecting = time.thread_time()
        else:
            took = time.thread_time() - self._collecting
            self.collection = max(self.collection, took)
            if took > _LONG:
                self._seen.append(f"the collector, generation {info['generation']}: {took * 1000:.0f} ms")

    def report(self, *_: object) -> None:
        found: dict[str, Any] = {
            "step": self.step * 1000,
            "lag": self.lag * 1000,
            "collection": self.collection * 1000,
            "calls": self.calls.most_common(6),
        }
        Path(os.environ[REPORT]).write_bytes(orjson.dumps(found) + b"\n")
        self.step = self.lag = self.collection = 0.0
        self.calls.clear()


async def _tick(longest: Longest, sleep: Callable[[float], Awaitable[None]]) -> None:
    while True:
        asked, used = time.perf_counter(), time.process_time()
        await sleep(_SLEEP)
        longest.ticked(time.perf_counter() - asked - _SLEEP, time.process_time() - used)


def _time_asyncio(longest: Longest) -> None:
    run = asyncio.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        longest.begin()
        run(handle)
        longest.end()

    def make() -> asyncio.AbstractEventLoop:
        # the loop of the standard library: uvloop's steps cannot be timed
        loop = asyncio.SelectorEventLoop()
        loop.call_soon(lambda: setattr(loop, "probe", loop.create_task(_tick(longest, asyncio.sleep))))
        return loop

    setattr(asyncio.Handle, "_run", timed)  # noqa: B010 - there is no public way to time each step
    setattr(runtime_asyncio, "loop_factory", lambda: make)  # noqa: B010


def _time_trio(longest: Longest) -> None:
    import trio

    class Timing(trio.abc.Instrument):
        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            longest.begin()

        def after_task_step(self, task: trio.lowlevel.Task) -> None:
            longest.end()

    run = trio.run

    async def probed(main: Callable[..., Awaitable[Any]], *given: Any) -> Any:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_tick, longest, trio.sleep)
            result = await main(*given)
            nursery.cancel_scope.cancel()
        return result

    trio.run = lambda main, *given, **more: run(probed, main, *given, instruments=[Timing()], **more)


def main() -> None:
    """Run the command line behind the runtime's name with its loop timed."""
    longest = Longest()
    signal.signal(signal.SIGUSR1, longest.report)
    if os.environ.get(STACKS):
        signal.signal(signal.SIGPROF, longest.sample)
        signal.setitimer(signal.ITIMER_PROF, _SLEEP, _SLEEP)
    gc.callbacks.append(longest.collected)
    runtime, *arguments = sys.argv[1:]
    if runtime == "trio":
        _time_trio(longest)
    else:
        _time_asyncio(longest)
    from opencode_a2a.cli.main import main as command_line

    sys.argv = ["opencode-a2a", *arguments]
    command_line()


if __name__ == "__main__":
    main()
