"""The program, as a script and as `python -m opencode_a2a`. Imports next to nothing before Ctrl+C ends it quietly."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_INTERRUPTED: Final = 130


def main() -> int:
    """Run the command line; return its exit code: 130 after Ctrl+C, also while modules are imported."""
    try:
        with _leaving(), _without_collector():
            from opencode_a2a.cli import main as program

            options = program.parsed()
        return program.run(options)
    except KeyboardInterrupt:
        return _INTERRUPTED


@contextmanager
def _leaving() -> Generator[None]:
    """Have Ctrl+C end the process, unless it is ignored, as below `nohup`.

    An exception within an import may be swallowed there, and an extension has crashed with it.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)
    try:
        yield
    finally:
        if before is signal.default_int_handler:
            signal.signal(signal.SIGINT, before)


@contextmanager
def _without_collector() -> Generator[None]:
    """Keep the collector away from what modules make: it took a seventh of the time of their import.

    They are there to the end, so it never looks at them later either.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _leave(_number: int, _frame: FrameType | None) -> None:
    """End the process at once: nothing has begun yet that has an end."""
    os._exit(_INTERRUPTED)


if __name__ == "__main__":
    raise SystemExit(main())
