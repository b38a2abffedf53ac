"""What the bindings cost, side by side: `python -m tests.benchmarks.bindings`.

One server on each runtime, with every binding on: CPU per event of a stream over gRPC and WebSocket, against that
over SSE in the same round. Then streamed requests/s over gRPC against a2a-sdk 1.3.0's own server of gRPC, by the same
client. Prints medians of the rounds, and asserts nothing.
"""

from __future__ import annotations

import argparse
import json
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import Any, Final

from attrs import frozen

from tests.benchmarks import processes, turns
from tests.benchmarks.load import TOKEN_VARIABLE
from tests.benchmarks.report import Ratio
from tests.benchmarks.wire import Binding

RUNTIMES: Final = ("asyncio", "trio")
SSE: Final[Binding] = "jsonrpc"
OTHERS: Final[tuple[tuple[Binding, float], ...]] = (("grpc", 1.5), ("websocket", 1.1))
"""The other bindings, each with the most CPU per event that it may take, as a part of that of SSE."""

FASTER: Final = 5.0  # the target: times the requests of a2a-sdk
SDK: Final = "a2a-sdk 1.3.0"


@frozen
class Target:
    """A server that is up."""

    name: str
    server: processes.Server
    token: str


@contextmanager
def upstream(tokens: int, interval_ms: float) -> Iterator[processes.Server]:
    command = processes.python("tests.benchmarks.upstream", "--port", "0", "--tokens", str(tokens))
    command += ["--delay-ms", "30", "--token-interval-ms", str(interval_ms)]
    with processes.Server(command, processes.clean_environment({})) as server:
        yield server


@contextmanager
def ours(runtime: str, opencode: str) -> Iterator[Target]:
    """Start this server on a runtime, with every binding."""
    token = secrets.token_urlsafe(16)
    with tempfile.TemporaryDirectory(prefix="a2a-benchmark-") as directory:
        command = processes.python("opencode_a2a", "serve", "--runtime", runtime, "--host", "127.0.0.1")
        command += ["--port", "0", "--opencode", opencode]
        settings = {
            "A2A_STATIC_AUTH_CREDENTIALS": processes.credentials(token),
            "A2A_TASK_STORE_DATABASE_URL": f"sqlite:///{directory}/tasks.db",
            "A2A_BINDINGS": "HTTP+JSON,JSONRPC,GRPC,WEBSOCKET",
        }
        with processes.Server(command, processes.clean_environment(settings), directory=directory) as server:
            yield Target(runtime, server, token)


@contextmanager
def ours_alone(runtime: str, tokens: int) -> Iterator[Target]:
    """Start an agent of this server that says its tokens at once, as a2a-sdk's does."""
    token = secrets.token_urlsafe(16)
    command = processes.python("tests.benchmarks.token_server", "--runtime", runtime, *_said(tokens))
    with processes.Server(command, processes.clean_environment({"A2A_TOKEN": token})) as server:
        yield Target(runtime, server, token)


@contextmanager
def theirs(tokens: int) -> Iterator[Target]:
    """Start a2a-sdk's server of gRPC, in an environment of its own."""
    from tests.interop.environments import python_of
    from tests.interop.peers.peer import PINS

    command = [str(python_of("a2a-sdk-grpc", PINS)), "-m", "tests.benchmarks.sdk_grpc_server", *_said(tokens)]
    with processes.Server(command, processes.clean_environment({})) as server:
        yield Target(SDK, server, "")


def _said(tokens: int) -> list[str]:
    return [turns.token_text(index) for index in range(tokens)]


def load(target: Target, binding: Binding, *arguments: str) -> dict[str, Any]:
    """Load a server with streams. Raises `RuntimeError` where one failed."""
    command = processes.python("tests.benchmarks.load", target.server.url, "--binding", binding, *arguments)
    command += ["--pid", str(target.server.pid)]
    environment = processes.clean_environment({TOKEN_VARIABLE: target.token})
    done = subprocess.run(command, env=environment, cwd=processes.ROOT, stdout=subprocess.PIPE, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    if result["failures"] or not result["events"]:
        raise RuntimeError(f"requests failed over {binding} at {target.name}: {result['failures']}")
    return result


def per_event(result: dict[str, Any]) -> float:
    """Return the microseconds of CPU for an event."""
    return float(result["cpu_ms"]) * 1000 * int(result["requests"]) / int(result["events"])


def cpu_of_bindings(options: argparse.Namespace) -> Iterator[str]:
    """Yield a row for each runtime and binding, and the ratios."""
    bindings: Sequence[Binding] = (SSE, *(name for name, _ in OTHERS))
    arguments = ["--clients", str(options.clients), "--tokens", str(options.tokens)]
    arguments += ["--requests", str(options.requests)]
    with ExitStack() as stack:
        opencode = stack.enter_context(upstream(options.tokens, options.token_interval_ms)).url
        for runtime in options.runtime or RUNTIMES:
            with ours(runtime, opencode) as target:
                found: dict[Binding, list[float]] = {name: [] for name in bindings}
                for number in range(options.rounds):
                    for name in bindings[:: 1 if number % 2 else -1]:  # what runs beside it drifts
                        found[name].append(per_event(load(target, name, *arguments)))
            for name, values in found.items():
                yield f"{runtime}, {name}: {median(values):.0f} us of CPU per event"
            for name, most in OTHERS:
                ratios = [one / sse for one, sse in zip(found[name], found[SSE], strict=True)]
                yield str(Ratio(name=f"{runtime}, {name} to SSE", value=median(ratios), target=most, at_least=False))
                yield f"  of the rounds: {', '.join(f'{one:.2f}' for one in sorted(ratios))}"


def rate_of_grpc(options: argparse.Namespace) -> Iterator[str]:
    """Yield requests/s of each server, and the ratios to a2a-sdk's."""
    arguments = ["--clients", str(options.sdk_clients), "--tokens", str(options.tokens)]
    arguments += ["--seconds", str(options.seconds)]
    with ExitStack() as stack:
        targets = [stack.enter_context(theirs(options.tokens))]
        targets += [
            stack.enter_context(ours_alone(runtime, options.tokens)) for runtime in options.runtime or RUNTIMES
        ]
        found: dict[str, list[dict[str, Any]]] = {target.name: [] for target in targets}
        for number in range(options.rounds):
            for target in targets[:: 1 if number % 2 else -1]:
                found[target.name].append(load(target, "grpc", *arguments))
    for name, results in found.items():
        rate, cpu = (median(one[member] for one in results) for member in ("per_second", "cpu_ms"))
        events = median(one["events"] / one["requests"] for one in results)
        others = median(one["others_percent"] for one in results)
        each = f"{rate:.1f} requests/s of {events:.0f} events, {cpu:.2f} ms of CPU each"
        yield f"{name}: {each}; others' CPU {others:.0f} %"
    for name, results in found.items():
        if name != SDK:
            for member, title in (("per_second", "requests/s"), ("cpu_ms", "requests per CPU")):
                ratios = [one[member] / sdk[member] for one, sdk in zip(results, found[SDK], strict=True)]
                ratio = median(ratios) if member == "per_second" else 1 / median(ratios)
                title = f"{name}, {title} to those of {SDK}"
                yield str(Ratio(name=title, value=ratio, target=FASTER, at_least=True))


def main() -> int:
    """Print both parts."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.bindings", description=__doc__)
    add = parser.add_argument
    add("--runtime", action="append", choices=RUNTIMES, help="may come twice (default: both)")
    add("--only", choices=("cpu", "rate"), help="one part alone")
    add("--rounds", type=int, default=5, help="of all, in turn (5)")
    add("--requests", type=int, default=300, help="of a binding in each round (300)")
    add("--clients", type=int, default=8, help="at once on a binding (8)")
    add("--sdk-clients", type=int, default=32, help="at once on a server of gRPC (32)")
    add("--seconds", type=float, default=3.0, help="for which a server of gRPC is loaded in each round (3)")
    add("--tokens", type=int, default=20, help="of a turn (20)")
    add("--token-interval-ms", type=float, default=5.0, help="between two of them, in the first part (5)")
    options = parser.parse_args()
    for name, part in (("cpu", cpu_of_bindings), ("rate", rate_of_grpc)):
        if options.only in (None, name):
            for line in part(options):
                print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
