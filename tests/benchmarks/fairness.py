"""Whether everybody gets a turn: run it with `python -m tests.benchmarks.fairness`.

Streams that are begun at once, on connections that are open already (warm) and on new ones (cold): the slowest 1 %
should not wait much longer than half of them. Then a few clients stream while one connection of HTTP/2 floods the
server with quick requests over gRPC: they should get much the same share as without. Prints, and asserts nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any, Final
from urllib.parse import urlsplit

import hpack
from attrs import define, field, frozen

from tests.benchmarks import processes
from tests.benchmarks.load import TOKEN_VARIABLE
from tests.benchmarks.report import Ratio
from tests.benchmarks.wire import http2_frame

RUNTIMES: Final = ("asyncio", "trio")
MOST: Final = 2.2  # the target: p99 of streams that begin at once, to p50
_AT_ONCE: Final = 100  # requests of the flood that wait for their answers
_WINDOW: Final = 2**31 - 1
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_ACK = _END_STREAM = 0x1
_END_HEADERS: Final = 0x4
_HEAD: Final = 9  # bytes of a frame's head


@frozen
class Target:
    """A server that is up."""

    server: processes.Server
    token: str


@contextmanager
def serving(runtime: str) -> Iterator[Target]:
    """Start the server on a runtime, before an upstream that streams 20 tokens."""
    token = secrets.token_urlsafe(16)
    upstream = processes.python("tests.benchmarks.upstream", "--port", "0", "--tokens", "20", "--delay-ms", "30")
    with (
        tempfile.TemporaryDirectory(prefix="a2a-benchmark-") as directory,
        processes.Server(upstream, processes.clean_environment({})) as opencode,
    ):
        command = processes.python("opencode_a2a", "serve", "--runtime", runtime, "--host", "127.0.0.1")
        command += ["--port", "0", "--opencode", opencode.url]
        settings = {
            "A2A_STATIC_AUTH_CREDENTIALS": processes.credentials(token),
            "A2A_TASK_STORE_DATABASE_URL": f"sqlite:///{directory}/tasks.db",
            "OPENCODE_MAX_CONCURRENT_REQUESTS": "0",
            "OPENCODE_MAX_CONCURRENT_STREAMS": "0",
            "A2A_BINDINGS": "HTTP+JSON,JSONRPC,GRPC,WEBSOCKET",
        }
        with processes.Server(command, processes.clean_environment(settings), directory=directory) as server:
            yield Target(server, token)


def _command(target: Target, *arguments: str) -> tuple[list[str], dict[str, str]]:
    command = processes.python(
        "tests.benchmarks.load", target.server.url, "--pid", str(target.server.pid), *arguments
    )
    return command, processes.clean_environment({TOKEN_VARIABLE: target.token})


def load(target: Target, *arguments: str) -> dict[str, Any]:
    """Load a server with streams over SSE."""
    command, environment = _command(target, *arguments)
    done = subprocess.run(command, env=environment, cwd=processes.ROOT, stdout=subprocess.PIPE, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def begun_at_once(runtime: str, streams: int, rounds: int) -> Iterator[str]:
    """Yield a row for streams on open connections and on new ones, and the ratios."""
    kinds: dict[str, list[str]] = {"warm": [], "cold": ["--cold"]}
    found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in kinds}
    number = str(streams)
    with serving(runtime) as target:
        load(target, "--clients", "16", "--requests", "64")
        for _ in range(rounds):
            for kind, arguments in kinds.items():
                found[kind].append(load(target, "--clients", number, "--requests", number, *arguments))
    for kind, results in found.items():
        name = f"{runtime}, {streams} {kind} streams"
        ratios = [one["p99"] / one["p50"] for one in results]
        p50, p99, slowest = (median(one[member] for one in results) for member in ("p50", "p99", "seconds"))
        others = median(one["others_percent"] for one in results)
        failed = sum(sum(one["failures"].values()) for one in results)
        yield f"{name}: p50 {p50:.0f} ms, p99 {p99:.0f} ms, all {slowest:.1f} s, {failed} failed"
        yield f"  other processes took {others:.0f} % of the cores"
        yield str(Ratio(name=f"{name}, p99 to p50", value=median(ratios), target=MOST, at_least=False))
        yield f"  of the rounds: {', '.join(f'{one:.2f}' for one in sorted(ratios))}"


@define(eq=False)
class Flood(asyncio.Protocol):
    """One connection that asks for a task that there is not, again and again, as often as the server lets it."""

    host: str
    token: str
    answers: int = 0
    ended: str | None = None
    _transport: asyncio.Transport = field(init=False)
    _encoder: hpack.Encoder = field(factory=hpack.Encoder)
    _buffer: bytearray = field(factory=bytearray)
    _stream: int = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        settings = (4).to_bytes(2, "big") + _WINDOW.to_bytes(4, "big")
        window = http2_frame(_WINDOW_UPDATE, 0, 0, (_WINDOW - 65535).to_bytes(4, "big"))
        transport.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + http2_frame(_SETTINGS, 0, 0, settings) + window)
        transport.write(b"".join(self._request() for _ in range(_AT_ONCE)))

    def _request(self) -> bytes:
        from sansio.a2a.protobuf.messages import message

        self._stream += 2
        fields = [(":method", "POST"), (":scheme", "http"), (":path", "/lf.a2a.v1.A2AService/GetTask")]
        fields += [(":authority", self.host), ("te", "trailers"), ("content-type", "application/grpc")]
        fields += [("authorization", f"Bearer {self.token}")]
        body = message("lf.a2a.v1.GetTaskRequest")(id="none").SerializeToString()
        head = http2_frame(_HEADERS, _END_HEADERS, self._stream, self._encoder.encode(fields))
        return head + http2_frame(_DATA, _END_STREAM, self._stream, len(body).to_bytes(5, "big") + body)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        at, more = 0, bytearray()
        while len(buffer) >= at + _HEAD:
            end = at + _HEAD + int.from_bytes(buffer[at : at + 3], "big")
            if end > len(buffer):
                break
            kind, flags, payload = buffer[at + 3], buffer[at + 4], bytes(buffer[at + _HEAD : end])
            at = end
            if kind in (_SETTINGS, _PING) and not flags & _ACK:
                more += http2_frame(kind, _ACK, 0, payload if kind == _PING else b"")
            elif kind == _RST_STREAM or (kind in (_HEADERS, _DATA) and flags & _END_STREAM):
                self.answers += 1
                more += self._request()
            elif kind == _GOAWAY:
                self.ended = f"the server ended the flood with {int.from_bytes(payload[4:8], 'big')}"
        del buffer[:at]
        if more:
            self._transport.write(bytes(more))

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = self.ended or "the connection of the flood was lost"

    def close(self) -> str | None:
        """End it. Returns why it had ended before, if it had."""
        ended, self.ended = self.ended, "it was closed"
        self._transport.abort()
        return ended


async def _flooded(
    target: Target, arguments: list[str], flooding: bool
) -> tuple[dict[str, Any], tuple[int, str | None] | None]:
    """Return the load's result, the answers of the flood, and why that ended before, if it did."""
    address = urlsplit(target.server.url)
    flood: Flood | None = None
    if flooding:
        flood = Flood(address.netloc, target.token)
        host, port = address.hostname or "", address.port or 0
        await asyncio.get_running_loop().create_connection(lambda: flood, host, port)
        await asyncio.sleep(0.2)
    command, environment = _command(target, *arguments)
    asked = await asyncio.create_subprocess_exec(
        *command, env=environment, cwd=processes.ROOT, stdout=asyncio.subprocess.PIPE
    )
    answer, _ = await asked.communicate()
    return json.loads(answer), None if flood is None else (flood.answers, flood.close())


def beside_a_flood(runtime: str, clients: int, seconds: float, rounds: int) -> Iterator[str]:
    """Yield what others get without and with a flood on one connection of HTTP/2."""
    arguments = ["--clients", str(clients), "--seconds", str(seconds), "--cold"]
    with serving(runtime) as target:
        load(target, "--clients", "16", "--requests", "64")
        calm: list[dict[str, Any]] = []
        flooded: list[dict[str, Any]] = []
        floods: list[int] = []
        notes: set[str] = set()
        for _ in range(rounds):
            for flooding, into in ((False, calm), (True, flooded)):
                result, flood = asyncio.run(_flooded(target, arguments, flooding))
                into.append(result)
                if flood is not None:
                    floods.append(flood[0])
                    notes.update(() if flood[1] is None else (flood[1],))
    name = f"{runtime}, {clients} clients"
    for kind, results in (("alone", calm), ("beside a flood", flooded)):
        answers, p99 = median(one["requests"] for one in results), median(one["p99"] or 0.0 for one in results)
        yield f"{name} {kind}: {answers:.0f} streams in {seconds:g} s, p99 {p99:.0f} ms"
    yield f"  answers of the flood: {median(floods):.0f}{''.join(f'; {note}' for note in notes)}"
    shares = [one["requests"] / other["requests"] for one, other in zip(flooded, calm, strict=True)]
    yield str(
        Ratio(name=f"{name}, streams beside a flood to alone", value=median(shares), target=None, at_least=True)
    )


def main() -> int:
    """Print rows and ratios for each runtime."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.fairness", description=__doc__)
    parser.add_argument("--runtime", action="append", choices=RUNTIMES, help="may come twice (default: both)")
    parser.add_argument("--only", choices=("streams", "flood"), help="measure this alone")
    parser.add_argument("--streams", type=int, default=1000, help="begun at once (1000)")
    parser.add_argument("--clients", type=int, default=8, help="beside the flood (8)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of the flood (3)")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    for runtime in options.runtime or RUNTIMES:
        if options.only != "flood":
            for line in begun_at_once(runtime, options.streams, options.rounds):
                print(line, flush=True)
        if options.only != "streams":
            for line in beside_a_flood(runtime, options.clients, options.seconds, options.rounds):
                print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
