"""`python -m tests.benchmarks.databases`: one server on PostgreSQL, which it could share, beside one on SQLite.

Both run at the same time, and are loaded in turn, round by round: with streams whose tokens come back to back, and
with streams of many clients whose tokens come as a model's do. Each round has a ratio, of which the median counts.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack

import attrs

from tests.benchmarks import processes
from tests.benchmarks.replicas import Kind, paced_upstream, postgresql, postmaster
from tests.benchmarks.statements import load
from tests.shell.store_cases import empty_postgresql

TARGET = 0.7


@attrs.frozen(kw_only=True)
class Load:
    """A way to load a server. `pace`: milliseconds between tokens."""

    name: str
    clients: int
    pace: float
    figure: str


@attrs.frozen(kw_only=True)
class Figures:
    """What a round has measured. `cpu_ms`: a request's, of the server and of the database; `others`: percent."""

    rate: float
    p50: float
    cpu_ms: float
    database_ms: float
    others: float


def _measure(
    way: Load, url: str, token: str, seconds: float, server: int, database: int, tokens: int, companion: int
) -> Figures:
    usage = processes.Usage.start(database)
    known = [server, companion, database]
    asked = ["--clients", str(way.clients), "--seconds", str(seconds), "--tokens", str(tokens), "--pid", str(server)]
    result = load(url, token, *asked, *(word for pid in known[1:] for word in ("--companion", str(pid))))
    if result["failures"]:
        print(f"failures: {result['failures']}", file=sys.stderr)
    number = {name: float(str(value or 0)) for name, value in result.items() if name != "failures"}
    return Figures(
        rate=number[way.figure],
        p50=number["p50"],
        cpu_ms=number["cpu_ms"],
        database_ms=usage.cpu_seconds() * 1000 / max(1, number["requests"]),
        others=number["others_percent"],
    )


def _line(cells: Sequence[object]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def _shown(way: Load, runtime: str, found: dict[str, list[Figures]]) -> list[str]:
    names = list(found)
    lines = []
    for name in names:
        middle = {key: statistics.median(getattr(one, key) for one in found[name]) for key in FIELDS}
        rates = ", ".join(f"{one.rate:.0f}" for one in found[name])
        lines.append(
            _line(
                (
                    *(runtime, way.name, way.clients, name, way.figure.replace("_per_second", "/s")),
                    *(f"{middle['rate']:.1f}", rates, f"{middle['p50']:.0f}", f"{middle['cpu_ms']:.2f}"),
                    *(f"{middle['database_ms']:.2f}", f"{middle['others']:.0f}"),
                )
            )
        )
    return lines


FIELDS = [field.name for field in attrs.fields(Figures)]
_HEAD = ("runtime", "load", "clients", "store", "figure", "median", "rounds", "p50 ms", "server CPU ms/request")
_MORE = ("database CPU ms/request", "others' CPU %")


def _compare(runtime: str, ways: Sequence[Load], options: argparse.Namespace, url: str, database: int) -> None:
    for way in ways:
        with ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="a2a-databases-"))
            upstream = stack.enter_context(paced_upstream(options.tokens, way.pace))
            empty_postgresql(url)
            kinds = {
                "SQLite": Kind(store=f"sqlite:///{folder}/tasks.db", upstream=upstream.url, runtime=runtime),
                "PostgreSQL": Kind(store=url, upstream=upstream.url, runtime=runtime),
            }
            servers = {name: stack.enter_context(kind.server(folder)) for name, kind in kinds.items()}
            found: dict[str, list[Figures]] = {name: [] for name in kinds}
            for number in range(options.rounds):
                for name in list(kinds) if number % 2 == 0 else reversed(list(kinds)):
                    server, token = servers[name], kinds[name].token
                    seen = (way, server.url, token, options.seconds, server.pid, database)
                    found[name].append(_measure(*seen, options.tokens, upstream.pid))
            for line in _shown(way, runtime, found):
                print(line, flush=True)
            pairs = zip(found["PostgreSQL"], found["SQLite"], strict=True)
            ratio = statistics.median(one.rate / other.rate for one, other in pairs)
            met = "met" if ratio >= TARGET else "MISSED"
            print(
                f"PostgreSQL / SQLite, {runtime}, {way.name}: {ratio:.2f} (target: {TARGET:g}; {met})",
                file=sys.stderr,
            )


def main() -> int:
    """Exit code 0: it was measured; 2: it could not run."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.databases", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="of each (5)")
    parser.add_argument("--seconds", type=float, default=4.0, help="a round (4)")
    parser.add_argument("--tokens", type=int, default=20, help="a turn (20)")
    parser.add_argument("--clients", type=int, default=32, help="whose tokens come back to back (32)")
    parser.add_argument("--paced-clients", type=int, default=128, help="whose tokens are paced (128)")
    parser.add_argument("--pace-ms", type=float, default=20.0, help="between two paced tokens (20)")
    parser.add_argument("--runtime", choices=("asyncio", "trio"), action="append", help="default: both")
    options = parser.parse_args()
    ways = (
        Load(name="back to back", clients=options.clients, pace=0.0, figure="per_second"),
        Load(name="paced", clients=options.paced_clients, pace=options.pace_ms, figure="tokens_per_second"),
    )
    try:
        with postgresql() as url:
            database = postmaster(url)
            for line in (_HEAD + _MORE, ["---"] * len(_HEAD + _MORE)):
                print(_line(line))
            for runtime in options.runtime or ("asyncio", "trio"):
                _compare(runtime, ways, options, url, database)
    except processes.StartError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
