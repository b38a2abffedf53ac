"""Readers who read a byte now and then, or none: their turns go on, nobody waits for them, no memory is spent."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import orjson
import pytest
from attrs import define, field

from opencode_a2a.fake_opencode import Say
from sansio.a2a.bindings.sse import SseDecoder
from sansio.a2a.codecs.registry import CODECS
from sansio.a2a.model import TaskState, TextPart
from sansio.chunked import ChunkedDecoder
from tests.shell.cases import one_codec
from tests.shell.folding import folded, text_of
from tests.shell.harness import REST_03, REST_10, RPC_10, Agent, Caller, Serving, Wire, until

pytestmark = pytest.mark.anyio

_PATIENCE = 60.0  # seconds; many events on a slow machine take long
_TOKENS = 1000
_VERY_LONG = 4000  # more than is kept in memory
_TEXT = "".join(f"w{index} " for index in range(_TOKENS))


@define(eq=False)
class SlowReader:
    """A stream that is read by hand, through as little buffer as the kernel grants."""

    wire: Wire
    raw: socket.socket
    data: bytearray = field(factory=bytearray)
    events: int = 0

    async def some(self, size: int) -> bytes:
        while True:
            try:
                found = self.raw.recv(size)
            except BlockingIOError:
                await anyio.wait_readable(self.raw)
            else:
                self.data += found
                return found

    async def begin(self) -> None:
        """Read to the end of the response's head, and no further."""
        while b"\r\n\r\n" not in self.data:
            await self.some(1)

    async def text(self) -> str:
        """Read all the rest; what it adds up to."""
        while await self.some(65536):
            pass
        head, _, body = bytes(self.data).partition(b"\r\n\r\n")
        assert b"transfer-encoding: chunked" in head.lower()
        events = SseDecoder().feed(ChunkedDecoder().feed(body))
        self.events = len(events)
        json = [orjson.loads(event.data) for event in events]
        form = CODECS[self.wire.version]
        items = [form.parse_item(one["result"] if self.wire.binding == "rpc" else one) for one in json]
        return next(one.text for one in folded(items) if one.name == "response")


@asynccontextmanager
async def slow_reader(
    agent: Agent, caller: Caller, operation: str, params: dict[str, Any]
) -> AsyncGenerator[SlowReader]:
    """Open a stream on a connection of its own, which ends with it."""
    request = caller.request(operation, params, connection="close")
    head = b"".join(b"%b: %b\r\n" % pair for pair in request.headers.raw if pair[0].lower() != b"connection")
    where = urlsplit(agent.url)
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)  # or the server's kernel would keep megabytes
        raw.connect((where.hostname, where.port))
        raw.setblocking(False)
        raw.send(
            b"%b %b HTTP/1.1\r\n%bconnection: close\r\n\r\n%b"
            % (request.method.encode(), request.url.raw_path, head, request.content)
        )
        reader = SlowReader(caller.wire, raw)
        with anyio.fail_after(_PATIENCE):
            await reader.begin()
        yield reader


@asynccontextmanager
async def slow_readers(
    agent: Agent, caller: Caller, operation: str, each: Sequence[dict[str, Any]]
) -> AsyncGenerator[list[SlowReader]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(slow_reader(agent, caller, operation, params)) for params in each]


async def all_ended(agent: Agent) -> None:
    """Until no turn is running any more."""
    with anyio.fail_after(_PATIENCE):
        while agent.running.tasks.active_tasks:  # noqa: ASYNC110 - there is no event to wait for
            await anyio.sleep(0.02)


@one_codec
async def test_a_turn_goes_on_though_its_reader_does_not_read(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        caller = agent.caller(wire)
        prompts = [caller.params(f"LONG {_TOKENS}", {}) for _ in range(2)]
        async with slow_readers(agent, caller, "stream", prompts) as (still, slow):
            await all_ended(agent)
            open_streams = agent.running.tasks.open_streams
            other = await agent.caller(wire).stream("hi")
            for _ in range(200):
                await slow.some(1)
            with anyio.fail_after(_PATIENCE):
                texts = [await slow.text(), await still.text()]

    assert open_streams == 2  # so much was left to be read when the turns had ended
    assert other.state == "completed"
    assert texts == [_TEXT, _TEXT]


@pytest.mark.parametrize("wire", [RPC_10, REST_03], ids=str)
async def test_a_reader_who_is_too_far_behind_gets_what_replaces_all_it_has(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        caller = agent.caller(wire)
        async with slow_readers(agent, caller, "stream", [caller.params(f"LONG {_VERY_LONG}", {})]) as (slow,):
            await until(lambda: agent.running.tasks.active_tasks)
            [active] = agent.running.tasks.active_tasks.values()
            await all_ended(agent)
            events = len(list(active.log.events))
            with anyio.fail_after(_PATIENCE):
                text = await slow.text()

    assert text == "".join(f"w{index} " for index in range(_VERY_LONG))
    assert events < active.log.last  # the oldest were let go of, though there was somebody who had not read them
    assert slow.events < active.log.last


async def test_a_running_stream_is_resumed_from_events_that_only_the_store_has(serving: Serving) -> None:
    async with serving() as agent:
        caller = agent.caller(RPC_10)
        agent.fake_opencode.hold(Say, tokens=_VERY_LONG - 5)
        task = await caller.send(f"LONG {_VERY_LONG}", configuration=RPC_10.at_once())
        await agent.fake_opencode.held()
        active = agent.running.tasks.active_tasks[task.id]
        await until(lambda: active.visible > _VERY_LONG - 10)
        await until(lambda: not active.log.reaches(20))
        await until(lambda: active.saved == active.log.last)  # a gap before what is in memory is filled by the store
        async with caller.subscribed(task.id, after=20) as stream:
            await stream.more()
            agent.fake_opencode.release()
            with anyio.fail_after(_PATIENCE):
                await stream.whole()
        again = await caller.get(task.id)

    numbers = [event.number for event in stream.events]
    assert numbers[0] == 20
    assert len(set(numbers)) == len(numbers) > _VERY_LONG - 100
    assert max(later - before for before, later in pairwise(numbers)) < 5
    added = [part for chunk in stream.chunks if chunk.append for part in chunk.artifact.parts]
    said = text_of(stream.task) + "".join(part.text for part in added if isinstance(part, TextPart))
    assert said == text_of(again) == "".join(f"w{index} " for index in range(_VERY_LONG))


async def test_a_reader_who_reads_is_not_held_back_by_those_who_do_not(serving: Serving) -> None:
    async with serving() as agent:
        caller = agent.caller(RPC_10)
        agent.fake_opencode.hold(Say, tokens=1)
        async with caller.open(f"LONG {_TOKENS}") as stream:
            await stream.until(lambda: stream.text)
            subscriptions = [{"id": stream.task.id}] * 10
            async with slow_readers(agent, agent.caller(REST_10), "subscribe", subscriptions):
                agent.fake_opencode.release()
                with anyio.fail_after(_PATIENCE):
                    await stream.whole()
        task = await caller.get(stream.task.id)

    assert task.status.state is TaskState.COMPLETED
    assert stream.text == text_of(task) == _TEXT


async def test_a_slow_reader_who_leaves_is_forgotten(serving: Serving) -> None:
    async with serving() as agent:
        caller = agent.caller(RPC_10)
        async with slow_readers(agent, caller, "stream", [caller.params(f"LONG {_TOKENS}", {})]):
            await all_ended(agent)
            before = agent.running.tasks.open_streams
        await until(lambda: agent.running.tasks.open_streams == 0)

    assert before == 1


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the memory in use is read from Linux's /proc")
async def test_a_hundred_readers_who_do_not_read_cost_no_memory(serving: Serving) -> None:
    """A copy of the stream for each of them would be some forty megabytes."""
    async with serving() as agent:
        caller = agent.caller(RPC_10)
        agent.fake_opencode.hold(Say, tokens=1)
        task = await caller.send(f"LONG {_TOKENS}", configuration=RPC_10.at_once())
        await agent.fake_opencode.held()
        async with slow_readers(agent, caller, "subscribe", [{"id": task.id}] * 100):
            before = resident_mb()
            agent.fake_opencode.release()
            await all_ended(agent)
            open_streams = agent.running.tasks.open_streams
            grown = resident_mb() - before

    assert open_streams == 100
    assert grown < 20


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20
