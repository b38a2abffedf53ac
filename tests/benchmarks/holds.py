"""How long a server lets others wait for its event loop: run it with `python -m tests.benchmarks.holds`.

Nothing is asserted. A server whose loop is timed answers large and hostile requests, one after the other, over each
binding, and is started on stores that hold much. The table gives bytes in and out, and by `loop_probe` the longest
step and the longest lag of each: other programs on the machine do not count.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import orjson
from attrs import frozen

from opencode_a2a.server.store import EventRow, TaskRow, open_store
from sansio.a2a.model import Artifact, DataPart, Message, Role, Task, TaskState, TaskStatus, TextPart
from sansio.a2a.tasks.task_log import ArtifactChunk, MessageAdded, StatusChanged, TaskLog
from sansio.a2a.tasks.task_log_codec import encode_events, encode_task
from tests.benchmarks.large_upstream import SESSION
from tests.benchmarks.loop_probe import REPORT, STACKS
from tests.benchmarks.processes import Server, clean_environment, credentials, python
from tests.benchmarks.wire import http2_frame, websocket_frame

RUNTIMES = ("asyncio", "trio")
TOKEN, PRINCIPAL = "of-the-holder", "holder"
MANY = 499_000  # elements that fit into the largest request there is
LARGE = "task-0000"
UNFINISHED = 5_000
GATHERED = 128
OLD = 10_000
HTTP, GRPC, WEBSOCKET = "HTTP", "gRPC", "WebSocket"


# --- outside of it ----------------------------------------------------------------------------------------


@frozen(kw_only=True)
class Scenario:
    """One request. `body`: of gRPC, the message; of WebSocket, JSON-RPC. `path`: of gRPC, the method."""

    name: str
    body: bytes
    method: str = "POST"
    path: str = "/"
    binding: str = HTTP


@frozen(kw_only=True)
class LongestStep:
    """What came of a case: bytes and milliseconds. `calls`: in long steps, the most frequent first."""

    name: str
    sent: int
    received: int
    step: float
    lag: float
    collection: float
    calls: Sequence[tuple[str, int]] = ()


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
    yield from _of_opencode()
    yield from _of_other_bindings(large)


def _of_opencode() -> Iterator[Scenario]:
    yield Scenario(name="7 MB of providers", body=_rpc("opencode.providers.list", {}))
    yield Scenario(name="7 MB of models", body=_rpc("opencode.models.list", {}))
    yield Scenario(name="100 large sessions", body=_rpc("opencode.sessions.list", {"limit": 100}))
    messages = {"session_id": SESSION.decode(), "limit": 100}
    yield Scenario(name="8 MB of a session's messages", body=_rpc("opencode.sessions.messages.list", messages))


def _of_other_bindings(large: str) -> Iterator[Scenario]:
    text = "x, y [z] " * 110_000
    message = {"messageId": f"m-{time.monotonic_ns()}", "role": "ROLE_USER", "parts": [{"text": text}]}
    body = orjson.dumps({"message": message, "configuration": {"returnImmediately": True}})
    yield Scenario(name="REST: text of 1 MB", body=body, path="/message:send")
    yield Scenario(
        name="REST: a list of 100", body=b"", method="GET", path="/tasks?pageSize=100&includeArtifacts=true"
    )
    yield Scenario(name="REST: a task of 4 MB", body=b"", method="GET", path=f"/tasks/{large}")
    web = partial(Scenario, binding=WEBSOCKET)
    yield web(name="WebSocket: text of 1 MB", body=_send(parts=[{"text": text}]))
    yield web(name="WebSocket: a list of 100", body=_rpc("ListTasks", {"pageSize": 100, "includeArtifacts": True}))
    yield web(name="WebSocket: a task of 4 MB", body=_rpc("GetTask", {"id": large}))
    rpc = partial(_grpc, prefix="lf.a2a.v1")
    said = {"message_id": f"g-{time.monotonic_ns()}", "role": "ROLE_USER"}
    now = {"return_immediately": True}
    yield rpc("text of 1 MB", "SendMessage", message={**said, "parts": [{"text": text}]}, configuration=now)
    many = [{"text": "word " * 100}] * 1000
    yield rpc("1,000 parts", "SendMessage", message={**said, "parts": many}, configuration=now)
    yield rpc("1 MB of empty parts", "SendMessage", message={**said, "parts": [{}] * MANY})
    yield rpc("a list of 100", "ListTasks", page_size=100, include_artifacts=True)
    yield rpc("a list of 100, no artifacts", "ListTasks", page_size=100)
    yield rpc("a task of 4 MB", "GetTask", id=large)
    yield rpc("a stream from event 1", "SubscribeToTask", id=large)
    yield rpc("extended card", "GetExtendedAgentCard")


def _grpc(name: str, method: str, prefix: str, **fields: Any) -> Scenario:
    from sansio.a2a.protobuf.messages import message

    made = message(f"{prefix}.{method}Request")(**fields).SerializeToString()
    return Scenario(name=f"gRPC: {name}", body=made, path=f"/{prefix}.A2AService/{method}", binding=GRPC)


def _ask(url: str, scenario: Scenario) -> int:
    """Send a request on a connection of its own, read the answer to its end; return the bytes that came."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=60) as connection:
        ask = {HTTP: _ask_http, GRPC: _ask_grpc, WEBSOCKET: _ask_websocket}[scenario.binding]
        return ask(connection, parts.netloc, scenario)


def _ask_http(connection: socket.socket, host: str, scenario: Scenario) -> int:
    old = scenario.name.startswith("0.3")
    head = (
        f"{scenario.method} {scenario.path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {TOKEN}\r\n"
        f"a2a-version: {'0.3' if old else '1.0'}\r\ncontent-type: application/json\r\nconnection: close\r\n"
        f"content-length: {len(scenario.body)}\r\n"
    )
    if "stream" in scenario.name:
        head += "last-event-id: 1\r\n"
    connection.sendall(f"{head}\r\n".encode() + scenario.body)
    received = 0
    while data := connection.recv(1 << 18):
        received += len(data)
    return received


def _ask_grpc(connection: socket.socket, host: str, scenario: Scenario) -> int:
    """By hand, with windows for answers of any size; the message is sent as the server makes room for it."""
    import hpack

    window = 2**31 - 1
    fields = [(":method", "POST"), (":scheme", "http"), (":path", scenario.path), (":authority", host)]
    fields += [("te", "trailers"), ("content-type", "application/grpc"), ("authorization", f"Bearer {TOKEN}")]
    if "stream" in scenario.name:
        fields.append(("last-event-id", "1"))
    opening = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + http2_frame(4, 0, 0, b"\x00\x04" + window.to_bytes(4, "big"))
    opening += http2_frame(8, 0, 0, (window - 65535).to_bytes(4, "big"))
    connection.sendall(opening + http2_frame(1, 4, 1, hpack.Encoder().encode(fields)))
    body = b"\x00" + len(scenario.body).to_bytes(4, "big") + scenario.body
    rooms = {0: 65535, 1: 65535}
    buffer, received, sent = bytearray(), 0, 0
    while True:
        while sent < len(body) and (size := min(16384, *rooms.values(), len(body) - sent)):
            sent += size
            connection.sendall(http2_frame(0, sent == len(body), 1, body[sent - size : sent]))
            rooms = {stream: room - size for stream, room in rooms.items()}
        data = connection.recv(1 << 18)
        if not data:
            return received
        received += len(data)
        buffer += data
        while len(buffer) >= 9 and len(buffer) >= 9 + (length := int.from_bytes(buffer[:3], "big")):
            kind, flags, stream = buffer[3], buffer[4], int.from_bytes(buffer[5:9], "big")
            payload = bytes(buffer[9 : 9 + length])
            del buffer[: 9 + length]
            if kind == 8:
                rooms[stream] += int.from_bytes(payload, "big")
            elif kind == 4 and not flags:
                connection.sendall(http2_frame(4, 1, 0, b""))
                for at in range(0, length, 6):
                    if payload[at : at + 2] == b"\x00\x04":
                        rooms[1] += int.from_bytes(payload[at + 2 : at + 6], "big") - 65535
            elif kind in (3, 7) or (flags & 1 and kind in (0, 1)):
                return received


def _ask_websocket(connection: socket.socket, host: str, scenario: Scenario) -> int:
    head = (
        f"GET /websocket HTTP/1.1\r\nhost: {host}\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
        "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        f"sec-websocket-protocol: a2a.v1\r\na2a-version: 1.0\r\nauthorization: Bearer {TOKEN}\r\n\r\n"
    )
    connection.sendall(head.encode())
    buffer, received = bytearray(connection.recv(1 << 18)), 0
    assert buffer.startswith(b"HTTP/1.1 101"), bytes(buffer[:200])
    del buffer[: buffer.index(b"\r\n\r\n") + 4]
    body = scenario.body
    if len(body) < 65536:
        connection.sendall(websocket_frame(body))
    else:
        connection.sendall(b"\x81\xff" + len(body).to_bytes(8, "big") + bytes(4) + body)
    while True:
        while len(buffer) >= 2:
            length, begin = buffer[1], 2
            if length > 125:
                begin = 4 if length == 126 else 10
                length = int.from_bytes(buffer[2:begin], "big")
            if len(buffer) < begin + length:
                break
            is_last = buffer[0] & 0x80
            del buffer[: begin + length]
            if is_last:
                return received
        data = connection.recv(1 << 18)
        if not data:
            return received
        received += len(data)
        buffer += data


def _longest(pid: int, file: Path) -> dict[str, Any]:
    file.unlink(missing_ok=True)
    os.kill(pid, signal.SIGUSR1)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        text = file.read_bytes() if file.exists() else b""
        if text.endswith(b"\n"):
            found: dict[str, Any] = orjson.loads(text)
            return found
        time.sleep(0.005)
    raise TimeoutError("the server does not say how long it was held")


def task_of(number: int, size: int, pieces: int, *, ends: bool = True) -> TaskLog:
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
    state = TaskState.COMPLETED if ends else TaskState.WORKING
    log.append(StatusChanged(status=TaskStatus(state=state, timestamp="2026-01-01T00:00:01.000Z")))
    return log


def _rows(log: TaskLog, *, ago: float = 0.0, **more: Any) -> list[TaskRow | EventRow]:
    """Make a task and its events as the store has them. `ago`: seconds since it changed."""
    task: Task = log.task()
    moment = int((time.time() - ago) * 1000)
    row: dict[str, Any] = {
        "task_id": task.id,
        "context_id": task.context_id,
        "principal": PRINCIPAL,
        "message_id": "m",
        "state": task.status.state.value,
        "finished": task.status.state.terminal,
        "created_at": moment,
        "updated_at": moment,
        "session_id": None,
        "prompt_id": None,
        "last_seq": log.last,
        "snapshot": encode_task(task),
        "options": b"{}",
    }
    body = encode_events([*log.events])
    return [TaskRow(**(row | more)), EventRow(task_id=task.id, first_seq=1, last_seq=log.last, body=body)]


async def _fill(url: str, sizes: list[tuple[int, int]]) -> None:
    """Put finished tasks into a store: the size of each, and in how many pieces."""
    async with open_store(url) as store:
        for number, (size, pieces) in enumerate(sizes):
            await store.commit(_rows(task_of(number, size, pieces)))


async def _fill_unfinished(url: str) -> None:
    """Put tasks into a store at which a server was at work when it was killed."""
    async with open_store(url) as store:
        for number in range(UNFINISHED):
            log = task_of(number, 2000, 20, ends=False)
            await store.commit(_rows(log, session_id=f"ses_left_{number}", prompt_id=f"msg_{number}"))


async def _fill_old(url: str) -> None:
    """Put tasks into a store that are to be removed, and the events of all of which are to be pruned."""
    async with open_store(url) as store:
        for number in range(OLD):
            await store.commit(_rows(task_of(number, 200, 2), ago=1000.0))


async def _fill_push(url: str) -> None:
    """Put a large task into a store that is to be cancelled."""
    async with open_store(url) as store:
        log = task_of(0, 4_000_000, 2000, ends=False)
        await store.commit(_rows(log, session_id="ses_left_0", prompt_id="msg_0"))


class _Server:
    """A server whose loop is timed, before an OpenCode with large answers. Stops with `stack`."""

    def __init__(self, stack: ExitStack, runtime: str, *upstream_options: str, **settings: str) -> None:
        self.directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="opencode-a2a-holds-"))
        self.store = f"sqlite:///{self.directory}/tasks.db"
        self._stack, self._runtime = stack, runtime
        self._upstream_options, self._settings = upstream_options, settings

    def start(self, *, stacks: bool) -> None:
        report = self._report = Path(self.directory) / "held"
        settings = {
            "A2A_STATIC_AUTH_CREDENTIALS": credentials(TOKEN, PRINCIPAL),
            "A2A_TASK_STORE_DATABASE_URL": self.store,
            "A2A_PUSH_ALLOW_PRIVATE_HOSTS": "true",
            "A2A_BINDINGS": "JSONRPC,HTTP+JSON,GRPC,WEBSOCKET",
            REPORT: str(report),
            **({STACKS: "1"} if stacks else {}),
            **self._settings,
        }
        upstream_command = python("tests.benchmarks.large_upstream", *self._upstream_options)
        upstream = self._stack.enter_context(Server(upstream_command, clean_environment({})))
        command = python("tests.benchmarks.loop_probe", self._runtime, "serve", "--runtime", self._runtime)
        command += ["--host", "127.0.0.1", "--port", "0", "--opencode", upstream.url]
        environment = clean_environment(settings)
        server = Server(command, environment, directory=self.directory, patience=300.0)
        self._agent = self._stack.enter_context(server)
        time.sleep(0.5)  # the step that listens has not ended yet

    def ask(self, scenario: Scenario) -> int:
        return _ask(self._agent.url, scenario)

    def forget(self) -> None:
        """Count nothing that was before."""
        _longest(self._agent.pid, self._report)

    def noted(self, name: str, scenarios_of_it: Callable[[], tuple[int, int]], *, fresh: bool = True) -> LongestStep:
        """Do something, and return what was longest meanwhile. `fresh`: what was before does not count."""
        if fresh:
            self.forget()
        sent, received = scenarios_of_it()
        time.sleep(0.2)  # what a request leaves behind counts as well
        found = _longest(self._agent.pid, self._report)
        kinds = ("step", "lag", "collection", "calls")
        return LongestStep(name=name, sent=sent, received=received, **{kind: found[kind] for kind in kinds})


def _requests(runtime: str, chosen: str, stacks: bool) -> Iterator[LongestStep]:
    """All requests whose names contain a text, on a fresh server."""
    wanted = [one for one in scenarios(LARGE) if chosen in one.name]
    if not wanted:
        return
    with ExitStack() as stack:
        server = _Server(stack, runtime)
        anyio.run(_fill, server.store, [(4_000_000, 2000)] + [(200_000, 200)] * 100)
        server.start(stacks=stacks)
        server.ask(Scenario(name="first", body=_rpc("GetTask", {"id": "task-0001"})))
        for one in wanted:
            yield server.noted(one.name, lambda one=one: (len(one.body), server.ask(one)))  # type: ignore[misc]


def _recovery(runtime: str, stacks: bool) -> Iterator[LongestStep]:
    with ExitStack() as stack:
        server = _Server(stack, runtime, "--left", str(UNFINISHED))
        anyio.run(_fill_unfinished, server.store)
        server.start(stacks=stacks)
        yield server.noted(
            f"start with {UNFINISHED:,} unfinished tasks, until it listens", lambda: (0, 0), fresh=False
        )
        yield server.noted("their recovery: 10 seconds", lambda: _waited(10.0))
        yield server.noted("their watch: 20 seconds", lambda: _waited(20.0))


def _waited(seconds: float) -> tuple[int, int]:
    time.sleep(seconds)
    return 0, 0


def _pruning(runtime: str, stacks: bool) -> Iterator[LongestStep]:
    with ExitStack() as stack:
        kept = {"A2A_TASK_EVENT_RETENTION_SECONDS": "60", "A2A_TASK_RETENTION_SECONDS": "60"}
        server = _Server(stack, runtime, **kept)
        anyio.run(_fill_old, server.store)
        server.start(stacks=stacks)
        yield server.noted(f"pruning and removal of {OLD:,} tasks", lambda: _waited(10.0))


def _bus(runtime: str, stacks: bool) -> Iterator[LongestStep]:
    with ExitStack() as stack:
        server = _Server(stack, runtime, "--gather", str(GATHERED))
        server.start(stacks=stacks)

        def asked() -> tuple[int, int]:
            for _ in range(GATHERED):
                server.ask(Scenario(name="send", body=_send()))
            server.forget()  # the sends are not the case
            return _waited(5.0)

        yield server.noted(f"events of {GATHERED} turns at once", asked)


def _push(runtime: str, stacks: bool) -> Iterator[LongestStep]:
    """Notify of the end of a large task: version 0.3 sends the whole task, again and again."""
    with ExitStack() as stack:
        receiver, received = stack.enter_context(_receiver())
        server = _Server(stack, runtime, "--left", "1")
        anyio.run(_fill_push, server.store)
        server.start(stacks=stacks)
        config = {"taskId": LARGE, "pushNotificationConfig": {"url": receiver}}
        set_config = _rpc("tasks/pushNotificationConfig/set", config)

        def ended() -> tuple[int, int]:
            server.ask(Scenario(name="0.3", body=set_config))
            server.ask(Scenario(name="0.3", body=_rpc("tasks/cancel", {"id": LARGE})))
            return 0, _waited(3.0)[0] + sum(received)

        yield server.noted("a push of a task of 4 MB", ended)


@contextmanager
def _receiver() -> Iterator[tuple[str, list[int]]]:
    """Answer each request by 204; gives the URL, and the bytes of each piece that came."""
    received: list[int] = []

    def answer(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while True:
                head = b""
                while b"\r\n\r\n" not in head:
                    piece = connection.recv(65536)
                    if not piece:
                        return
                    head += piece
                head, _, body = head.partition(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
                left = length - len(body)
                while left > 0:
                    left -= len(connection.recv(1 << 18))
                received.append(length)
                connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/", received


OTHERS = {"recovery": _recovery, "pruning": _pruning, "bus": _bus, "push": _push}


def measure(runtime: str, chosen: str, stacks: bool) -> Iterator[LongestStep]:
    """The requests, and then the others, whose names contain a text."""
    yield from _requests(runtime, chosen, stacks)
    for name, case in OTHERS.items():
        if chosen in name:
            yield from case(runtime, stacks)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.holds", description=__doc__)
    parser.add_argument("--runtime", action="append", choices=RUNTIMES, help="may come twice (default: both)")
    parser.add_argument(
        "--only", default="", metavar="TEXT", help=f"requests whose names contain it, or one of {', '.join(OTHERS)}"
    )
    parser.add_argument("--stacks", action="store_true", help="also print the calls in which long steps were")
    options = parser.parse_args()
    print("| runtime | case | bytes in | bytes out | longest step, ms of CPU | lag, ms | collection, ms |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for runtime in options.runtime or RUNTIMES:
        for one in measure(runtime, options.only, options.stacks):
            cells = (
                runtime,
                one.name,
                one.sent,
                one.received,
                f"{one.step:.1f}",
                f"{one.lag:.1f}",
                f"{one.collection:.1f}",
            )
            print(f"| {' | '.join(map(str, cells))} |", flush=True)
            for call, times in one.calls:
                print(f"    {times} {call}", file=sys.stderr)


if __name__ == "__main__":
    main()
