"""`python -m tests.benchmarks.workers`: two workers beside one, each with the same part of a core.

Load, the fake OpenCode and PostgreSQL need cores, too. So that they have them on a small machine, each worker is
held to a part of a core (`--part`) by a control group, and what one and two of them serve is compared. That shows
whether workers wait for each other, and not how fast they are. Needs Linux, and the right to make control groups.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.benchmarks import processes
from tests.benchmarks.replicas import Kind, paced_upstream, postgresql
from tests.benchmarks.statements import load
from tests.shell.store_cases import empty_postgresql

TARGET = 1.6
_PERIOD_US = 20_000
_FIRST = Path("/sys/fs/cgroup/cpu")  # of the first version of control groups; the second has one tree for all
_SECOND = Path("/sys/fs/cgroup")
_names = itertools.count()


@contextmanager
def held(pids: list[int], part: float) -> Iterator[None]:
    """Hold each process, with all its threads, to a part of a core while entered. Raises `StartError`."""
    with ExitStack() as stack:
        for pid in pids:
            stack.enter_context(_group(pid, int(_PERIOD_US * part)))
        yield


@contextmanager
def _group(pid: int, quota: int) -> Iterator[None]:
    root = _FIRST if _FIRST.is_dir() else _SECOND
    group = root / f"opencode-a2a-benchmark-{os.getpid()}-{next(_names)}"
    try:
        group.mkdir()
    except OSError as error:
        raise processes.StartError(f"no control group can be made: {error}") from None
    try:
        if root is _FIRST:
            (group / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(quota))
        else:
            (group / "cpu.max").write_text(f"{quota} {_PERIOD_US}")
        (group / "cgroup.procs").write_text(str(pid))
        yield
    except OSError as error:
        raise processes.StartError(f"a process cannot be held to a part of a core: {error}") from None
    finally:
        for left in (group / "cgroup.procs").read_text().split():
            (root / "cgroup.procs").write_text(left)
        group.rmdir()


def _workers_of(pid: int) -> list[int]:
    """The workers of a parent; the process itself where it has none."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children] or [pid]


def _compare(runtime: str, options: argparse.Namespace, url: str) -> None:
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="a2a-workers-"))
        upstream = stack.enter_context(paced_upstream(options.tokens, options.pace_ms))
        empty_postgresql(url)
        kind = Kind(store=url, upstream=upstream.url, runtime=runtime)
        found: dict[int, list[float]] = {1: [], 2: []}
        busy: dict[int, list[float]] = {1: [], 2: []}
        servers = {count: stack.enter_context(kind.server(folder, A2A_WORKERS=str(count))) for count in found}
        for count in found:
            stack.enter_context(held(_workers_of(servers[count].pid), options.part))
        for number in range(options.rounds):
            for count in sorted(found, reverse=bool(number % 2)):
                asked = ["--clients", str(options.clients), "--seconds", str(options.seconds)]
                asked += ["--tokens", str(options.tokens), "--pid", str(servers[count].pid)]
                usage = processes.Usage.start(servers[count].pid)
                result = load(servers[count].url, kind.token, *asked)
                if result["failures"]:
                    print(f"failures: {result['failures']}", file=sys.stderr)
                found[count].append(float(str(result["tokens_per_second"])))
                busy[count].append(usage.cpu_seconds())
    for count, rates in found.items():
        rounds = ", ".join(f"{rate:.0f}" for rate in rates)
        cpu = f"{statistics.median(busy[count]):.1f}"
        print(f"| {runtime} | {count} | {statistics.median(rates):.0f} | {rounds} | {cpu} |", flush=True)
    ratio = statistics.median(two / one for one, two in zip(found[1], found[2], strict=True))
    met = "met" if ratio >= TARGET else "MISSED"
    print(f"two workers / one, {runtime}: {ratio:.2f} (target: {TARGET:g}; {met})", file=sys.stderr)


def main() -> int:
    """Exit code 0: it was measured; 2: it could not run."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.workers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="of each (5)")
    parser.add_argument("--seconds", type=float, default=6.0, help="a round (6)")
    parser.add_argument("--tokens", type=int, default=20, help="a turn (20)")
    parser.add_argument("--clients", type=int, default=128, help="at once: more than either can serve (128)")
    parser.add_argument("--pace-ms", type=float, default=20.0, help="between two tokens (20)")
    parser.add_argument("--part", type=float, default=0.2, help="of a core, for each worker (0.2)")
    parser.add_argument("--runtime", choices=("asyncio", "trio"), action="append", help="default: both")
    options = parser.parse_args()
    try:
        with postgresql() as url:
            print("| runtime | workers | tokens/s | rounds | their CPU seconds a round |")
            print("| --- | --- | --- | --- | --- |")
            for runtime in options.runtime or ("asyncio", "trio"):
                _compare(runtime, options, url)
    except processes.StartError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
