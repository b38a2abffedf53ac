"""CPU per call of this client library beside a2a-sdk's: `python -m tests.benchmarks.calls`.

The same echo agent for both, a process each for server and clients, in turn. A client connects once and makes N
calls; its CPU is that of its process between the first call and the last, which it reports itself. Only a2a-sdk's
part runs in that library's environment.
"""

# a2a-sdk is installed in an environment of its own, never in the one that checks types.
# mypy: disable-error-code="import-not-found, import-untyped"

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TEXT = "hello big world"
MODES = ("send", "stream")
WARM = 20


def of_sdk(url: str, token: str, mode: str, count: int) -> float:
    """Milliseconds of CPU per call of a2a-sdk's client."""
    import httpx
    from a2a.client import ClientConfig, ClientFactory
    from a2a.client.card_resolver import A2ACardResolver
    from a2a.types import Message, Part, Role, SendMessageRequest

    async def run() -> float:
        async with httpx.AsyncClient(headers={"Authorization": f"Bearer {token}"}, trust_env=False) as http:
            card = await A2ACardResolver(http, url).get_agent_card()
            client = ClientFactory(ClientConfig(streaming=mode == "stream", httpx_client=http)).create(card)

            async def call(number: int) -> None:
                message = Message(
                    message_id=f"sdk-{os.getpid()}-{number}", role=Role.ROLE_USER, parts=[Part(text=TEXT)]
                )
                async for _ in client.send_message(SendMessageRequest(message=message)):
                    pass

            for number in range(WARM):
                await call(-number - 1)
            began = time.process_time()
            for number in range(count):
                await call(number)
            return (time.process_time() - began) * 1000 / count

    return asyncio.run(run())


def of_ours(url: str, token: str, mode: str, count: int, runtime: str) -> float:
    """Milliseconds of CPU per call of this client library."""
    from opencode_a2a.client import ClientOptions, connect
    from opencode_a2a.server.runtimes import find_runtime
    from sansio.redact import Secret

    async def run() -> float:
        async with connect(url, ClientOptions(bearer=Secret(token), version="1.0")) as agent:

            async def call() -> None:
                if mode == "send":
                    await agent.send(TEXT)
                    return
                async with agent.stream(TEXT) as events:
                    async for _ in events:
                        pass

            for _ in range(WARM):
                await call()
            began = time.process_time()
            for _ in range(count):
                await call()
            return (time.process_time() - began) * 1000 / count

    result: float = find_runtime(runtime).run(run)
    return result


def measured(python: str, client: str, url: str, mode: str, count: int) -> float:
    from tests.benchmarks.processes import ROOT, clean_environment
    from tests.real.adapter import TOKEN

    command = [python, "-m", "tests.benchmarks.calls", "--client", client, "--url", url]
    command += ["--mode", mode, "--calls", str(count)]
    environ = clean_environment({"BENCHMARK_TOKEN": TOKEN})
    done = subprocess.run(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, check=True, timeout=300)
    return float(json.loads(done.stdout))


def compare(count: int, rounds: int) -> None:
    """Print a row for each server and mode: both clients in turn, the median of the rounds."""
    from tests.interop.environments import python_of
    from tests.interop.peers.peer import OF_NAME

    sdk = str(python_of("python-1"))
    print("| server | mode | a2a-sdk, ms | asyncio, ms | ratio | trio, ms | ratio |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for server in ("echo_agent.py", "opencode-a2a"):
        with tempfile.TemporaryDirectory() as folder, OF_NAME[server].start(Path(folder)) as url:
            for mode in MODES:
                found: dict[str, list[float]] = {"sdk": [], "asyncio": [], "trio": []}
                for _ in range(rounds):
                    for client, values in found.items():
                        python = sdk if client == "sdk" else sys.executable
                        values.append(measured(python, client, url, mode, count))
                theirs, one, two = (statistics.median(values) for values in found.values())
                cells = (f"{theirs:.2f}", *(f"{ours:.2f} | {ours / theirs:.2f}" for ours in (one, two)))
                print(f"| {server} | {mode} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.calls", description=__doc__)
    parser.add_argument("--calls", type=int, default=200, help="per client and round (200)")
    parser.add_argument("--rounds", type=int, default=3, help="of all clients in turn (3)")
    parser.add_argument("--client", choices=("sdk", "asyncio", "trio"), help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--mode", choices=MODES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client is None:
        compare(options.calls, options.rounds)
        return
    token = os.environ["BENCHMARK_TOKEN"]
    if options.client == "sdk":
        print(of_sdk(options.url, token, options.mode, options.calls))
    else:
        print(of_ours(options.url, token, options.mode, options.calls, options.client))


if __name__ == "__main__":
    main()
