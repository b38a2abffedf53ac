"""`python -m tests.benchmarks.telemetry`: what the log, metrics and traces cost, in CPU per streamed request.

One server for each variant, all up at once and loaded in turn, so that a change of the machine's speed meets all of
them. The spans go to a collector in this process, which drops them. Prints the median of each variant, and the median
of how much more it is than with everything off in the same round. Asserts nothing.
"""

from __future__ import annotations

import argparse
import json
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from statistics import median
from threading import Thread

from tests.benchmarks import processes
from tests.benchmarks.load import TOKEN_VARIABLE

OFF = "everything off"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
VARIANTS = {
    OFF: {"A2A_LOG_LEVEL": "WARNING"},
    "log at INFO": {"A2A_LOG_LEVEL": "INFO"},
    "log at INFO in JSON": {"A2A_LOG_LEVEL": "INFO", "A2A_LOG_FORMAT": "json"},
    "metrics": {"A2A_LOG_LEVEL": "WARNING", "A2A_METRICS_ENABLED": "true"},
    "log at INFO and metrics": {"A2A_LOG_LEVEL": "INFO", "A2A_METRICS_ENABLED": "true"},
    "traces": {"A2A_LOG_LEVEL": "WARNING", ENDPOINT: ""},
    "traces, one in ten": {
        "A2A_LOG_LEVEL": "WARNING",
        ENDPOINT: "",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "0.1",
    },
}
"""The settings of each server. An empty endpoint is the collector's."""


class _Dropping(BaseHTTPRequestHandler):
    """A collector that drops what it gets."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def _collector() -> Iterator[str]:
    """Give the URL of a collector on loopback."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Dropping)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _server(
    options: argparse.Namespace, upstream: str, collector: str, token: str, directory: str, name: str
) -> processes.Server:
    command = processes.python("opencode_a2a", "serve", "--runtime", options.runtime, "--host", "127.0.0.1")
    command += ["--port", "0", "--opencode", upstream]
    settings = {
        "A2A_STATIC_AUTH_CREDENTIALS": processes.credentials(token),
        "A2A_TASK_STORE_DATABASE_URL": f"sqlite:///{directory}/{list(VARIANTS).index(name)}.db",
        **{variable: value or collector for variable, value in VARIANTS[name].items()},
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
    found: dict[str, list[float]] = {name: [] for name in options.variants}
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="a2a-benchmark-"))
        command = processes.python("tests.benchmarks.upstream", "--port", "0", "--tokens", "20", "--delay-ms", "30")
        upstream = stack.enter_context(processes.Server(command, processes.clean_environment({})))
        collector = stack.enter_context(_collector())
        servers = {
            name: stack.enter_context(_server(options, upstream.url, collector, token, directory, name))
            for name in options.variants
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
    parser.add_argument("--only", metavar="NAME", nargs="+", choices=[*VARIANTS], help="variants beside the first")
    options = parser.parse_args()
    options.variants = [OFF, *(name for name in VARIANTS if name != OFF and name in (options.only or VARIANTS))]
    found = _measure(options)
    print(f"{options.runtime}, CPU per streamed request of 20 tokens, median of {options.rounds} rounds")
    for name, values in found.items():
        more = sorted((one / off - 1) * 100 for one, off in zip(values, found[OFF], strict=True))
        print(f"  {name:24} {median(values):6.3f} ms  {median(more):+5.1f} %  ({more[0]:+.1f} to {more[-1]:+.1f})")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
