"""`opencode-a2a demo`: the product at work on one machine, with a scripted fake OpenCode."""

from __future__ import annotations

import argparse
import secrets
import shlex
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import anyio
from attrs import evolve

from opencode_a2a.cli import call
from opencode_a2a.cli.serve import serve
from opencode_a2a.config.settings import Settings, check_bindings, with_generated_token
from opencode_a2a.fake_opencode import FakeOpenCode
from opencode_a2a.server.runtimes import Runtime
from opencode_a2a.server.signals import until_signalled
from sansio.a2a.cards.parse import CARD_PATHS, GRPC, JSONRPC, WEBSOCKET
from sansio.guards.console import PATH as CONSOLE_PATH
from sansio.redact import Secret

TEXT = "TOOL please, and then tell me what you saw."
_OWN_PORTS = (8001, 8002)  # of a server before the fake OpenCode: the first that is not the demo's own
_GRACE = 0.5  # seconds for which the end waits for tasks: nobody comes back to those that wait for their user
WORDS = {
    "THINK": "",
    "TOOL": "",
    "BADTOOL": "",
    "STEPS": "",
    "WRITE": "notes.txt",
    "PERMISSION": "",
    "QUESTION": "",
    "SUBTASK": "",
    "RETRY": "",
    "FAIL401": "",
    "SLOW": "",
    "SPACE": "",
    "EMPTY": "",
    "COUNT": "",
    "ECHO": "...",
    "LONG": "200",
    "PEER": "@NAME hi",
    "PEERASK": "@NAME PERMISSION",
}
"""The words of the fake OpenCode's scripts, each with an example of what may follow it."""


def run(options: argparse.Namespace, settings: Settings, runtime: Runtime) -> int:
    """Run the demo on `runtime`; return the exit code. Of the settings, `main` reads those that count."""
    check_bindings(settings)
    return runtime.run(partial(_demonstrate, options, settings, runtime, sys.stdout))


async def _demonstrate(options: argparse.Namespace, given: Settings, runtime: Runtime, out: TextIO) -> int:
    print(f"Starting a scripted OpenCode, and the server before it, on {given.runtime} ...\n", file=out, flush=True)
    token = secrets.token_urlsafe(18)
    fake_opencode, server = _Address(), _Address()
    opencode = FakeOpenCode(pause=0.05)
    async with _running(partial(_serve_standin, runtime, opencode, fake_opencode)):
        settings = with_generated_token(
            evolve(
                given,
                port=options.demo_port,
                opencode_url=await fake_opencode.url(),
                task_store_backend="memory",
                shutdown_grace_seconds=_GRACE,
            ),
            token,
        )
        async with _running(partial(_serve_agent, runtime, settings, server)):
            url = await server.url()
            code = await _show(url, evolve(settings, client_bearer_token=Secret(token)), out)
            if options.keep and code == 0:
                if settings.console:
                    print(f"\nThe console: {url}{CONSOLE_PATH}, where the token is {token}", file=out)
                print_commands(url, token, await fake_opencode.url(), settings.bindings, out)
                await until_signalled()
            elif code == 0:
                print(f"For more, also to be asked for a permission: {_program()} demo --keep", file=out, flush=True)
        opencode.drop_streams()
    return code


@asynccontextmanager
async def _running(server: Callable[[anyio.Event], Coroutine[Any, Any, None]]) -> AsyncGenerator[None]:
    """A server in the background, which is stopped at the end and waited for."""
    stop, ended = anyio.Event(), anyio.Event()

    async def run() -> None:
        try:
            await server(stop)
        finally:
            ended.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        try:
            yield
        finally:
            # waited for here: a server that is cancelled instead would add its own errors to the one that counts
            stop.set()
            with anyio.CancelScope(shield=True):
                await ended.wait()


async def _serve_standin(runtime: Runtime, app: FakeOpenCode, address: _Address, stop: anyio.Event) -> None:
    await runtime.serve(app, "127.0.0.1:0", stop=stop.wait, ready=address.found, grace=1.0)


async def _serve_agent(runtime: Runtime, settings: Settings, address: _Address, stop: anyio.Event) -> None:
    await serve(settings, runtime, stop=stop.wait, ready=address.is_at)


class _Address:
    """Where a server listens, once it does."""

    def __init__(self) -> None:
        self._known = anyio.Event()
        self._url = ""

    def found(self, addresses: list[str]) -> None:
        self.is_at(f"http://{addresses[0]}")

    def is_at(self, url: str) -> None:
        self._url = url
        self._known.set()

    async def url(self) -> str:
        await self._known.wait()
        return self._url


async def _show(url: str, settings: Settings, out: TextIO) -> int:
    print(f"The agent is at {url}; its card at {url}{CARD_PATHS[0]}\n", file=out)
    print(f"> {TEXT}\n", file=out, flush=True)
    code = await call.call(call.CallTarget.of(url, settings), TEXT, out=out, err=sys.stderr)
    print(file=out)
    return code


def _program() -> str:
    """The command that started this program: its path, or the interpreter and the module."""
    started = Path(sys.argv[0])
    if started.name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m opencode_a2a"
    return shlex.quote(str(started))


def print_commands(url: str, token: str, fake_opencode: str, bindings: Sequence[str], out: TextIO) -> None:
    """Print what can be tried while the demo stays up. `url`, `fake_opencode`: where the two servers are."""
    request = (
        '{"jsonrpc":"2.0","id":1,"method":"SendStreamingMessage","params":{"message":'
        '{"messageId":"m1","role":"ROLE_USER","parts":[{"text":"THINK about it"}]}}}'
    )
    calling = f"  A2A_CLIENT_BEARER_TOKEN={token} {_program()} call"
    commands = [
        *(f'{calling} {url} "{word} please"' for word in ("STEPS", "PERMISSION", "QUESTION")),
        *(f'{calling} --binding {one.lower()} {url} "STEPS please"' for one in bindings if one in (GRPC, WEBSOCKET)),
        f"  curl -s {url}{CARD_PATHS[0]}",
    ]
    if JSONRPC in bindings:
        commands.append(
            f"  curl -sN {url}/ -H 'Authorization: Bearer {token}' -H 'A2A-Version: 1.0' \\\n"
            f"    -H 'Content-Type: application/json' -d '{request}'\n\n"
            "The same message again is answered with the same task: change its messageId to run it anew."
        )
    shown = "\n\n".join(commands)
    another = next(port for port in _OWN_PORTS if not url.endswith(f":{port}"))
    print(
        f"""
It stays up; Ctrl+C ends it. To try:

{shown}

Words the fake OpenCode knows: {", ".join(f"{word} {more}".strip() for word, more in WORDS.items())}.
PERMISSION and QUESTION wait for an answer: `call` asks for it.
PEER and PEERASK call another agent, one of A2A_PEERS_FILE.

The scripted OpenCode is at {fake_opencode}. To try settings of your own before it, in another terminal:

  OPENCODE_BASE_URL={fake_opencode} A2A_TASK_STORE_BACKEND=memory {_program()} serve --port {another}""",
        file=out,
        flush=True,
    )
