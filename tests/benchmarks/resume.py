"""Streams that are cut, and a server that is killed, in mid-turn: does a client that resumes have the whole answer?

`python -m tests.benchmarks.resume`. Starts everything as processes of its own; the client is written against the
specification alone, keeps its own state, and believes no snapshot but the first.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import attrs
import httpx

from opencode_a2a.fake_opencode import CallTool, FakeOpenCode, Prompt, Say, Script, Think, words
from opencode_a2a.fake_opencode.scripts import SCRIPTS
from opencode_a2a.server.runtimes import find_runtime
from tests.benchmarks import processes
from tests.benchmarks.wire import VERSIONS, Version
from tests.serving_alone import serve_alone

CUTS, KILLS = 10, 2
RUNTIMES = ("asyncio", "trio")
_DEADLINE = 60.0  # seconds for one turn with all its interruptions
_TOKEN_SECONDS = 0.008
_STEPS = 24
_METHODS = {"0.3": ("message/stream", "tasks/resubscribe"), "1.0": ("SendStreamingMessage", "SubscribeToTask")}
_ENDS = {"completed", "failed", "canceled", "rejected"}


# --- what runs --------------------------------------------------------------------------------------------


def _turn(prompt: Prompt) -> Script:
    """Reasoning, text and a tool call, two dozen times, none of it said twice."""

    def step(index: int) -> tuple[Think | Say | CallTool, ...]:
        call = CallTool(tool="bash", input={"command": f"ls {index}"}, title=f"ls {index}", output=f"file-{index}\n")
        thought = "".join(f"thought-{index}-{at} " for at in range(10))
        text = "".join(f"word-{index}-{at} " for at in range(25))
        return Think(words(thought)), Say(words(text)), call

    return Script(tuple(step(index) for index in range(_STEPS)))


def serve_standin() -> None:
    """Be OpenCode, until told to end."""
    runtime = find_runtime("asyncio")
    fake_opencode = FakeOpenCode(pause=_TOKEN_SECONDS, scripts={"ALL": _turn, **SCRIPTS})
    runtime.run(partial(serve_alone, runtime, fake_opencode, grace=0.1))


def fake_opencode() -> processes.Server:
    """The scripted OpenCode, as a process."""
    return processes.Server(
        processes.python("tests.benchmarks.resume", "--be-the-standin"), processes.clean_environment({})
    )


def agent(upstream: str, runtime: str, token: str, directory: str, port: int = 0) -> processes.Server:
    """Our server before it, with its tasks in a file of that directory."""
    command = processes.python("opencode_a2a", "serve", "--runtime", runtime, "--host", "127.0.0.1")
    command += ["--port", str(port), "--opencode", upstream]
    settings = {
        "A2A_STATIC_AUTH_CREDENTIALS": processes.credentials(token),
        "A2A_TASK_STORE_DATABASE_URL": f"sqlite:///{directory}/tasks.db",
        "OPENCODE_MAX_CONCURRENT_REQUESTS": "0",
        "OPENCODE_MAX_CONCURRENT_STREAMS": "0",
    }
    return processes.Server(command, processes.clean_environment(settings), directory=directory)


# --- the client -------------------------------------------------------------------------------------------


def request_body(version: Version, *, text: str | None = None, task_id: str | None = None) -> dict[str, Any]:
    """A JSON-RPC request that starts a stream, or joins a task's."""
    start, join = _METHODS[version]
    if task_id is not None:
        return {"jsonrpc": "2.0", "id": 1, "method": join, "params": {"id": task_id}}
    message: dict[str, Any] = {"messageId": secrets.token_hex(8)}
    if version == "0.3":
        message |= {"kind": "message", "role": "user", "parts": [{"kind": "text", "text": text}]}
    else:
        message |= {"role": "ROLE_USER", "parts": [{"text": text}]}
    return {"jsonrpc": "2.0", "id": 1, "method": start, "params": {"message": message}}


def unpacked(result: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """An item of either version: `task`, `status` or `artifact`, and what it holds."""
    if "kind" in result:
        return result["kind"].removesuffix("-update"), result
    name, value = next(iter(result.items()))
    return name.removesuffix("Update"), value


def state_of(status: dict[str, Any]) -> str:
    """A state in the words of version 0.3."""
    return str(status["state"]).removeprefix("TASK_STATE_").lower().replace("_", "-")


@attrs.define
class Client:
    """What has been told so far, and by which event."""

    task_id: str = ""
    cursor: str = ""
    state: str = ""
    names: dict[str, str] = attrs.field(factory=dict)
    parts: dict[str, list[dict[str, Any]]] = attrs.field(factory=dict)
    updates: list[int] = attrs.field(factory=list)
    seen: int = 0  # events in all
    resumes: int = 0
    replacements: int = 0

    def take(self, number: str, result: dict[str, Any]) -> None:
        self.seen += 1
        kind, value = unpacked(result)
        if kind == "task":
            if not self.task_id:
                self.task_id = value["id"]
                self.state = state_of(value["status"])
        else:
            if number == self.cursor:  # not a new event: what replaces the old ones
                self.replacements += 1
            else:
                self.updates.append(int(number))
            if kind == "status":
                self.state = state_of(value["status"])
            else:
                self._artifact(value)
        self.cursor = number

    def _artifact(self, value: dict[str, Any]) -> None:
        artifact = value["artifact"]
        name = artifact["artifactId"]
        if value.get("append"):
            self.parts[name] = self.parts[name] + artifact["parts"]
        else:
            self.names[name], self.parts[name] = artifact.get("name", ""), artifact["parts"]

    @property
    def once(self) -> bool:
        return self.updates == sorted(set(self.updates))

    @property
    def said(self) -> list[tuple[str, str, list[str]]]:
        """Every artifact: its name, its text, its data without ids; in a fixed order."""
        found = []
        for name, parts in self.parts.items():
            text = "".join(part.get("text", "") for part in parts)
            data = [dict(part["data"]) for part in parts if "data" in part]
            plain = [json.dumps({**one, "call_id": ""}, sort_keys=True) for one in data]
            found.append((self.names[name], text, plain))
        return sorted(found)


class CutError(Exception):
    """The connection is gone, whoever cut it."""


@attrs.frozen(kw_only=True)
class Talk:
    """How to reach the server."""

    url: str
    token: str
    version: Version

    def read(self, client: Client, until: Callable[[], bool]) -> None:
        """Read the task's stream, from where the client is, until that holds or it ends. Raises `CutError`."""
        headers = {"authorization": f"Bearer {self.token}", "a2a-version": self.version}
        if client.task_id:
            body = request_body(self.version, task_id=client.task_id)
            headers["last-event-id"] = client.cursor
            client.resumes += 1
        else:
            body = request_body(self.version, text="ALL")
        try:
            with (
                httpx.Client(timeout=_DEADLINE) as http,
                http.stream("POST", self.url, json=body, headers=headers) as response,
            ):
                if response.status_code != 200:
                    raise CutError(f"status {response.status_code}")
                number = ""
                for line in response.iter_lines():
                    if line.startswith("id: "):
                        number = line[4:]
                    elif line.startswith("data: "):
                        client.take(number, json.loads(line[6:])["result"])
                        if until():
                            return
        except httpx.TransportError as error:
            raise CutError(type(error).__name__) from None


# --- one run ----------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Outcome:
    """One runtime and line: what was done to it and what came of it."""

    runtime: str
    version: str
    cuts: int
    kills: int
    resumes: int
    replacements: int
    updates: int
    state: str
    whole: bool
    once: bool
    seconds: float

    @property
    def good(self) -> bool:
        return self.whole and self.once and self.state == "completed" and (self.cuts, self.kills) == (CUTS, KILLS)


def measure(upstream: str, runtime: str, version: Version) -> Outcome:
    """A turn left alone, then one with every interruption."""
    token = secrets.token_urlsafe(16)
    with tempfile.TemporaryDirectory(prefix="a2a-resume-") as directory:
        start = partial(agent, upstream, runtime, token, directory)
        server = start()
        server.__enter__()
        try:
            talk = Talk(url=server.url, token=token, version=version)
            alone, client = Client(), Client()
            talk.read(alone, lambda: False)
            began = time.monotonic()
            cuts = kills = 0
            for at, killed in _interruptions(len(alone.updates)):
                _read_until(talk, client, at)
                if client.state in _ENDS:
                    break
                if killed:
                    os.kill(server.pid, signal.SIGKILL)
                    server.__exit__(None, None, None)
                    server = start(port=int(talk.url.rpartition(":")[2]))
                    server.__enter__()
                kills, cuts = kills + killed, cuts + (not killed)
            _read_until(talk, client, None)
            return Outcome(
                runtime=runtime,
                version=version,
                cuts=cuts,
                kills=kills,
                resumes=client.resumes,
                replacements=client.replacements,
                updates=len(client.updates),
                state=client.state,
                whole=client.said == alone.said,
                once=client.once,
                seconds=time.monotonic() - began,
            )
        finally:
            server.__exit__(None, None, None)


def _interruptions(events: int) -> Iterator[tuple[int, bool]]:
    """After how many events each comes, and whether it is the server that is killed; all in the turn's midst."""
    total = CUTS + KILLS
    kill_at = {total // 3, 2 * total // 3}
    for index in range(total):
        yield max(1, events * (index + 1) // (total * 2)), index in kill_at


def _read_until(talk: Talk, client: Client, seen: int | None) -> None:
    """Read on, resuming as often as it takes, until so many events were told (None: to the end)."""
    deadline = time.monotonic() + _DEADLINE
    wanted = None if seen is None else max(seen, client.seen + 2)
    while client.state not in _ENDS and (wanted is None or client.seen < wanted):
        if time.monotonic() > deadline:
            return
        try:
            talk.read(client, lambda: wanted is not None and client.seen >= wanted)
        except CutError:
            time.sleep(0.05)


def _table(outcomes: list[Outcome]) -> str:
    head = (
        "runtime",
        "version",
        "cuts",
        "kills",
        "resumes",
        "told anew",
        "events",
        "state",
        "same text",
        "each once",
        "s",
    )
    rows = [
        (
            *(one.runtime, one.version, one.cuts, one.kills, one.resumes, one.replacements, one.updates, one.state),
            *("yes" if one.whole else "NO", "yes" if one.once else "NO", f"{one.seconds:.1f}"),
        )
        for one in outcomes
    ]
    lines = [head, tuple("-" * len(name) for name in head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


@contextmanager
def _upstream() -> Iterator[str]:
    with fake_opencode() as server:
        yield server.url


def main() -> int:
    """Exit code 0: every client ended with the whole answer, each event once; 1: not; 2: it could not run."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.resume", description=__doc__)
    parser.add_argument("--runtime", choices=RUNTIMES, action="append", help="default: both")
    parser.add_argument("--times", type=int, default=1, help="how often for each runtime and line (1)")
    parser.add_argument("--be-the-standin", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.be_the_standin:
        serve_standin()
        return 0
    try:
        with _upstream() as upstream:
            outcomes = [
                measure(upstream, runtime, version)
                for runtime in options.runtime or RUNTIMES
                for version in VERSIONS
                for _ in range(options.times)
            ]
    except processes.StartError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 2
    print(_table(outcomes))
    return 0 if all(one.good for one in outcomes) else 1


if __name__ == "__main__":
    raise SystemExit(main())
