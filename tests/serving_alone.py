"""Serves an application as a process of its own, which tests and benchmarks start and end."""

from __future__ import annotations

from typing import Any

import anyio

from opencode_a2a.server.runtimes import Runtime


async def serve_alone(runtime: Runtime, app: Any, grace: float = 1.0) -> None:
    """Serve on a free loopback port until the process is ended. Prints where it listens."""

    def ready(addresses: list[str]) -> None:
        print(f"listening on http://{addresses[0]}", flush=True)

    await runtime.serve(app, "127.0.0.1:0", stop=anyio.sleep_forever, ready=ready, grace=grace)
