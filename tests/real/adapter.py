"""The server under test, started as a user starts it: `python -m opencode_a2a serve`.

Knows its command line, its environment and the line it prints once it is ready, and nothing of its insides.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from tests.real.deadline import Deadline
from tests.real.process import Process

TOKEN = "token-of-the-tests"
START_SECONDS = 90


@attrs.frozen(kw_only=True)
class Adapter:
    """A running server."""

    url: str
    token: str = attrs.field(repr=False)


def environment(folder: Path) -> dict[str, str]:
    credentials = [{"scheme": "bearer", "token": TOKEN, "principal": "automation"}]
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "A2A_STATIC_AUTH_CREDENTIALS": json.dumps(credentials),
        "A2A_TASK_STORE_DATABASE_URL": f"sqlite:///{folder / 'tasks.db'}",
        "A2A_RATE_LIMIT_ENABLED": "false",
    }


@contextmanager
def listening(command: list[str], folder: Path, env: dict[str, str]) -> Iterator[str]:
    """A process that says where it listens; its URL. Stopped at the end."""
    process = Process.start([sys.executable, "-m", *command], cwd=folder, env=env)
    try:
        ready = process.output.wait_for(r"listening on (http://127\.0\.0\.1:\d+)", Deadline.within(START_SECONDS))
        yield ready.group(1)
    finally:
        process.stop()


@contextmanager
def running_adapter(
    runtime: str, folder: Path, opencode_url: str, more: dict[str, str] | None = None
) -> Iterator[Adapter]:
    """Start the server on a free port, with its task store in `folder`; stop it at the end. `more`: environment."""
    command = ["opencode_a2a", "serve", "--runtime", runtime, "--host", "127.0.0.1", "--port", "0"]
    with listening([*command, "--opencode", opencode_url], folder, environment(folder) | (more or {})) as url:
        yield Adapter(url=url, token=TOKEN)
