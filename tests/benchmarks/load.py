"""The load generator: N clients in a closed loop, every answer checked; its result as JSON on stdout.

It must not know what it measures beyond a URL and, for CPU and memory, a process id.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import secrets
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import attrs

from tests.benchmarks import processes, turns
from tests.benchmarks.wire import BINDINGS, MESSAGE_ID, MODES, VERSIONS, Binding, Wire

TOKEN_VARIABLE = "A2A_BENCHMARK_TOKEN"

_ARTIFACT_MARKS = (b"artifact-update", b"artifactUpdate")
_LONGEST_MARK = max(map(len, _ARTIFACT_MARKS))
_LAST_CHUNK = b"\r\n0\r\n\r\n"
_SWEEP_SECONDS = 0.25
_RECONNECT_PAUSE = 0.05


@attrs.frozen(kw_only=True)
class Plan:
    """What to ask, of whom, how often. Ends after `requests` if given, else after `seconds`.

    `cold`: each client's first request counts, and opens its connection. `spread`: seconds over which the clients
    begin, evenly; 0: all at once, and turns of one length keep them so.
    """

    host: str
    port: int
    wire: Wire
    opening: bytes
    header_blocks: tuple[bytes, bytes]
    request: bytes
    expected: str
    tokens: int
    clients: int
    seconds: float
    requests: int | None
    timeout: float
    pid: int | None
    companions: tuple[int, ...]
    cold: bool
    spread: float


@attrs.frozen(kw_only=True)
class Result:
    """What one run measured. Times in ms; CPU is per request; failures are left out of every other number."""

    requests: int
    failures: dict[str, int]
    seconds: float
    per_second: float
    p50: float | None
    p99: float | None
    first_artifact_p50: float | None
    first_artifact_p99: float | None
    events: int
    tokens_per_second: float
    cpu_ms: float | None
    rss_mb: float | None
    reconnects: int
    load_cpu_ms: float | None
    others_percent: float | None


@attrs.define
class Tally:
    """What a phase of the run has seen so far; times in seconds."""

    latencies: list[float] = attrs.field(factory=list)
    first_artifacts: list[float] = attrs.field(factory=list)
    failures: Counter[str] = attrs.field(factory=Counter)
    last: float = 0.0
    events: int = 0
    reconnects: int = 0


@attrs.frozen(kw_only=True)
class Spent:
    """The fields of a result that the operating system knows."""

    cpu_ms: float | None
    rss_mb: float | None
    load_cpu_ms: float | None
    others_percent: float | None


@attrs.frozen(kw_only=True)
class Meter:
    """CPU and memory from the start of the measured phase: the server's, this process's, everybody else's."""

    server: processes.Usage | None
    own: processes.Usage
    companions: tuple[processes.Usage, ...]
    machine: processes.Machine

    @classmethod
    def start(cls, plan: Plan) -> Meter:
        return cls(
            server=processes.Usage.start(plan.pid) if plan.pid is not None else None,
            own=processes.Usage.start(os.getpid()),
            companions=tuple(map(processes.Usage.start, plan.companions)),
            machine=processes.Machine.start(),
        )

    def read(self, requests: int, seconds: float) -> Spent:
        own = self.own.cpu_seconds()
        if self.server is None:
            server = others = None
        else:
            server = self.server.cpu_seconds()
            known = own + server + sum(companion.cpu_seconds() for companion in self.companions)
            others = self.machine.others_percent(known, seconds)
        return Spent(
            cpu_ms=server * 1000 / requests if server is not None and requests else None,
            rss_mb=self.server.peak_rss_mb() if self.server is not None else None,
            load_cpu_ms=own * 1000 / requests if requests else None,
            others_percent=others,
        )


class Phase:
    """A closed loop of all clients until `more` says no, then until the last answer is in."""

    def __init__(self, more: Callable[[], bool], clients: int) -> None:
        self.tally = Tally()
        self.more = more
        self._left = clients
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def leave(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._ended.set_result(None)

    async def wait(self) -> None:
        await self._ended


class Client(asyncio.Protocol):
    """One client: sends a request, reads its answer to the end, checks it, sends the next.

    A subclass speaks a protocol: it sends a request, and gives the answer's end or the failure.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._phase: Phase | None = None
        self._transport: asyncio.Transport | None = None
        self._started = 0.0
        self._busy = False
        self._connecting: asyncio.Task[None] | None = None
        self._first_artifact: float | None = None

    def join(self, phase: Phase) -> None:
        """Takes part in the phase until it has had enough."""
        self._phase = phase
        self._next()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def expire(self, now: float) -> None:
        """Gives up on an answer that has taken longer than the plan allows."""
        if self._busy and now - self._started > self._plan.timeout:
            self.fail("timed out")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.opened()

    def connection_lost(self, exc: Exception | None) -> None:
        lost_mine = self._transport is not None
        self._transport = None
        if self._busy and lost_mine:
            self.closed()

    def data_received(self, data: bytes) -> None:
        self.take(data)

    def opened(self) -> None:
        """Send what a new connection begins with."""
        self.write(self._plan.opening)

    def clear(self) -> None:
        """Forget the last answer."""
        raise NotImplementedError

    def ask(self, request: bytes) -> None:
        """Send a request."""
        raise NotImplementedError

    def take(self, data: bytes) -> None:
        """Take bytes that came."""
        raise NotImplementedError

    def closed(self) -> None:
        """Take the end of the connection while an answer is awaited."""
        self.fail("connection closed before the answer's end")

    def write(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)

    def artifact_seen(self) -> None:
        """Note when the first artifact came."""
        if self._first_artifact is None:
            self._first_artifact = time.perf_counter()

    def _next(self) -> None:
        assert self._phase is not None
        if not self._phase.more():
            phase, self._phase = self._phase, None
            phase.leave()
            return
        self.clear()
        self._first_artifact = None
        self._busy = True
        self._started = time.perf_counter()
        if self._transport is None or self._transport.is_closing():
            self._connecting = asyncio.get_running_loop().create_task(self._connect())
        else:
            self._ask()

    def _ask(self) -> None:
        identifier = secrets.token_hex(len(MESSAGE_ID) // 2).encode()
        self.ask(self._plan.request.replace(MESSAGE_ID, identifier))

    async def _connect(self) -> None:
        assert self._phase is not None
        self._phase.tally.reconnects += 1
        try:
            await asyncio.get_running_loop().create_connection(lambda: self, self._plan.host, self._plan.port)
        except OSError as error:
            await asyncio.sleep(_RECONNECT_PAUSE)
            self.fail(f"no connection: {type(error).__name__}")
        else:
            if self._busy:
                self._ask()

    def finish(self, body: bytes, failure: str | None = None, *, keep: bool = True) -> None:
        """Count an answer whose end has come. `failure`: why it is none. `keep`: whether the connection goes on."""
        now = time.perf_counter()
        self._busy = False
        if not keep:
            self.drop()
        if failure is not None:
            self._count_failure(failure)
        else:
            self._judge(body, now)
        self._next()

    def _judge(self, body: bytes, now: float) -> None:
        assert self._phase is not None
        tally = self._phase.tally
        verdict = self._plan.wire.check(body, self._plan.expected)
        if verdict.failure:
            self._count_failure(verdict.failure)
            return
        tally.last = now
        tally.latencies.append(now - self._started)
        tally.events += verdict.events
        if self._first_artifact is not None:
            tally.first_artifacts.append(self._first_artifact - self._started)

    def fail(self, reason: str) -> None:
        """Count an answer that does not come, and leave its connection."""
        self._busy = False
        self.drop()
        self._count_failure(reason)
        self._next()

    def _count_failure(self, reason: str) -> None:
        assert self._phase is not None
        self._phase.tally.failures[reason] += 1

    def drop(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()


class Http1Client(Client):
    """A client of JSON-RPC or HTTP+JSON over HTTP/1.1."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self._buffer = bytearray()
        self.clear()

    def clear(self) -> None:
        self._buffer.clear()
        self._body_at = -1
        self._status = 0
        self._length: int | None = None
        self._chunked = False
        self._keep = True
        self._searched = 0

    def opened(self) -> None:
        """Say nothing: a connection begins with its first request."""

    def ask(self, request: bytes) -> None:
        self.write(request)

    def take(self, data: bytes) -> None:
        if not self._busy:
            return
        self._buffer += data
        if self._body_at < 0 and not self._read_head():
            return
        if self._first_artifact is None and self._plan.wire.mode == "stream":
            if any(self._buffer.find(mark, self._searched) >= 0 for mark in _ARTIFACT_MARKS):
                self.artifact_seen()
            self._searched = max(0, len(self._buffer) - _LONGEST_MARK)
        if self._complete():
            self._end()

    def closed(self) -> None:
        if self._body_at >= 0 and self._length is None and not self._chunked:
            self._end()
        else:
            super().closed()

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        lines = bytes(self._buffer[:end]).split(b"\r\n")
        self._status = int(lines[0].split(b" ", 2)[1])
        headers = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines[1:])
        }
        self._chunked = headers.get(b"transfer-encoding", b"").lower() == b"chunked"
        self._length = int(headers[b"content-length"]) if b"content-length" in headers else None
        self._keep = headers.get(b"connection", b"").lower() != b"close"
        self._body_at = self._searched = end + 4
        return True

    def _complete(self) -> bool:
        if self._chunked:
            # The head's own last CRLF counts, so an answer without any chunk is seen to end as well.
            return self._buffer.endswith(_LAST_CHUNK) and len(self._buffer) >= self._body_at + 5
        return self._length is not None and len(self._buffer) >= self._body_at + self._length

    def _end(self) -> None:
        body = bytes(self._buffer[self._body_at :])
        if self._status != 200:
            self.finish(b"", f"HTTP {self._status}", keep=self._keep)
        else:
            self.finish(dechunked(body) if self._chunked else body, keep=self._keep)


def dechunked(body: bytes) -> bytes:
    """The content of a complete chunked body. Raises ValueError if its framing is broken."""
    content: list[bytes] = []
    at = 0
    while True:
        end = body.index(b"\r\n", at)
        size = int(body[at:end].split(b";", 1)[0], 16)
        if size == 0:
            return b"".join(content)
        content.append(body[end + 2 : end + 2 + size])
        at = end + 2 + size + 2


async def run(plan: Plan) -> Result:
    """One request per client to warm up, not measured, unless the plan is a cold one; then the measured phase."""
    kind = _client_kind(plan.wire.binding)
    clients = [kind(plan) for _ in range(plan.clients)]
    sweeper = asyncio.get_running_loop().create_task(_sweep(clients))
    if not plan.cold:
        await _phase(clients, _count(max(plan.clients, 16)))
    meter = Meter.start(plan)
    began = time.perf_counter()
    more = _count(plan.requests) if plan.requests is not None else _until(began + plan.seconds)
    tally = await _phase(clients, more, plan.spread)
    # An answer that never comes is a failure; the wait for it must not thin out the rate of the others.
    seconds = (tally.last or time.perf_counter()) - began
    result = _result(plan, tally, seconds, meter.read(len(tally.latencies), time.perf_counter() - began))
    sweeper.cancel()
    for client in clients:
        client.close()
    return result


def _client_kind(binding: Binding) -> Callable[[Plan], Client]:
    if binding in ("jsonrpc", "rest"):
        return Http1Client
    from tests.benchmarks import multiplexed  # it is built on this module

    return multiplexed.KINDS[binding]


async def _phase(clients: Sequence[Client], more: Callable[[], bool], spread: float = 0.0) -> Tally:
    phase = Phase(more, len(clients))
    loop = asyncio.get_running_loop()
    for number, client in enumerate(clients):
        if spread:
            loop.call_later(number * spread / len(clients), client.join, phase)
        else:
            client.join(phase)
    await phase.wait()
    return phase.tally


async def _sweep(clients: Sequence[Client]) -> None:
    while True:
        await asyncio.sleep(_SWEEP_SECONDS)
        now = time.perf_counter()
        for client in clients:
            client.expire(now)


def _count(requests: int) -> Callable[[], bool]:
    left = iter(range(requests))
    return lambda: next(left, None) is not None


def _until(deadline: float) -> Callable[[], bool]:
    return lambda: time.perf_counter() < deadline


def _result(plan: Plan, tally: Tally, seconds: float, spent: Spent) -> Result:
    done = len(tally.latencies)
    return Result(
        requests=done,
        failures=dict(tally.failures),
        seconds=seconds,
        per_second=done / seconds,
        p50=percentile(tally.latencies, 0.50),
        p99=percentile(tally.latencies, 0.99),
        first_artifact_p50=percentile(tally.first_artifacts, 0.50),
        first_artifact_p99=percentile(tally.first_artifacts, 0.99),
        events=tally.events,
        tokens_per_second=done * plan.tokens / seconds,
        reconnects=tally.reconnects,
        **attrs.asdict(spent),
    )


def percentile(seconds: list[float], share: float) -> float | None:
    """The nearest-rank percentile, in ms; None of nothing."""
    if not seconds:
        return None
    return sorted(seconds)[max(0, math.ceil(share * len(seconds)) - 1)] * 1000


def _plan(options: argparse.Namespace) -> Plan:
    url = urlsplit(options.url)
    wire = Wire(version=options.version, binding=options.binding, mode=options.mode)
    host, port = url.hostname or "127.0.0.1", url.port or 80
    token = os.environ.get(TOKEN_VARIABLE)
    return Plan(
        host=host,
        port=port,
        wire=wire,
        opening=wire.opening(host=f"{host}:{port}", path=url.path, token=token),
        header_blocks=wire.header_blocks(host=f"{host}:{port}", token=token),
        request=wire.request(host=f"{host}:{port}", path=url.path, token=token, text="How fast are you?"),
        expected=turns.answer_text(options.tokens),
        tokens=options.tokens,
        clients=options.clients,
        seconds=options.seconds,
        requests=options.requests,
        timeout=options.timeout,
        pid=options.pid,
        companions=tuple(options.companion),
        cold=options.cold,
        spread=options.spread_ms / 1000,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.load",
        description=f"Load for one A2A server. A bearer token is taken from {TOKEN_VARIABLE}.",
    )
    add = parser.add_argument
    add("url", help="http URL of the JSON-RPC endpoint, or of the root of the REST routes")
    add("--mode", choices=MODES, default="stream")
    add("--version", choices=VERSIONS, default="1.0")
    add("--binding", choices=BINDINGS, default="jsonrpc")
    add("--clients", type=int, default=32)
    add("--seconds", type=float, default=5.0)
    add("--requests", type=int, help="stop after so many instead")
    add("--tokens", type=int, default=20, help="tokens a complete answer has")
    add("--cold", action="store_true", help="measure each client's first request, with its connection, too")
    add("--spread-ms", type=float, default=0.0, help="time over which the clients begin, evenly")
    add("--timeout", type=float, default=60.0, help="seconds after which an answer counts as a failure")
    add("--pid", type=int, help="the server's process, for CPU and memory")
    add(
        "--companion",
        type=int,
        action="append",
        default=[],
        help="a process of the benchmark's own, such as the upstream",
    )
    result: dict[str, Any] = attrs.asdict(asyncio.run(run(_plan(parser.parse_args()))))
    json.dump(result, sys.stdout)
    print()


if __name__ == "__main__":
    main()
