"""A proxy on loopback between the agent and OpenCode, which fails as its plan says.

It reads as much of HTTP as it needs to fail at a chosen point: where a request ends, and where its answer does. An
end that leaves takes what is under way with it, so nothing reaches OpenCode from an agent that is dead.
"""

from __future__ import annotations

import socket
import struct
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Self

import anyio
from anyio.abc import SocketAttribute, SocketStream, TaskGroup
from attrs import define, field

from tests.faults import plan as faults
from tests.faults.plan import Plan, StreamFault
from tests.listening import LoopbackListener

_HEAD_END = b"\r\n\r\n"
BROKEN = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError)
_RESET = struct.pack("ii", 1, 0)
_BIND_TRIES = 200
_SLOW_SECONDS = 0.5


class _CutError(Exception):
    """This connection ends here, on both sides."""


@define(eq=False)
class _End:
    """One side of a connection: bytes that are read ahead stay here until they are asked for."""

    stream: SocketStream
    ahead: bytes = b""

    async def head(self) -> bytes:
        """A message's head, with the empty line that ends it."""
        while _HEAD_END not in self.ahead:
            self.ahead += await self.stream.receive()
        head, _, self.ahead = self.ahead.partition(_HEAD_END)
        return head + _HEAD_END

    async def body(self, size: int) -> bytes:
        while len(self.ahead) < size:
            self.ahead += await self.stream.receive()
        body, self.ahead = self.ahead[:size], self.ahead[size:]
        return body

    async def some(self) -> bytes:
        if self.ahead:
            data, self.ahead = self.ahead, b""
            return data
        return await self.stream.receive()


@define(eq=False)
class Forwarder(ABC):
    """Takes what comes to `port` and is for `target`, both ports on loopback. It can be ended, and begin again."""

    target: int
    port: int = 0
    _tasks: TaskGroup | None = None
    _life: anyio.CancelScope = field(factory=anyio.CancelScope)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[Self]:
        """Listen until the context is left."""
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            await tasks.start(self._serve)
            try:
                yield self
            finally:
                self._tasks = None
                tasks.cancel_scope.cancel()

    async def kill(self) -> None:
        """End at once: nobody listens, and every connection is reset."""
        self._life.cancel()

    async def revive(self) -> None:
        """Listen again, on the same port; not once the context is left."""
        if self._tasks is not None:
            await self._tasks.start(self._serve)

    async def _serve(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        self._life = anyio.CancelScope()
        listener = await listen(self.port)
        self.port = listener.port
        async with listener:
            with self._life:
                task_status.started()
                await listener.serve(self._connection)

    @abstractmethod
    async def _connection(self, stream: SocketStream) -> None:
        """Carry one connection, to its end."""


@define(eq=False)
class Proxy(Forwarder):
    """Passes on what comes, with the plan's faults."""

    plan: Plan = field(kw_only=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def _connection(self, stream: SocketStream) -> None:
        agent = _End(stream)
        try:
            async with await anyio.connect_tcp("127.0.0.1", self.target) as upstream:
                opencode = _End(upstream)
                while True:
                    await self._exchange(agent, opencode)
        except* (_CutError, *BROKEN):
            pass
        finally:
            reset(stream)
            await anyio.aclose_forcefully(stream)

    async def _exchange(self, agent: _End, opencode: _End) -> None:
        head = await agent.head()
        request = head + await agent.body(_length(head))
        if b" /global/event" in head.partition(b"\r\n")[0]:
            await self._events(request, agent, opencode)
            raise _CutError
        fault = self.plan.on_call()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_cut_when_gone, agent, tasks.cancel_scope)
            done = False
            try:
                await self._call(request, fault, agent, opencode)
                done = True
            finally:
                tasks.cancel_scope.cancel()
        if not done:
            raise _CutError

    async def _call(self, request: bytes, fault: str | None, agent: _End, opencode: _End) -> None:
        if fault == faults.CUT_BEFORE:
            raise _CutError
        if fault == faults.CUT_WITHIN:
            await opencode.stream.send(request[: self.plan.pick(len(request))])
            raise _CutError
        if fault == faults.REFUSED:
            await agent.stream.send(_refusal(self.plan.status()))
            return
        if fault == faults.STALLED and self.plan.pick(2):
            await anyio.sleep_forever()
        await opencode.stream.send(request)
        head = await opencode.head()
        answer = head + await opencode.body(_length(head))
        if fault == faults.STALLED:
            await agent.stream.send(answer[: self.plan.pick(len(answer))])
            await anyio.sleep_forever()
        elif fault == faults.CUT_AFTER:
            raise _CutError
        elif fault == faults.TRUNCATED:
            await agent.stream.send(answer[: self.plan.pick(len(answer))])
            raise _CutError
        elif fault == faults.LOST_5XX:
            await agent.stream.send(_refusal(self.plan.status()))
        elif fault == faults.SLOW:
            await _byte_by_byte(answer, agent)
        else:
            await agent.stream.send(answer)

    async def _events(self, request: bytes, agent: _End, opencode: _End) -> None:
        fault = self.plan.on_stream()
        if fault is not None and fault.kind == faults.BUS_REFUSED:
            self.plan.strikes(fault.kind)
            await agent.stream.send(_refusal(self.plan.status()))
            return
        await opencode.stream.send(request)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_cut_when_gone, agent, tasks.cancel_scope)
            await self._relay(fault, agent, opencode)

    async def _relay(self, fault: StreamFault | None, agent: _End, opencode: _End) -> None:
        passed = 0
        while True:
            data = await opencode.some()
            if fault is not None and passed + len(data) >= fault.after and not self.plan.healed:
                here = max(0, fault.after - passed)
                await agent.stream.send(data[:here])
                await self._strike(fault, agent, opencode)
                data, fault = data[here:], None
            passed += len(data)
            if data:
                await agent.stream.send(data)

    async def _strike(self, fault: StreamFault, agent: _End, opencode: _End) -> None:
        self.plan.strikes(fault.kind)
        if fault.kind == faults.BUS_CUT:
            raise _CutError
        if fault.kind == faults.BUS_STALLED:
            await anyio.sleep(fault.seconds)
            if self.plan.pick(2):
                raise _CutError
        else:
            ends = anyio.current_time() + fault.seconds
            while anyio.current_time() < ends:
                await _byte_by_byte(await opencode.some(), agent)


async def _byte_by_byte(data: bytes, to: _End) -> None:
    """For a while; what is left then goes out at once, as the agent's patience with an answer has an end."""
    sent = 0
    ends = anyio.current_time() + _SLOW_SECONDS
    while sent < len(data) and anyio.current_time() < ends:
        await to.stream.send(data[sent : sent + 1])
        sent += 1
        await anyio.sleep(0.001)
    await to.stream.send(data[sent:])


async def _cut_when_gone(end: _End, scope: anyio.CancelScope) -> None:
    """The agent sends nothing while it waits, so what can be read is its end."""
    try:
        while True:
            end.ahead += await end.stream.receive()
    except BROKEN:
        scope.cancel()


def _length(head: bytes) -> int:
    """A body's length; OpenCode's answers and the agent's requests all say it, or have none."""
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def _refusal(status: int) -> bytes:
    body = b"the proxy refuses"
    return b"HTTP/1.1 %d Failed\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body)


def reset(stream: SocketStream) -> None:
    """Let the other side see a connection that broke, not one that was ended."""
    with suppress(OSError):
        stream.extra(SocketAttribute.raw_socket).setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


async def listen(port: int) -> LoopbackListener:
    """Listen on a port, which may be somebody's for a moment."""
    for _ in range(_BIND_TRIES):
        try:
            return LoopbackListener(port)
        except OSError:
            await anyio.sleep(0.02)
    raise OSError(f"port {port} cannot be had")
