"""`python -m tests.benchmarks.telemetry`: what the log and the metrics cost, in CPU per streamed request.

One server for each variant, all up at once and loaded in turn, so that a change of the machine's speed meets all of
them. Prints the median of each, and how much more it is than with everything off. Asserts nothing.
"""

from __future__ import annotations

import argparse
import json
import secrets
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from statistics import median

from tests.benchmarks import processes
from tests.benchmarks.load import TOKEN_VARIABLE

OFF = "everything off"
VARIANTS = {
    OFF: {"A2A_LOG_LEVEL": "WARNING"},
    "log at INFO": {"A2A_LOG_LEVEL": "INFO"},
    "log at INFO in JSON": {"A2A_LOG_LEVEL": "INFO", "A2A_LOG_FORMAT": "json"},
    "metrics": {"A2A_LOG_LEVEL": "WARNING", "A2A_METRICS_ENABLED": "true"},
    "log at INFO and metrics": {"A2A_LOG_LEVEL": "INFO", "A2A_METRICS_ENABLED": "true"},
}
"""The settings of each server."""


def _server(options: argparse.Namespace, upstream: str, token: str, directory: str, name: str) -> processes.Server:
    command = processes.python("opencode_a2a", "serve", "--runtime", options.runtime, "--host", "127.0.0.1")
    command += ["--port", "0", "--opencode", upstream]
    credential = {"scheme": "bearer", "token": token, "principal": "benchmark"}
    settings = {
        "A2A_STATIC_AUTH_CREDENTIALS": json.dumps([credential]),
        "A2A_TASK_STORE_DATABASE_URL": f"sqlite:///{directory}/{list(VARIANTS).index(name)}.db",
        **VARIANTS[name],
    }
    return processes.Server(command, processes.clean_environment(settings), directory=directory)


def _cpu(options: argparse.Namespace, server: processes.Server, token: str) -> float:
    """Load a server; return its milliseconds of CPU per request. Raises `RuntimeError` for a failed request."""
    command = processes.python("tests.benchmarks.load", server.url, "--mode", "stream", "--version", "1.0")
    command += ["--binding", "jsonrpc", "--clients", str(options.clients), "--tokens", "20", "--timeout", "60"]
    command += ["--seconds", "60", "--requests", str(options.requests), "--pid", str(server.pid)]
    environment = processes.clean_environment({TOKEN_VARIABLE: token})
    done = subprocess.run(command, env=environment, cwd=processes.ROOT, stdout=subprocess.PIPE, check=True)
    result = json.loads(done.stdout)
    if result["failures"] or result["cpu_ms"] is None:
        raise RuntimeError(f"requests failed, or no CPU could be measured: {result['failures']}")
    return float(result["cpu_ms"])


def _measure(options: argparse.Namespace) -> dict[str, list[float]]:
    """The milliseconds of each round, by variant."""
    token = secrets.token_urlsafe(16)
    found: dict[str, list[float]] = {name: [] for name in VARIANTS}
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="a2a-benchmark-"))
        command = processes.python("tests.benchmarks.upstream", "--port", "0", "--tokens", "20", "--delay-ms", "30")
        upstream = stack.enter_context(processes.Server(command, processes.clean_environment({})))
        servers = {
            name: stack.enter_context(_server(options, upstream.url, token, directory, name)) for name in VARIANTS
        }
        for number in range(options.rounds):
            # the other way round each time: what the machine does next to it drifts
            for name in list(servers)[:: 1 if number % 2 else -1]:
                found[name].append(_cpu(options, servers[name], token))
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
    return found


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.telemetry", description=__doc__)
    parser.add_argument("--runtime", choices=("asyncio", "trio"), default="asyncio")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=400, help="of each variant in each round (400)")
    parser.add_argument("--clients", type=int, default=8, help="at once (8)")
    options = parser.parse_args()
    found = _measure(options)
    off = median(found[OFF])
    print(f"{options.runtime}, CPU per streamed request of 20 tokens, median of {options.rounds} rounds")
    for name, values in found.items():
        middle = median(values)
        more = (middle / off - 1) * 100
        print(f"  {name:24} {middle:6.3f} ms  {more:+5.1f} %  ({min(values):.3f} to {max(values):.3f})")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
