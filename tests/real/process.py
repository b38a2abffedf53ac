"""Child processes of these tests: started in a group of their own, listened to, and stopped as that group.

Knows nothing of what the child is.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import attrs

from tests.real.deadline import Deadline


class StartError(Exception):
    """A child did not say in time that it is ready, or ended before it could."""


@attrs.define
class Output:
    """Every line a child has printed, and whether it may print more."""

    lines: list[str] = attrs.field(factory=list)
    ended: bool = False
    changed: threading.Condition = attrs.field(factory=threading.Condition)

    def read_from(self, stream: IO[str]) -> None:
        for line in stream:
            with self.changed:
                self.lines.append(line.rstrip("\n"))
                self.changed.notify_all()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def wait_for(self, pattern: str, deadline: Deadline) -> re.Match[str]:
        """The first match of `pattern` in a line; `StartError` if there is none in time."""
        seen = 0
        with self.changed:
            while True:
                for line in self.lines[seen:]:
                    if match := re.search(pattern, line):
                        return match
                seen = len(self.lines)
                if self.ended or deadline.passed:
                    why = "the process ended" if self.ended else "the deadline passed"
                    raise StartError(f"{why} without a line like {pattern!r}:\n{self.tail()}")
                self.changed.wait(deadline.left)

    def tail(self, count: int = 40) -> str:
        return "\n".join(self.lines[-count:])


@attrs.frozen(kw_only=True, eq=False)
class Process:
    """A running child. Both of its output streams go to `output`."""

    popen: subprocess.Popen[str]
    output: Output
    reader: threading.Thread

    @classmethod
    def start(cls, command: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> Process:
        popen = subprocess.Popen(
            command,
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        assert popen.stdout is not None
        output = Output()
        reader = threading.Thread(target=output.read_from, args=(popen.stdout,), daemon=True)
        reader.start()
        return cls(popen=popen, output=output, reader=reader)

    def stop(self, grace: float = 10) -> None:
        """Ask the group to end, wait up to `grace` seconds, then make it.

        The leader is reaped last: until then its id, and so the group's, cannot pass to someone else.
        """
        self.signal(signal.SIGTERM)
        self.reader.join(grace)
        self.signal(signal.SIGKILL)
        self.popen.wait()
        self.reader.join(grace)
        if self.popen.stdout is not None and not self.reader.is_alive():
            self.popen.stdout.close()

    def signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(PermissionError):  # what macOS says of a group that has ended and is not reaped
            os.killpg(self.popen.pid, number)
