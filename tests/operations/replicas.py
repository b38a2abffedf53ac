"""`python -m tests.operations.replicas`: one task that three servers serve, as its client sees it.

Its stream begins on server A, which is killed; it goes on from server B, where it was cut, and the permission that
the task then asks for is given through server C. Real processes and a real PostgreSQL, before the scripted OpenCode.
A client that has seen more than A had stored gets from B what replaces it, with id 0 up to the last of it. The exit
code is 1 where ids do not rise, or the text is not OpenCode's.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from time import monotonic
from typing import Any

import attrs
import httpx

from opencode_a2a.fake_opencode import CallTool, FakeOpenCode, Permission, Prompt, Say, Script, words
from opencode_a2a.server.runtimes import find_runtime
from tests.benchmarks import processes
from tests.benchmarks.replicas import Kind, postgresql
from tests.serving_alone import serve_alone

RUNTIMES = ("asyncio", "trio")
NAMES = "ABC"
_TOKENS = 120
_PAUSE = 0.05  # seconds between tokens
_SEEN = 20  # events that the client has from A
_DEADLINE = 60.0


def _script(_: Prompt) -> Script:
    """Some seconds of text, a command that needs a permission, and a last word."""
    text = "".join(f"word-{number} " for number in range(_TOKENS))
    permission = Permission(permission="bash", patterns=("ls",), metadata={"command": "ls"}, always=("ls *",))
    asked = CallTool(tool="bash", input={"command": "ls"}, title="ls", output="file\n", permission=permission)
    return Script(((Say(words(text)), asked), (Say(words("That is all.")),)))


def scripted_opencode() -> processes.Server:
    """OpenCode as a process, to enter."""
    return processes.Server(
        processes.python("tests.operations.replicas", "--be-opencode"), processes.clean_environment({})
    )


def serve_fake() -> None:
    """Be OpenCode, until it is ended."""
    runtime = find_runtime("asyncio")
    fake = FakeOpenCode(pause=_PAUSE, scripts={"COUNT": _script})
    runtime.run(partial(serve_alone, runtime, fake, grace=0.1))


@attrs.define
class Client:
    """One client's view of one task: the last event's number, and the text as it stands."""

    token: str
    print: Callable[[str], None]
    task_id: str = ""
    context_id: str = ""
    last: str = ""
    state: str = ""
    replacing: bool = False
    numbers: list[int] = attrs.field(factory=list)
    texts: dict[str, str] = attrs.field(factory=dict)

    def request(self, method: str, params: dict[str, Any], **headers: str) -> tuple[dict[str, Any], dict[str, str]]:
        """A request's body and headers."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return body, {"authorization": f"Bearer {self.token}", "a2a-version": "1.0", **headers}

    def message(self, text: str) -> dict[str, Any]:
        """The parameters of a message, for the task if there is one."""
        message: dict[str, Any] = {"messageId": os.urandom(8).hex(), "role": "ROLE_USER", "parts": [{"text": text}]}
        if self.task_id:
            message |= {"taskId": self.task_id, "contextId": self.context_id}
        return {"message": message}

    def read(self, url: str, method: str, params: dict[str, Any], **headers: str) -> Iterator[str]:
        """Take the events of a stream; gives after each what there is to print of it."""
        body, given = self.request(method, params, **headers)
        with (
            httpx.Client(timeout=_DEADLINE, trust_env=False) as http,
            http.stream("POST", url, json=body, headers=given) as response,
        ):
            response.raise_for_status()
            number = ""
            for line in response.iter_lines():
                if line.startswith("id:"):
                    number = line[3:].strip()
                elif line.startswith("data:"):
                    yield self.take(number, json.loads(line[5:])["result"])

    def take(self, number: str, result: dict[str, Any]) -> str:
        """Fold one item in."""
        kind, value = next(iter(result.items()))
        if kind == "task":
            if not self.task_id:
                self.task_id, self.context_id = value["id"], value["contextId"]
            self.state = value["status"]["state"]
            self.last = number
            return f"id {number}: the task, {self.state}"
        if number == self.last:  # of what replaces all before
            self.replacing = True
        elif self.replacing:
            self.replacing = False
        else:
            self.numbers.append(int(number))
        self.last = number
        if kind == "statusUpdate":
            self.state = value["status"]["state"]
            return f"id {number}: status {self.state}"
        artifact = value["artifact"]
        text = "".join(part.get("text", "") for part in artifact["parts"])
        before = self.texts.get(artifact["artifactId"], "") if value.get("append") else ""
        self.texts[artifact["artifactId"]] = before + text
        return f"id {number}: {artifact.get('name') or artifact['artifactId']} {text[-40:]!r}"


def _few(client: Client, lines: Iterator[str], until: int | None = None) -> None:
    """Print the first and the last two of a stream's items; stop after `until`."""
    tail: list[str] = []
    for seen, line in enumerate(lines, 1):
        if seen <= 2:
            client.print(f"    {line}")
        else:
            tail.append(line)
        if seen == until:
            break
    if len(tail) > 2:
        client.print(f"    … {len(tail) - 2} more")
    for line in tail[-2:]:
        client.print(f"    {line}")


def transcript(runtime: str, lease: float, upstream: str, url: str) -> list[str]:
    """Run it once; return what is wrong."""
    kind = Kind(store=url, upstream=upstream, runtime=runtime, lease=lease)
    began = monotonic()

    def show(text: str) -> None:
        print(f"{monotonic() - began:6.2f} s  {text}", flush=True)

    with (
        tempfile.TemporaryDirectory(prefix="a2a-replicas-") as folder,
        kind.servers(len(NAMES), folder) as servers,
    ):
        a, b, c = servers
        print(f"--- {runtime}, lease {lease:g} s; A, B and C are processes {a.pid}, {b.pid} and {c.pid}")
        client = Client(kind.token, show)
        show("the client sends COUNT to A, and reads the stream")
        _few(client, client.read(a.url, "SendStreamingMessage", client.message("COUNT")), _SEEN)
        os.kill(a.pid, signal.SIGKILL)
        killed = monotonic()
        show(f"A is killed (SIGKILL); the client resumes from B with Last-Event-ID: {client.last}")
        lines = client.read(b.url, "SubscribeToTask", {"id": client.task_id}, **{"last-event-id": client.last})
        resumed = next(lines)
        show(f"    {resumed}")
        _few(client, lines)
        show(f"that was {monotonic() - killed:.2f} s after A's death; the task asks for a permission: {client.state}")
        show("the client answers through C: once")
        _few(client, client.read(c.url, "SendStreamingMessage", client.message("once")))
        body, headers = client.request("GetTask", {"id": client.task_id})
        with httpx.Client(timeout=_DEADLINE, trust_env=False) as http:
            task = http.post(b.url, json=body, headers=headers).json()["result"]
        show(f"B has the task: {task['status']['state']}, {len(task['artifacts'])} artifacts")
        return _wrong(client, task)


def _wrong(client: Client, task: dict[str, Any]) -> list[str]:
    wrong = []
    if client.state != "TASK_STATE_COMPLETED":
        wrong.append(f"the task ended as {client.state}")
    if any(later <= earlier for earlier, later in pairwise(client.numbers)):
        wrong.append(f"ids do not rise: {client.numbers}")
    said = "".join(f"word-{number} " for number in range(_TOKENS)) + "That is all."
    if said.split() not in [text.split() for text in client.texts.values()]:
        wrong.append(f"the text is not OpenCode's: {client.texts}")
    kept = {one["artifactId"]: "".join(part.get("text", "") for part in one["parts"]) for one in task["artifacts"]}
    if kept != client.texts:
        wrong.append("the task that B has is not what the client was sent")
    client.print(
        f"{len(client.numbers)} events, ids {client.numbers[0]} to {client.numbers[-1]}, in order, none twice"
    )
    return wrong


def main() -> int:
    """Exit code 0: nothing was lost; 1: something was; 2: it could not run."""
    parser = argparse.ArgumentParser(prog="python -m tests.operations.replicas", description=__doc__)
    parser.add_argument("--runtime", choices=RUNTIMES, action="append", help="default: both")
    parser.add_argument("--lease", type=float, default=2.0, help="A2A_REPLICA_LEASE_SECONDS (2)")
    parser.add_argument("--be-opencode", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.be_opencode:
        serve_fake()
        return 0
    wrong: list[str] = []
    try:
        with postgresql() as url, scripted_opencode() as upstream:
            for runtime in options.runtime or RUNTIMES:
                wrong += transcript(runtime, options.lease, upstream.url, url)
    except processes.StartError as error:
        print(error, file=sys.stderr)
        return 2
    for line in wrong:
        print(f"WRONG: {line}")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
