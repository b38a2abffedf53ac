"""A listening socket that several servers accept from, on both runtimes: who takes the next connection."""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Callable, Iterator
from functools import partial

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
from hypercorn.asyncio.worker_context import WorkerContext

import runtime_asyncio
import runtime_trio
from runtime_http import Listener, Server, SharedListener
from sansio.transport.sharing import ABSENT, AcceptShare
from tests.runtimes.apps import hello

both = pytest.mark.parametrize("runtime", [runtime_asyncio, runtime_trio])
DEADLINE = 20.0


@pytest.fixture(name="bound")
def bound_socket() -> Iterator[socket.socket]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound


def descriptor(bound: socket.socket) -> str:
    """Name the socket for a server, which closes its copy in the end."""
    return f"fd://{bound.dup().detach()}"


def connections_of(runtime: object, bound: socket.socket, counts: list[int], number: int) -> list[int]:
    """Serve with as many servers as there are counts that begin at 0; return the counts with connections open."""

    async def main() -> list[int]:
        stop = anyio.Event()
        ready: list[str] = []
        async with anyio.create_task_group() as tasks:
            with anyio.fail_after(DEADLINE):
                for place in [place for place, count in enumerate(counts) if count == 0]:
                    serve = partial(
                        runtime.serve,  # type: ignore[attr-defined]
                        hello,
                        descriptor(bound),
                        stop=stop.wait,
                        ready=ready.extend,
                        grace=1,
                        share=AcceptShare(counts, place),
                    )
                    tasks.start_soon(serve)
                before = sum(counts)
                await until(lambda: len(ready) == counts.count(0))
                clients = await anyio.to_thread.run_sync(connected, bound.getsockname(), number)
                await until(lambda: sum(counts) == before + number)
                found = list(counts)
                for client in clients:
                    client.close()
                stop.set()
        return found

    result: list[int] = runtime.run(main)  # type: ignore[attr-defined]
    return result


async def until(happened: Callable[[], bool]) -> None:
    while not happened():
        await anyio.lowlevel.checkpoint()


def connected(address: tuple[str, int], number: int) -> list[socket.socket]:
    """Open connections, each with an answer."""
    clients = [socket.create_connection(address, DEADLINE) for _ in range(number)]
    for client in clients:
        client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 200")
    return clients


@both
def test_servers_of_one_socket_take_about_as_many(runtime: object, bound: socket.socket) -> None:
    counts = [0, 0]
    first, second = connections_of(runtime, bound, counts, 20)

    assert abs(first - second) <= 4
    assert counts == [ABSENT, ABSENT]


@both
def test_nothing_is_left_for_one_that_hangs(runtime: object, bound: socket.socket) -> None:
    hanging = 1  # of its connections; it takes no other
    counts = [0, hanging]

    assert connections_of(runtime, bound, counts, 8) == [8, hanging]


class Exhausted:
    """A socket of a process without file descriptors, or one whose client has left."""

    def __init__(self, code: int) -> None:
        self._code = code

    def accept(self) -> None:
        raise OSError(self._code, "no")


@pytest.mark.parametrize(("code", "pause"), [(errno.EMFILE, 1.0), (errno.ECONNABORTED, 0.0), (errno.EAGAIN, 0.0)])
def test_it_waits_where_nothing_can_be_accepted(caplog: pytest.LogCaptureFixture, code: int, pause: float) -> None:
    listener = SharedListener(Exhausted(code), AcceptShare([0], 0))  # type: ignore[arg-type]
    with caplog.at_level(logging.ERROR):
        assert listener.take() is None

    assert listener.pause() == pause
    assert bool(caplog.records) == bool(pause)


def test_connections_that_come_at_once_all_wait_to_be_accepted() -> None:
    wanted = 300  # the kernel drops those beyond the backlog, and their clients come back seconds later
    server = Server(hello, WorkerContext(None), bind="127.0.0.1:0", grace=1, limits=None)
    [listening] = server.listen()
    clients, taken = [], []
    try:
        clients = [socket.create_connection(listening.getsockname(), DEADLINE) for _ in range(wanted)]
        listener = Listener(listening)
        while (connection := listener.take()) is not None:
            taken.append(connection)
        assert len(taken) == wanted
        assert listener.pause() == 0.0
    finally:
        for one in (*clients, *taken, listening):
            one.close()
