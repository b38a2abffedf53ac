"""The benchmark's runner: starts the upstream and each server in turn, loads it, prints one table.

With `--against COMMIT`, `against` compares two servers instead.

It must not know how the server works: it starts it by its command line and measures it from outside.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs

from tests.benchmarks import against, processes, report
from tests.benchmarks.comparison import FEWEST_ROUNDS
from tests.benchmarks.load import TOKEN_VARIABLE, Result
from tests.benchmarks.wire import BINDINGS, MODES, VERSIONS, Binding, Mode, Version, Wire

PEER_TOKEN_VARIABLE = "A2A_BENCHMARK_PEER_TOKEN"
RUNTIMES = ("asyncio", "trio")
SERVERS = (report.BARE, report.OURS)


@attrs.frozen(kw_only=True)
class Peer:
    """Another A2A server, already running: its endpoint, its token, and its process if that is known."""

    name: str
    url: str
    token: str | None
    pid: int | None


@attrs.frozen(kw_only=True)
class Target:
    """A server that is up and may be loaded."""

    server: str
    runtime: str | None
    url: str
    token: str | None
    pid: int | None


class BenchmarkError(Exception):
    """The run cannot go on, or a part of it cannot; the text is for the one at the terminal."""


class Run:
    """One run: what to ask of every server, and the rows so far."""

    def __init__(self, options: argparse.Namespace, upstream: str, upstream_pid: int) -> None:
        self._options = options
        self._upstream = upstream
        self._upstream_pid = upstream_pid
        self.rows: list[report.Row] = []
        self.missing: list[str] = []

    def everything(self, peers: list[Peer]) -> None:
        for runtime in self._options.runtime:
            for server in self._options.servers:
                self._server(server, runtime)
        for peer in peers:
            target = Target(server=peer.name, runtime=None, url=peer.url, token=peer.token, pid=peer.pid)
            versions, bindings = self._options.peer_versions, self._options.peer_bindings
            self._load(target, self._options.peer_clients or self._options.clients, versions, bindings)

    def _server(self, server: str, runtime: str) -> None:
        token = secrets.token_urlsafe(16)
        with tempfile.TemporaryDirectory(prefix="a2a-benchmark-") as directory:
            child = (self._bare if server == report.BARE else self._ours)(runtime, token, directory)
            try:
                with child:
                    target = Target(server=server, runtime=runtime, url=child.url, token=token, pid=child.pid)
                    self._load(target, self._options.clients, self._options.versions, self._options.bindings)
            except processes.StartError as error:
                self.missing.append(f"{server} {runtime} {error}")
                _tell(self.missing[-1])

    def _bare(self, runtime: str, token: str, directory: str) -> processes.Server:
        arguments = ["--runtime", runtime, "--tokens", str(self._options.tokens)]
        arguments += ["--token-interval-ms", str(self._options.token_interval_ms)]
        command = processes.python("tests.benchmarks.bare", *arguments)
        return processes.Server(command, processes.clean_environment({}))

    def _ours(self, runtime: str, token: str, directory: str) -> processes.Server:
        command = processes.python("opencode_a2a", "serve", "--runtime", runtime, "--host", "127.0.0.1")
        command += ["--port", "0", "--opencode", self._upstream]
        settings = {
            "A2A_STATIC_AUTH_CREDENTIALS": processes.credentials(token),
            "A2A_TASK_STORE_DATABASE_URL": f"sqlite:///{directory}/tasks.db",
            "OPENCODE_MAX_CONCURRENT_REQUESTS": "0",
            "OPENCODE_MAX_CONCURRENT_STREAMS": "0",
            "A2A_BINDINGS": "HTTP+JSON,JSONRPC,GRPC,WEBSOCKET",
            **dict(self._options.setting),
        }
        return processes.Server(command, processes.clean_environment(settings), directory=directory)

    def _load(self, target: Target, clients: list[int], versions: list[Version], bindings: list[Binding]) -> None:
        for wire in _wires(versions, bindings, self._options.modes):
            if target.server == report.BARE and wire.binding != "jsonrpc":
                continue
            if wire.binding == "grpc" and wire.version != "1.0":
                continue  # the load generator has no other
            for count in clients:
                row = report.Row(
                    server=target.server,
                    runtime=target.runtime,
                    wire=wire,
                    clients=count,
                    result=self._measure(target, wire, count),
                )
                self.rows.append(row)
                _tell(_progress(row))

    def _measure(self, target: Target, wire: Wire, clients: int) -> Result:
        options = self._options
        command = processes.python("tests.benchmarks.load", target.url)
        command += ["--mode", wire.mode, "--version", wire.version, "--binding", wire.binding]
        command += ["--clients", str(clients), "--tokens", str(options.tokens)]
        command += ["--seconds", str(options.seconds), "--timeout", str(options.timeout)]
        if options.spread_ms:
            command += ["--spread-ms", str(options.spread_ms)]
        if options.requests is not None:
            command += ["--requests", str(options.requests)]
        if target.pid is not None:
            command += ["--pid", str(target.pid), "--companion", str(self._upstream_pid)]
        secret = {TOKEN_VARIABLE: target.token} if target.token else {}
        done = subprocess.run(
            command,
            env=processes.clean_environment(secret),
            cwd=processes.ROOT,
            stdout=subprocess.PIPE,
            check=False,
        )
        if done.returncode != 0:
            raise BenchmarkError(f"the load generator failed on {target.server}")
        return Result(**json.loads(done.stdout))


def _wires(versions: list[Version], bindings: list[Binding], modes: list[Mode]) -> Iterator[Wire]:
    for mode in modes:
        for version in versions:
            for binding in bindings:
                yield Wire(version=version, binding=binding, mode=mode)


def _progress(row: report.Row) -> str:
    result = row.result
    failed = sum(result.failures.values())
    asked = f"{row.label}, {row.asked}, {row.clients} clients"
    return f"{asked}: {result.per_second:.1f} requests/s, {failed} failed"


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _upstream(options: argparse.Namespace) -> processes.Server:
    command = processes.python("tests.benchmarks.upstream", "--port", str(options.upstream_port))
    command += ["--tokens", str(options.tokens), "--delay-ms", str(options.delay_ms)]
    command += ["--token-interval-ms", str(options.token_interval_ms)]
    if options.chatter:
        command.append("--chatter")
    return processes.Server(command, processes.clean_environment({}))


def _facts(upstream: str) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(f"{upstream}/benchmark", timeout=5) as answer:
            facts: dict[str, Any] = json.load(answer)
    except (OSError, ValueError) as error:
        raise BenchmarkError(f"--upstream: no stand-in answers at {upstream}") from error
    return facts


def _peers(options: argparse.Namespace) -> list[Peer]:
    tokens = options.peer_token or [os.environ.get(PEER_TOKEN_VARIABLE)] * len(options.peer)
    pids = options.peer_pid or [None] * len(options.peer)
    if len(tokens) != len(options.peer) or len(pids) != len(options.peer):
        raise BenchmarkError("--peer-token and --peer-pid, where given, come once for each --peer, in the same order")
    return [
        Peer(name=name, url=url, token=token, pid=pid)
        for (name, url), token, pid in zip(options.peer, tokens, pids, strict=True)
    ]


def _pair(text: str) -> tuple[str, str]:
    name, found, value = text.partition("=")
    if not found or not name:
        raise argparse.ArgumentTypeError("must be NAME=VALUE")
    return name, value


def _list_of(allowed: tuple[str, ...]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        chosen = [name for name in text.split(",") if name]
        if not chosen or set(chosen) - set(allowed):
            raise argparse.ArgumentTypeError(f"takes one or more of {','.join(allowed)}")
        return chosen

    return parse


def _rounds(text: str) -> int:
    if int(text) < FEWEST_ROUNDS:
        raise argparse.ArgumentTypeError(f"takes {FEWEST_ROUNDS} or more: fewer show nothing")
    return int(text)


def _counts(text: str) -> list[int]:
    counts = [int(number) for number in text.split(",")]
    if min(counts) < 1:
        raise argparse.ArgumentTypeError("takes positive numbers, such as 1,8,32")
    return counts


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks", description="Measures speed; asserts nothing."
    )
    add = parser.add_argument
    add("--against", metavar="COMMIT", help="compare this tree's CPU with a commit's, some minutes")
    add("--rounds", type=_rounds, default=FEWEST_ROUNDS, help=f"of --against ({FEWEST_ROUNDS})")
    add("--runtime", type=_list_of(RUNTIMES), default=list(RUNTIMES), help="asyncio,trio")
    add("--servers", type=_list_of(SERVERS), default=list(SERVERS), help="bare,opencode-a2a")
    add("--modes", type=_list_of(MODES), default=list(MODES), help="send,stream")
    add("--versions", type=_list_of(VERSIONS), default=["1.0"], help="0.3,1.0 (1.0)")
    add("--bindings", type=_list_of(BINDINGS), default=["jsonrpc"], help="jsonrpc,rest,grpc,websocket (jsonrpc)")
    add("--clients", type=_counts, help="at once (1,8,16,32,128; 8 with --against)")
    add("--seconds", type=float, help="of load per row (5), or per server and round of --against (0.6)")
    add("--requests", type=int, help="per row, instead of --seconds")
    add("--timeout", type=float, default=60.0, help="seconds until an answer counts as a failure (60)")
    add("--tokens", type=int, default=20, help="per turn (20)")
    add("--delay-ms", type=float, default=30.0, help="until the upstream's first token (30)")
    add("--token-interval-ms", type=float, default=0.0, help="between two tokens (0)")
    add("--chatter", action="store_true", help="the upstream also says what a turn could do without")
    add("--spread-ms", type=float, default=0.0, help="over which the clients begin, evenly (0: all at once)")
    add(
        "--upstream-port",
        type=int,
        default=0,
        help="a fixed port for the upstream, so that a peer can be set up",
    )
    add("--upstream", help="use this running stand-in instead; its own tokens and delay count")
    add(
        "--setting",
        type=_pair,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="for our server's environment",
    )
    add(
        "--peer",
        type=_pair,
        action="append",
        default=[],
        metavar="NAME=URL",
        help="measure this A2A server too",
    )
    add(
        "--peer-token",
        action="append",
        metavar="TOKEN",
        help=f"bearer token of each peer; or {PEER_TOKEN_VARIABLE}",
    )
    add(
        "--peer-pid",
        type=int,
        action="append",
        metavar="PID",
        help="process of each peer, for CPU and memory",
    )
    add("--peer-clients", type=_counts, help="at once on a peer, if other than --clients")
    add("--peer-versions", type=_list_of(VERSIONS), default=["1.0"], help="that peers speak (1.0)")
    add("--peer-bindings", type=_list_of(BINDINGS), default=["jsonrpc"], help="that peers speak (jsonrpc)")
    add("--quick", action="store_true", help="unless told otherwise, 1 second per row, 8 and 32 clients")
    add("--json", type=Path, metavar="FILE", help="write all numbers there as well")
    return parser


def _measure(options: argparse.Namespace) -> Run:
    peers = _peers(options)
    if options.upstream:
        facts = _facts(options.upstream)
        options.tokens, options.delay_ms = facts["tokens"], facts["delay"] * 1000
        run = Run(options, options.upstream.rstrip("/"), facts["pid"])
        run.everything(peers)
        return run
    with _upstream(options) as upstream:
        run = Run(options, upstream.url, upstream.pid)
        run.everything(peers)
    return run


def _show(options: argparse.Namespace, run: Run) -> None:
    print(f"{options.tokens} tokens a turn, {options.delay_ms:g} ms to the upstream's first token\n")
    print(report.table(run.rows))
    for text in ("\n".join(f"not measured: {reason}" for reason in run.missing), report.failures(run.rows)):
        if text:
            print(f"\n{text}")
    ratios = report.ratios(run.rows)
    if ratios:
        print("\n" + "\n".join(map(str, ratios)))
    if options.json:
        saved = {
            "tokens": options.tokens,
            "delay_ms": options.delay_ms,
            "rows": [{**attrs.asdict(row), "label": row.label} for row in run.rows],
            "ratios": [attrs.asdict(ratio) for ratio in ratios],
            "missing": run.missing,
        }
        options.json.write_text(json.dumps(saved, indent=1) + "\n")


def main() -> int:
    """Exit code 0: all was measured without a failed request; 1: not; 2: it could not run.

    With `--against`, 3: a measure is slower than that commit's.
    """
    options = _parser().parse_args()
    if options.against is not None:
        options.seconds = options.seconds or 0.6
        options.clients = options.clients or [8]
        return against.run(options, _tell)
    options.seconds = options.seconds or (1.0 if options.quick else 5.0)
    options.clients = options.clients or ([8, 32] if options.quick else [1, 8, 16, 32, 128])
    try:
        run = _measure(options)
    except (BenchmarkError, processes.StartError) as error:
        _tell(f"benchmark: {error}")
        return 2
    except KeyboardInterrupt:
        return 130
    _show(options, run)
    return 1 if run.missing or any(row.result.failures for row in run.rows) else 0


if __name__ == "__main__":
    raise SystemExit(main())
