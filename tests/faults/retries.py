"""Kills the agent at a random moment of a send, and sends again: `python -m tests.faults.retries`.

Each round sends some messages at once, kills the agent within the first moments, starts it again, and sends the same
messages with the same ids until each has a task that has ended. Every second message names no context. OpenCode must
then have each prompt exactly once.
"""

from __future__ import annotations

import argparse
import random
import ssl
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import httpx

from tests.faults.plan import Plan
from tests.faults.world import TOKEN, World, world

_AT_ONCE = 8
_LATEST_KILL = 0.12  # seconds after the messages were sent
_BOUND = 30.0  # seconds within which a message has been answered for good
_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # nothing here speaks TLS


async def _send(found: World, http: httpx.AsyncClient, text: str) -> bool:
    """Send a message, and wait for its task's end; False where no answer came."""
    message: dict[str, Any] = {"messageId": text, "role": "ROLE_USER", "parts": [{"text": text}]}
    if int(text.rpartition(" ")[2]) % 2:
        message["contextId"] = f"context of {text}"
    body = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": message}}
    try:
        answer = (await http.post(found.url, json=body, headers={"a2a-version": "1.0"})).json()
    except (httpx.HTTPError, ValueError):
        return False
    return bool(answer.get("result", {}).get("task", {}).get("status", {}).get("state") == "TASK_STATE_COMPLETED")


async def _until_answered(found: World, http: httpx.AsyncClient, text: str) -> None:
    with anyio.fail_after(_BOUND):
        while not await _send(found, http, text):
            await found.ready.wait()
            await anyio.sleep(0.05)


async def _prompts(found: World, http: httpx.AsyncClient) -> Counter[str]:
    """How often OpenCode has each prompt."""
    counted: Counter[str] = Counter()
    for session in (await http.get(f"{found.opencode_url}/session?limit=100000")).json():
        messages: list[dict[str, Any]] = (
            await http.get(f"{found.opencode_url}/session/{session['id']}/message")
        ).json()
        counted.update(
            "".join(part.get("text", "") for part in message["parts"])
            for message in messages
            if message["info"]["role"] == "user"
        )
    return counted


async def kills(runtime: str, rounds: int, seed: int) -> tuple[int, list[str]]:
    """How many messages were sent, and those that OpenCode does not have exactly once."""
    rng = random.Random(seed)
    plan = Plan((), (), runtime, random.Random(seed))
    texts: list[str] = []
    with tempfile.TemporaryDirectory(prefix="opencode-a2a-retries-") as directory:
        headers = {"authorization": f"Bearer {TOKEN}"}
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        async with (
            httpx.AsyncClient(headers=headers, timeout=20, limits=limits, verify=_NO_TLS) as http,
            world(plan, Path(directory)) as found,
        ):
            for number in range(rounds):
                sent = [f"hi {runtime} {seed} {number} {one}" for one in range(_AT_ONCE)]
                texts += sent
                async with anyio.create_task_group() as tasks:
                    for text in sent:
                        tasks.start_soon(_until_answered, found, http, text)
                    await anyio.sleep(rng.uniform(0, _LATEST_KILL))
                    found.ready = anyio.Event()
                    await found.agent.kill()
                    await found.agent.start()
                    found.ready.set()
            counted = await _prompts(found, http)
    return len(texts), [f"{text}: {counted[text]} times" for text in texts if counted[text] != 1]


async def _main(options: argparse.Namespace) -> int:
    wrong: list[str] = []
    for runtime in ("asyncio", "trio"):
        sent, found = await kills(runtime, options.rounds, options.seed)
        print(f"{runtime}: {options.rounds} kills, {sent} messages, {len(found)} not exactly once", flush=True)
        wrong += found
    print(*wrong, sep="\n")
    return 1 if wrong else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.retries", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, metavar="N", help="kills for each runtime (default: 20)")
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    return anyio.run(_main, parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
