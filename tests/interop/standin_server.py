"""Serves the scripted stand-in for OpenCode: ``python -m tests.interop.standin_server RUNTIME``.

Prints where it listens. Runs until it is told to end.
"""

from __future__ import annotations

import importlib
import sys
from functools import partial

import anyio

from opencode_a2a.standin import StandIn


def main(runtime_name: str) -> None:
    runtime = importlib.import_module(f"runtime_{runtime_name}")
    serve = partial(
        runtime.serve,
        StandIn(),
        "127.0.0.1:0",
        stop=anyio.sleep_forever,
        ready=lambda addresses: print(f"listening on http://{addresses[0]}", flush=True),
        grace=1.0,
    )
    runtime.run(serve)


if __name__ == "__main__":
    main(sys.argv[1])
