"""How long one step of the server holds its event loop: run it with `python -m tests.benchmarks.holds`.

Nothing is asserted. A server whose steps are timed answers large and hostile requests, one after the other. The table
gives bytes in and out, and the longest step of each: processor time of the loop's thread, so that other programs on
the machine do not count.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import orjson
from attrs import define, frozen

import runtime_asyncio
from opencode_a2a.server.store import EventRow, TaskRow, open_store
from sansio.a2a.model import Artifact, DataPart, Message, Role, Task, TaskState, TaskStatus, TextPart
from sansio.a2a.tasks.task_log import ArtifactChunk, MessageAdded, StatusChanged, TaskLog
from sansio.a2a.tasks.task_log_codec import encode_events, encode_task
from tests.benchmarks.processes import Server, clean_environment, credentials, python

RUNTIMES = ("asyncio", "trio")
TOKEN, PRINCIPAL = "of-the-holder", "holder"
_REPORT = "A2A_BENCHMARK_HOLD_FILE"
MANY = 499_000  # elements that fit into the largest request there is


# --- in the server's process ------------------------------------------------------------------------------


@define
class _Longest:
    """The longest step since it was reset: seconds of the processor, and on the clock."""

    cpu: float = 0.0
    wall: float = 0.0
    _began: tuple[float, float] = (0.0, 0.0)

    def begin(self) -> None:
        self._began = (time.thread_time(), time.perf_counter())

    def end(self) -> None:
        cpu, wall = self._began
        self.cpu = max(self.cpu, time.thread_time() - cpu)
        self.wall = max(self.wall, time.perf_counter() - wall)


def _serve(runtime: str, arguments: list[str]) -> None:
    """Run the command line with the steps of its loop timed; SIGUSR1 writes the longest one down, and resets it."""
    longest = _Longest()

    def report(*_: object) -> None:
        Path(os.environ[_REPORT]).write_text(f"{longest.cpu} {longest.wall}\n")
        longest.cpu = longest.wall = 0.0

    signal.signal(signal.SIGUSR1, report)
    if runtime == "trio":
        _time_trio(longest)
    else:
        _time_asyncio(longest)
    from opencode_a2a.cli.main import main

    sys.argv = ["opencode-a2a", *arguments]
    main()


def _time_asyncio(longest: _Longest) -> None:
    run = asyncio.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        longest.begin()
        run(handle)
        longest.end()

    setattr(asyncio.Handle, "_run", timed)  # noqa: B010 - there is no public way to time each step
    # the loop of the standard library: uvloop's steps cannot be timed
    setattr(runtime_asyncio, "loop_factory", lambda: None)  # noqa: B010


def _time_trio(longest: _Longest) -> None:
    import trio

    class Timing(trio.abc.Instrument):
        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            longest.begin()

        def after_task_step(self, task: trio.lowlevel.Task) -> None:
            longest.end()

    run = trio.run
    trio.run = lambda *given, **more: run(*given, instruments=[Timing()], **more)


# --- outside of it ----------------------------------------------------------------------------------------


@frozen(kw_only=True)
class Scenario:
    """One request: `stream` ends with the connection."""

    name: str
    body: bytes
    method: str = "POST"
    path: str = "/"


@frozen(kw_only=True)
class LongestStep:
    """What came of a scenario: bytes and milliseconds."""

    name: str
    sent: int
    received: int
    cpu: float
    wall: float


def _rpc(method: str, params: Any, request_id: Any = 1) -> bytes:
    return orjson.dumps({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params})


def _send(**message: Any) -> bytes:
    more = {"messageId": f"m-{time.monotonic_ns()}", "role": "ROLE_USER", "parts": [{"text": "hi"}], **message}
    return _rpc("SendMessage", {"message": more, "configuration": {"returnImmediately": True}})


def scenarios(large: str) -> Iterator[Scenario]:
    """All of them; `large`: the id of a large task."""
    for name in ("parts", "extensions", "referenceTaskIds"):
        yield Scenario(name=f"1 MB of wrong {name}", body=_send(**{name: [5] * MANY}))
    yield Scenario(name="1 MB of empty parts", body=_send(parts=[{}] * (MANY * 2 // 3)))
    yield Scenario(name="0.3: 1 MB of wrong parts", body=_rpc("message/send", {"message": {"parts": [5] * MANY}}))
    yield Scenario(name="1 MB of names in metadata", body=_send(metadata={f"{i:08d}": 0 for i in range(80_000)}))
    yield Scenario(name="1 MB of nested lists", body=b"[" * 1_000_000)
    yield Scenario(
        name="method: 1 MB of names", body=_rpc("opencode.sessions.list", {f"{i}": 0 for i in range(90_000)})
    )
    yield Scenario(name="method of 1 MB", body=_rpc("m" * 1_000_000, {}))
    yield Scenario(name="task id of 1 MB", body=_rpc("GetTask", {"id": "t" * 1_000_000}))
    yield Scenario(name="JSON-RPC id of 1 MB", body=_rpc("GetTask", {"id": "t"}, "i" * 1_000_000))
    yield Scenario(name="text of 1 MB", body=_send(parts=[{"text": "x, y [z] " * 110_000}]))
    yield Scenario(name="file of 700 kB", body=_send(parts=[{"raw": "QUJD" * 240_000, "mediaType": "image/png"}]))
    yield Scenario(name="1,000 parts", body=_send(parts=[{"text": "word " * 100}] * 1000))
    config = {"taskId": large, "url": "http://127.0.0.1:9/" + "x" * 4000, "token": "t" * 8000}
    yield Scenario(name="push configuration", body=_rpc("CreateTaskPushNotificationConfig", config))
    yield Scenario(name="a task of 4 MB", body=_rpc("GetTask", {"id": large}))
    yield Scenario(name="0.3: a task of 4 MB", body=_rpc("tasks/get", {"id": large}))
    for size in (25, 100):
        yield Scenario(name=f"a list of {size}", body=_rpc("ListTasks", {"pageSize": size, "includeArtifacts": True}))
    yield Scenario(name="a list of 100, no artifacts", body=_rpc("ListTasks", {"pageSize": 100}))
    yield Scenario(name="0.3: a list of 25", body=_rpc("tasks/list", {"pageSize": 25, "includeArtifacts": True}))
    yield Scenario(name="a stream from event 1", body=_rpc("SubscribeToTask", {"id": large}))
    yield Scenario(name="extended card", body=_rpc("GetExtendedAgentCard", {}))
    yield Scenario(name="openapi", body=b"", method="GET", path="/openapi.json")
    yield Scenario(name="card", body=b"", method="GET", path="/.well-known/agent-card.json")


def _ask(url: str, scenario: Scenario) -> int:
    """Send a request on a connection of its own, read to the end; returns the bytes that came."""
    parts = urlsplit(url)
    old = scenario.name.startswith("0.3")
    head = (
        f"{scenario.method} {scenario.path} HTTP/1.1\r\nhost: {parts.netloc}\r\nauthorization: Bearer {TOKEN}\r\n"
        f"a2a-version: {'0.3' if old else '1.0'}\r\ncontent-type: application/json\r\nconnection: close\r\n"
        f"content-length: {len(scenario.body)}\r\n"
    )
    if "stream" in scenario.name:
        head += "last-event-id: 1\r\n"
    received = 0
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=60) as connection:
        connection.sendall(f"{head}\r\n".encode() + scenario.body)
        while data := connection.recv(1 << 18):
            received += len(data)
    return received


def _longest(pid: int, file: Path) -> tuple[float, float]:
    file.unlink(missing_ok=True)
    os.kill(pid, signal.SIGUSR1)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        text = file.read_text() if file.exists() else ""
        if text.endswith("\n"):
            cpu, wall = text.split()
            return float(cpu) * 1000, float(wall) * 1000
        time.sleep(0.005)
    raise TimeoutError("the server does not say how long it was held")


def task_of(number: int, size: int, pieces: int) -> TaskLog:
    """The log of a task whose answer is `size` characters in `pieces` chunks, with a tool call for each ten."""
    log = TaskLog(f"task-{number:04d}", f"context-{number:04d}")
    ask = Message(message_id="m", role=Role.USER, parts=(TextPart(text="go"),), task_id=log.task_id)
    log.append(StatusChanged(status=TaskStatus(state=TaskState.SUBMITTED, timestamp="2026-01-01T00:00:00.000Z")))
    log.append(MessageAdded(ask))
    text = "word " * (size // pieces // 5)
    for piece in range(pieces):
        artifact = Artifact(artifact_id="a", name="response", parts=(TextPart(text=text),))
        log.append(ArtifactChunk(artifact=artifact, append=piece > 0, joins=piece % 10 > 0))
        if piece % 10 == 0:
            data = {"tool": "bash", "status": "completed", "output": "line\n" * 200, "call_id": f"{piece}"}
            log.append(
                ArtifactChunk(
                    artifact=Artifact(artifact_id=f"tool-{piece}", parts=(DataPart(data=data),)), last_chunk=True
                )
            )
    log.append(StatusChanged(status=TaskStatus(state=TaskState.COMPLETED, timestamp="2026-01-01T00:00:01.000Z")))
    return log


async def _fill(url: str, sizes: list[tuple[int, int]]) -> None:
    """Put finished tasks into a store: the size of each, and in how many pieces."""
    async with open_store(url) as store:
        for number, (size, pieces) in enumerate(sizes):
            log = task_of(number, size, pieces)
            task: Task = log.task()
            row = TaskRow(
                task_id=task.id,
                context_id=task.context_id,
                principal=PRINCIPAL,
                message_id="m",
                state="completed",
                finished=True,
                created_at=int(time.time() * 1000),
                updated_at=int(time.time() * 1000),
                session_id=None,
                prompt_id=None,
                last_seq=log.last,
                snapshot=encode_task(task),
                options=b"{}",
            )
            events = EventRow(task_id=task.id, first_seq=1, last_seq=log.last, body=encode_events([*log.events]))
            await store.commit([row, events])


def measure(runtime: str, chosen: str) -> list[LongestStep]:
    """All scenarios whose names contain a text, on a fresh server."""
    found: list[LongestStep] = []
    with tempfile.TemporaryDirectory(prefix="opencode-a2a-holds-") as directory:
        store = f"sqlite:///{directory}/tasks.db"
        anyio.run(_fill, store, [(4_000_000, 2000)] + [(200_000, 200)] * 100)
        report = Path(directory) / "held"
        settings = {
            "A2A_STATIC_AUTH_CREDENTIALS": credentials(TOKEN, PRINCIPAL),
            "A2A_TASK_STORE_DATABASE_URL": store,
            "A2A_PUSH_ALLOW_PRIVATE_HOSTS": "true",
            _REPORT: str(report),
        }
        with Server(python("tests.benchmarks.upstream"), clean_environment({})) as upstream:
            command = python("tests.benchmarks.holds", "--serve", runtime, "serve", "--runtime", runtime)
            command += ["--host", "127.0.0.1", "--port", "0", "--opencode", upstream.url]
            with Server(command, clean_environment(settings), directory=directory) as agent:
                _ask(agent.url, Scenario(name="first", body=_rpc("GetTask", {"id": "task-0001"})))
                for scenario in scenarios("task-0000"):
                    if chosen in scenario.name:
                        _longest(agent.pid, report)
                        received = _ask(agent.url, scenario)
                        time.sleep(0.2)  # what the request leaves behind counts as well
                        cpu, wall = _longest(agent.pid, report)
                        found.append(
                            LongestStep(
                                name=scenario.name, sent=len(scenario.body), received=received, cpu=cpu, wall=wall
                            )
                        )
    return found


def table(rows: list[tuple[str, LongestStep]]) -> str:
    """One row a scenario and runtime."""
    lines = ["| runtime | request | bytes in | bytes out | longest step, ms of CPU | ms on the clock |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    for runtime, one in rows:
        lines.append(f"| {runtime} | {one.name} | {one.sent} | {one.received} | {one.cpu:.1f} | {one.wall:.1f} |")
    return "\n".join(lines)


def main() -> None:
    if sys.argv[1:2] == ["--serve"]:
        _serve(sys.argv[2], sys.argv[3:])
        return
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.holds", description=__doc__)
    parser.add_argument("--runtime", action="append", choices=RUNTIMES, help="may come twice (default: both)")
    parser.add_argument("--only", default="", metavar="TEXT", help="scenarios whose names contain it")
    options = parser.parse_args()
    print(
        table([(runtime, one) for runtime in options.runtime or RUNTIMES for one in measure(runtime, options.only)])
    )


if __name__ == "__main__":
    main()
