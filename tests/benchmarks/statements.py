"""`python -m tests.benchmarks.statements`: the statements and rows that a turn costs in a shared PostgreSQL database.

One server runs turns for clients in a closed loop, each with a stream; `pg_stat_statements` counts what it executes.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile

from tests.benchmarks import processes
from tests.benchmarks.load import TOKEN_VARIABLE
from tests.benchmarks.replicas import Kind, paced_upstream, postgresql, query

_LOADED = ("shared_preload_libraries=pg_stat_statements", "pg_stat_statements.track=top")
_COUNTED = (
    "SELECT query, calls, rows, total_exec_time FROM pg_stat_statements"
    " WHERE query NOT LIKE '%%pg_stat_%%' ORDER BY calls DESC"
)
_SHOWN = 100  # characters of a statement


def load(url: str, token: str, *arguments: str) -> dict[str, object]:
    """What the load generator measured. Raises `CalledProcessError`."""
    command = processes.python("tests.benchmarks.load", url, *arguments)
    environment = processes.clean_environment({TOKEN_VARIABLE: token})
    done = subprocess.run(command, env=environment, cwd=processes.ROOT, stdout=subprocess.PIPE, check=True)
    result: dict[str, object] = json.loads(done.stdout)
    return result


def shown(statement: str) -> str:
    """A statement in one line; a list of rows counts as one row, as its length differs from commit to commit."""
    text = re.sub(r"\s+", " ", statement)
    text = re.sub(r"(\([^()]*\))(, \([^()]*\))+", r"\1, ...", text)
    text = re.sub(r"\$\d+( /\*, \.\.\. \*/)?", "?", text)
    return text.replace("opencode_a2a_", "")[:_SHOWN]


def measure(options: argparse.Namespace, clients: int, upstream: str, url: str) -> tuple[int, list[list[str]]]:
    kind = Kind(store=url, upstream=upstream, runtime=options.runtime)
    with tempfile.TemporaryDirectory(prefix="a2a-statements-") as folder, kind.servers(1, folder) as [server]:
        asked = ("--clients", str(clients), "--tokens", str(options.tokens))
        load(server.url, kind.token, *asked, "--requests", "50")
        query(url, "CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        query(url, "SELECT pg_stat_statements_reset()")
        result = load(server.url, kind.token, *asked, "--requests", str(options.turns))
        counted = query(url, _COUNTED)
    turns = options.turns + max(clients, 16)  # with those that warm up
    assert not result["failures"], result["failures"]
    merged: dict[str, list[float]] = {}
    for statement, *numbers in counted:
        found = merged.setdefault(shown(str(statement)), [0.0, 0.0, 0.0])
        for at, number in enumerate(numbers):
            found[at] += float(str(number))
    total = [sum(column) for column in zip(*merged.values(), strict=True)]
    rows = sorted(merged.items(), key=lambda item: -item[1][0])
    lines = [("all", total), *[row for row in rows if row[1][0] / turns >= options.least]]
    return turns, [
        [f"{calls / turns:.3f}", f"{rows_ / turns:.3f}", f"{spent * 1000 / turns:.1f}", text]
        for text, (calls, rows_, spent) in lines
    ]


def main() -> int:
    """Exit code 0: it was counted; 2: it could not run."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.statements", description=__doc__)
    parser.add_argument("--turns", type=int, default=1000, help="(1000)")
    parser.add_argument("--tokens", type=int, default=20, help="a turn (20)")
    parser.add_argument("--token-interval-ms", type=float, default=10.0, help="between two tokens (10)")
    parser.add_argument("--clients", type=int, action="append", help="at once; one table for each (1 and 32)")
    parser.add_argument("--runtime", choices=("asyncio", "trio"), default="asyncio")
    parser.add_argument("--least", type=float, default=0.005, help="calls a turn of a statement to show (0.005)")
    options = parser.parse_args()
    try:
        with (
            postgresql(*_LOADED) as url,
            paced_upstream(options.tokens, options.token_interval_ms) as upstream,
        ):
            for clients in options.clients or (1, 32):
                turns, lines = measure(options, clients, upstream.url, url)
                print(f"{turns} turns of {options.tokens} tokens, {options.token_interval_ms:g} ms apart,", end=" ")
                print(f"{clients} clients, {options.runtime}; a turn:\n")
                print("| calls | rows | us in the database | statement |\n| ---: | ---: | ---: | --- |")
                print("\n".join(f"| {' | '.join(line)} |" for line in lines), end="\n\n", flush=True)
    except processes.StartError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
