"""This tree's server beside that of another commit: `python -m tests.benchmarks --against COMMIT`.

Both run at the same time, with the same Python, before the same upstream, and are loaded in turn: what else the
machine does meets both. The CPU of their processes is compared, round by round.
"""

from __future__ import annotations

import argparse
import json
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Literal

from attrs import frozen

from tests.benchmarks import comparison, processes
from tests.benchmarks.comparison import Compared
from tests.benchmarks.load import TOKEN_VARIABLE
from tests.benchmarks.other_tree import TreeError, check_imports, commit_of, export, state_of_this
from tests.benchmarks.wire import Wire

SLOWER: Final = 3
"""Exit code where a measure is slower, by the whole of its spread."""

_LOAD_SECONDS: Final = 60.0  # that one load may take beyond those for which it loads
_TO_FIRST: Final = 30.0  # ms to the first token
_ALL: Final = "HTTP+JSON,JSONRPC,GRPC,WEBSOCKET"


@frozen
class Measure:
    """One kind of turn. `tokens` of it, `interval` ms between two; `per`: what its CPU is divided by."""

    name: str
    tokens: int
    interval: float
    per: Literal["request", "token"]

    def value(self, result: dict[str, Any]) -> float:
        """Return the CPU of one load: milliseconds for a request, microseconds for a token."""
        if self.per == "request":
            return float(result["cpu_ms"])
        return float(result["cpu_ms"]) * 1000 / self.tokens

    @property
    def unit(self) -> str:
        """The unit of its values."""
        return "ms" if self.per == "request" else "us"


MEASURES: Final = (
    Measure("CPU per streamed request", 20, 0.0, "request"),
    Measure("CPU per paced turn", 20, 5.0, "request"),
    Measure("CPU per token", 400, 0.0, "token"),
)
"""The turns that are measured: 20 tokens at once, 20 that come one by one, and many, where a token's cost is all."""


@frozen
class _Side:
    """One of the two servers, which is up."""

    server: processes.Server
    token: str


class FailedRequestsError(RuntimeError):
    """Requests failed, so that their CPU says nothing."""


def run(options: argparse.Namespace, report: Callable[[str], None]) -> int:
    """Compare, and print the table. Returns the exit code.

    0: nothing is slower; `SLOWER`; 1: requests failed; 2: it could not run.
    """
    # children are stopped by leaving their contexts, which the default handler of the signal would not do
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        commit = commit_of(options.against)
        with tempfile.TemporaryDirectory(prefix="a2a-benchmark-") as directory:
            folder = Path(directory)
            tree = export(commit, folder)
            check_imports(tree, folder)
            report(f"new: {state_of_this()}; old: {commit[:10]}, in {tree}")
            found = [
                row for runtime in options.runtime for row in _of_runtime(options, runtime, tree, folder, report)
            ]
    except FailedRequestsError as error:
        report(f"benchmark: {error}")
        return 1
    except (TreeError, processes.StartError, subprocess.SubprocessError) as error:
        report(f"benchmark: {error}")
        return 2
    print(f"\nCPU of this tree's server (new) and of {commit[:10]}'s (old): medians, and the ratio of each round\n")
    print(comparison.table(found))
    return SLOWER if any(row.ratio.verdict == "slower" for row in found) else 0


def _of_runtime(
    options: argparse.Namespace, runtime: str, tree: Path, folder: Path, report: Callable[[str], None]
) -> Iterator[Compared]:
    """Yield all measures on a runtime. Each has an upstream and servers of its own."""
    wires = [Wire(version=v, binding=b, mode="stream") for v in options.versions for b in options.bindings]
    for measure in MEASURES:
        with ExitStack() as stack:
            stores = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=folder)))
            upstream = stack.enter_context(_upstream(measure))
            sides = {
                name: _start(stack, runtime, upstream.url, root, stores / f"{name}.db", options)
                for name, root in (("new", processes.ROOT), ("old", tree))
            }
            for wire in wires:
                for clients in options.clients:
                    plan = _plan(options, measure, wire, clients)
                    values = _rounds(sides, measure, plan, options)
                    row = Compared(
                        runtime=runtime,
                        asked=f"{wire.version} {wire.binding}",
                        clients=clients,
                        measure=measure.name,
                        unit=measure.unit,
                        **values,
                    )
                    report(f"{runtime}, {row.asked}, {clients} clients, {measure.name}: {row.ratio.median:.3f}")
                    yield row


def _upstream(measure: Measure) -> processes.Server:
    command = processes.python("tests.benchmarks.upstream", "--port", "0", "--tokens", str(measure.tokens))
    command += ["--delay-ms", str(_TO_FIRST), "--token-interval-ms", str(measure.interval)]
    return processes.Server(command, processes.clean_environment({}))


def _start(
    stack: ExitStack, runtime: str, opencode: str, root: Path, store: Path, options: argparse.Namespace
) -> _Side:
    """Start the server of a tree."""
    token = secrets.token_urlsafe(16)
    command = processes.python("opencode_a2a", "serve", "--runtime", runtime, "--host", "127.0.0.1")
    command += ["--port", "0", "--opencode", opencode]
    settings = {
        "A2A_STATIC_AUTH_CREDENTIALS": processes.credentials(token),
        "A2A_TASK_STORE_DATABASE_URL": f"sqlite:///{store}",
        "OPENCODE_MAX_CONCURRENT_REQUESTS": "0",
        "OPENCODE_MAX_CONCURRENT_STREAMS": "0",
        **({} if set(options.bindings) <= {"jsonrpc", "rest"} else {"A2A_BINDINGS": _ALL}),
        **dict(options.setting),
    }
    environment = processes.clean_environment(settings, root=root)
    return _Side(
        stack.enter_context(processes.Server(command, environment, directory=str(store.parent))),
        token,
    )


def _plan(options: argparse.Namespace, measure: Measure, wire: Wire, clients: int) -> Sequence[str]:
    """Return the arguments of a load."""
    plan = ["--mode", wire.mode, "--version", wire.version, "--binding", wire.binding, "--clients", str(clients)]
    plan += ["--tokens", str(measure.tokens), "--seconds", str(options.seconds), "--timeout", str(options.timeout)]
    return plan if options.requests is None else [*plan, "--requests", str(options.requests)]


def _rounds(
    sides: dict[str, _Side], measure: Measure, plan: Sequence[str], options: argparse.Namespace
) -> dict[str, list[float]]:
    """Load both servers in turn, the other one first each time: the values of each, by round."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(options.rounds):
        for name in list(sides)[:: 1 if number % 2 else -1]:
            limit = options.seconds + options.timeout + _LOAD_SECONDS
            found[name].append(measure.value(_load(name, sides[name], plan, limit)))
    return found


def _load(name: str, side: _Side, plan: Sequence[str], limit: float) -> dict[str, Any]:
    """Load one server. Raises `FailedRequestsError`, and `SubprocessError` where that takes longer than `limit`."""
    command = processes.python("tests.benchmarks.load", side.server.url, *plan, "--pid", str(side.server.pid))
    environment = processes.clean_environment({TOKEN_VARIABLE: side.token})
    done = subprocess.run(
        command, env=environment, cwd=processes.ROOT, stdout=subprocess.PIPE, timeout=limit, check=True
    )
    result: dict[str, Any] = json.loads(done.stdout)
    if result["failures"] or not result["events"] or not result["cpu_ms"]:
        raise FailedRequestsError(f"{name}: requests failed, or took no CPU: {result['failures']}")
    return result
