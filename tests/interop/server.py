"""The server under test in front of the stand-in, each a process, started as a user starts it.

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

from .driver import ROOT

TOKEN = "token-of-the-interop-tests"
START_SECONDS = 30


@attrs.frozen(kw_only=True)
class Server:
    """A running server."""

    url: str
    token: str = attrs.field(repr=False)


def environment(folder: Path) -> dict[str, str]:
    credentials = [{"scheme": "bearer", "token": TOKEN, "principal": "automation"}]
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(ROOT),
        "A2A_STATIC_AUTH_CREDENTIALS": json.dumps(credentials),
        "A2A_TASK_STORE_DATABASE_URL": f"sqlite:///{folder / 'tasks.db'}",
        # The receivers of push notifications in these tests listen on loopback.
        "A2A_PUSH_ALLOW_PRIVATE_HOSTS": "true",
    }


@contextmanager
def listening(command: list[str], folder: Path, env: dict[str, str]) -> Iterator[str]:
    """A process that says where it listens; its URL."""
    process = Process.start([sys.executable, "-m", *command], cwd=folder, env=env)
    try:
        ready = process.output.wait_for(r"listening on (http://127\.0\.0\.1:\d+)", Deadline.within(START_SECONDS))
        yield ready.group(1)
    finally:
        process.stop()


@contextmanager
def running_server(runtime: str, folder: Path) -> Iterator[Server]:
    """A server and its stand-in, both on `runtime`."""
    env = environment(folder)
    with listening(["tests.interop.standin_server", runtime], folder, env) as opencode:
        command = ["opencode_a2a", "serve", "--runtime", runtime, "--host", "127.0.0.1", "--port", "0"]
        with listening([*command, "--opencode", opencode], folder, env) as url:
            yield Server(url=url, token=TOKEN)
