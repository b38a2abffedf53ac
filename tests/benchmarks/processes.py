"""Child processes of a benchmark: started, waited for, measured from /proc, stopped by their own id.

Knows nothing of what they serve.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

import attrs

ROOT = Path(__file__).resolve().parents[2]

_LISTENING = re.compile(rb"listening on (http://[^\s/]+:\d+)")
_START_SECONDS = 30.0
_STOP_SECONDS = 10.0
_CPU_CLOCK = 2  # the kind of clock that counts the time for which a process ran


class StartError(RuntimeError):
    """A child that did not come up; says what it printed last."""


class Server:
    """A child that prints `listening on http://HOST:PORT` once it serves. Leaving its context stops it."""

    def __init__(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        *,
        directory: str | None = None,
        patience: float = _START_SECONDS,
    ) -> None:
        self._argv = argv
        self._environment = environment
        self._directory = directory
        self._patience = patience  # seconds until it has to listen
        self._output: IO[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def __enter__(self) -> Server:
        # Closed in _stop. A file, not a pipe: nobody has to read it for the child to go on.
        self._output = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            self._argv,
            env=dict(self._environment),
            cwd=self._directory or ROOT,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
        )
        try:
            self.url = self._wait(self._process)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _wait(self, process: subprocess.Popen[bytes]) -> str:
        deadline = time.monotonic() + self._patience
        while time.monotonic() < deadline:
            said = self._said()
            if found := _LISTENING.search(said):
                return found.group(1).decode()
            if process.poll() is not None:
                break
            time.sleep(0.02)
        last = self._said().decode(errors="replace").strip().splitlines()[-5:]
        raise StartError("\n".join([f"did not start: {' '.join(self._argv[1:])}", *last]))

    def _said(self) -> bytes:
        assert self._output is not None
        return os.pread(self._output.fileno(), 1 << 20, 0)

    def _stop(self) -> None:
        assert self._process is not None
        assert self._output is not None
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._output.close()


def python(module: str, *arguments: str) -> list[str]:
    """The command line that runs one of our modules with this interpreter."""
    return [sys.executable, "-m", module, *arguments]


def credentials(token: str, principal: str = "benchmark") -> str:
    """Return the value of A2A_STATIC_AUTH_CREDENTIALS by which a principal may call with a bearer token."""
    return json.dumps([{"scheme": "bearer", "token": token, "principal": principal}])


def clean_environment(extra: Mapping[str, str], *, root: Path = ROOT) -> dict[str, str]:
    """This process's environment without the settings of a server, so that runs compare; no rate limit ends them.

    `root`: the tree whose packages are imported.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("A2A_", "OPENCODE_"))}
    path = os.pathsep.join(filter(None, [str(root), kept.get("PYTHONPATH")]))
    return {**kept, "PYTHONPATH": path, "A2A_RATE_LIMIT_ENABLED": "false", **extra}


@attrs.frozen
class Usage:
    """CPU and memory of a process and its descendants since `start`. Linux only; zero elsewhere."""

    pid: int
    began: float

    @classmethod
    def start(cls, pid: int) -> Usage:
        for member in _family(pid):
            _forget_peak(member)
        return cls(pid, _cpu_seconds(pid))

    def cpu_seconds(self) -> float:
        return _cpu_seconds(self.pid) - self.began

    def peak_rss_mb(self) -> float:
        """The most resident memory since `start`; since the process began where its peak may not be reset."""
        return sum(_peak_kib(member) for member in _family(self.pid)) / 1024


@attrs.frozen
class Machine:
    """CPU time the whole machine has spent since `start`, to tell how much of it went to somebody else."""

    began: float

    @classmethod
    def start(cls) -> Machine:
        return cls(_busy_seconds())

    def others_percent(self, ours: float, seconds: float) -> float:
        """Which share of all cores' time in `seconds` was spent, but not on the `ours` CPU seconds."""
        spent = _busy_seconds() - self.began - ours
        return max(0.0, spent / (seconds * (os.cpu_count() or 1)) * 100)


def _busy_seconds() -> float:
    try:
        totals = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    except OSError:
        return 0.0
    user, nice, system, _idle, _waiting, *rest = map(int, totals)
    return (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")


def _family(pid: int) -> Iterator[int]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            listed = children.read_text().split()
        except OSError:
            continue
        for child in listed:
            yield from _family(int(child))


def _cpu_seconds(pid: int) -> float:
    return sum(_nanoseconds(member) for member in _family(pid)) / 1e9


def _nanoseconds(pid: int) -> int:
    """CPU of a process by its own clock, whose id Linux makes of the process id: /proc has it in hundredths alone."""
    try:
        return time.clock_gettime_ns(~pid << 3 | _CPU_CLOCK)
    except OSError:
        return 0


def _peak_kib(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    return int(found.group(1)) if found else 0


def _forget_peak(pid: int) -> None:
    try:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    except OSError:
        return
