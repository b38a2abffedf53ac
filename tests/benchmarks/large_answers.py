"""How long others wait while a large answer of OpenCode's is worked on: `python -m tests.benchmarks.large_answers`.

A ticker asks for its turn again and again; told is how long it had to wait, with nothing else going on, with the
answer decoded in one go (on the loop, in a thread), and in the steps that the methods take; and of these, how much
time of the processor the longest takes. The garbage collector is as calm as it is in a server.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Awaitable, Callable

import anyio
import anyio.to_thread
import orjson

from opencode_a2a.server.steps import in_turns
from sansio.a2a.bindings.json_output import encoded_pieces
from sansio.extensions.methods.method_rows import Reply
from sansio.extensions.methods.method_table import METHODS
from sansio.extensions.methods.parameters import Arguments
from sansio.large_json import decoded
from tests.steps import taken

ROW = METHODS["opencode.models.list"]
_END = object()


def catalogue(providers: int = 225, models: int = 36) -> bytes:
    """A list of providers as large as OpenCode's own: some 7 MB."""
    capabilities = {"temperature": True, "reasoning": True, "attachment": False, "toolcall": True}
    kinds = dict.fromkeys(("text", "audio", "image", "video", "pdf"), False)
    every = []
    for number in range(providers):
        provider = f"provider-{number}"
        found = {
            f"model-{index}": {
                "id": f"model-{index}",
                "providerID": provider,
                "api": {
                    "id": f"model-{index}",
                    "url": "https://models.example/v1",
                    "npm": "@ai-sdk/openai-compatible",
                },
                "name": f"Model {index}",
                "family": "family",
                "capabilities": {**capabilities, "input": kinds, "output": kinds, "interleaved": False},
                "cost": {"input": 0.5, "output": 1.5, "cache": {"read": 0.1, "write": 0.2}, "tiers": [1, 2, 3]},
                "limit": {"context": 100_000, "output": 4_000},
                "status": "active",
                "options": {},
                "headers": {},
                "release_date": "2026-01-02",
                "variants": {"low": {"effort": "low"}, "high": {"effort": "high"}},
            }
            for index in range(models)
        }
        options: dict[str, object] = {}
        every.append(
            {
                "id": provider,
                "name": provider.title(),
                "source": "custom",
                "env": ["KEY"],
                "options": options,
                "models": found,
            }
        )
    defaults = {provider["id"]: "model-0" for provider in every}
    return orjson.dumps({"all": every, "default": defaults, "connected": ["provider-0"]})


def _at_once(body: bytes) -> bytes:
    return orjson.dumps(taken(ROW.projected(Reply(orjson.loads(body)), Arguments())))


async def _in_steps(body: bytes) -> bytes:
    result = taken(ROW.projected(Reply(await in_turns(decoded(body, ROW.shrink))), Arguments()))
    return b"".join(await in_turns(encoded_pieces(result)))


async def _on_the_loop(body: bytes) -> bytes:
    return _at_once(body)


async def _in_a_thread(body: bytes) -> bytes:
    return await anyio.to_thread.run_sync(_at_once, body)


async def _nothing(body: bytes) -> bytes:
    await anyio.sleep(0.3)
    return b""


async def _waits(work: Callable[[bytes], Awaitable[bytes]], body: bytes) -> tuple[float, list[float], float]:
    """How long the work took, how long each turn of the ticker's had to be waited for, and the most of the processor
    that this thread used in one of these waits: seconds. What a busy machine adds shows in the first two alone.
    """
    waits: list[float] = []
    used: list[float] = []

    async def tick() -> None:
        while True:
            asked, before = time.perf_counter(), time.thread_time()
            await anyio.sleep(0.001)
            used.append(time.thread_time() - before)
            waits.append(max(0.0, time.perf_counter() - asked - 0.001))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tick)
        await anyio.sleep(0.05)
        waits.clear()
        used.clear()
        began = time.perf_counter()
        await work(body)
        took = time.perf_counter() - began
        await anyio.sleep(0.002)
        tasks.cancel_scope.cancel()
    return took, waits, max(used)


def _longest_step(body: bytes) -> float:
    """Seconds of the processor, decoding."""
    steps, longest, ended = decoded(body, ROW.shrink), 0.0, False
    while not ended:
        began = time.thread_time()
        ended = next(steps, _END) is _END
        longest = max(longest, time.thread_time() - began)
    return longest


async def _main() -> None:
    body = catalogue()
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    print(f"{len(body) / 1e6:.1f} MB")
    works = (
        ("nothing", _nothing),
        ("on the loop", _on_the_loop),
        ("in a thread", _in_a_thread),
        ("in steps", _in_steps),
    )
    for name, work in works:
        took, waits, used = await _waits(work, body)
        waits.sort()
        p99 = waits[int(len(waits) * 0.99)] if waits else 0.0
        most = waits[-1] if waits else 0.0
        told = f"others waited {p99 * 1000:5.1f} ms (p99), {most * 1000:5.1f} ms at most"
        print(f"{name:12} took {took * 1000:6.0f} ms; {told}, {used * 1000:5.1f} ms of it this thread's own work")
    print(f"longest step: {_longest_step(body) * 1000:.1f} ms of the processor")


if __name__ == "__main__":
    anyio.run(_main, backend=sys.argv[1] if len(sys.argv) > 1 else "asyncio")
