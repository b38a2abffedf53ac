"""Installs the official clients, other people's agents, and OpenCode: `python -m tests.interop.installing`.

The first test that needs one installs it too. Whoever runs all tests has the time of one to begin with the others.
Needs nothing but Python's own library.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from tests.interop.environments import DEFAULT_LOCATION, PINS, node_folder, python_of
from tests.real.installation import UnavailableError, opencode_binary

_AGENTS = DEFAULT_LOCATION / "peers" / "pins"
_OF_BENCHMARKS = ("a2a-sdk-grpc",)


def wanted() -> Sequence[tuple[str, Callable[[], Path]]]:
    """What is installed, by its name; first what most tests need."""
    found: list[tuple[str, Callable[[], Path]]] = [("opencode", opencode_binary), ("javascript", node_folder)]
    for pins in (PINS, _AGENTS):
        names = sorted(path.stem for path in pins.glob("*.txt"))
        found += [(name, partial(python_of, name, pins)) for name in names if name not in _OF_BENCHMARKS]
    return found


def main() -> int:
    """Install one after the other. What cannot be had is named; its tests say what that means."""
    for name, install in wanted():
        try:
            print(f"{name}: {install()}", flush=True)
        except UnavailableError as unavailable:
            print(f"{name}: {unavailable}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
