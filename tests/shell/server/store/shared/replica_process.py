"""A store in a process of its own that does as it is asked, a line for each: `ReplicaProcess` starts and asks it."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import orjson
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream
from sqlalchemy import Engine, event

from opencode_a2a.server.store import SharedOptions, Store, StoreError, open_store
from tests.shell.server.store.shared.cases import LEASE, WAIT, ids
from tests.shell.store_cases import event_row, task_row


def say(**values: Any) -> None:
    print(orjson.dumps(values).decode(), flush=True)


def stop_here() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(0.1)  # another thread may get the signal, a moment later


def stop_in_next_transaction() -> None:
    """The writer stops this process once all is written, and nothing is committed."""

    stopped = False

    def stop(_connection: object) -> None:
        nonlocal stopped
        if threading.current_thread().name == "store writer" and not stopped:
            stopped = True
            stop_here()

    event.listen(Engine, "commit", stop)


def stop_after_next(start: str) -> None:
    """The process stops once a statement that begins so has been executed, and before anything follows it."""
    stopped = False

    def stop(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        nonlocal stopped
        if statement.startswith(start) and not stopped:
            stopped = True
            stop_here()

    event.listen(Engine, "after_cursor_execute", stop)


async def obey(store: Store, words: list[str]) -> Any:
    match words:
        case ["commit", task_id, number]:
            await store.commit([task_row(task_id, last_seq=int(number)), event_row(int(number), task_id=task_id)])
        case ["commit and stop", task_id, number]:
            stop_in_next_transaction()
            await store.commit([task_row(task_id, last_seq=int(number)), event_row(int(number), task_id=task_id)])
        case ["stop after", start]:
            stop_after_next(start)
        case ["adopt"]:
            return ids(await store.ownership.adopt(100))
        case ["hang", seconds]:
            time.sleep(float(seconds))  # noqa: ASYNC251 - the event loop is to hang
        case ["fenced"]:
            with anyio.fail_after(WAIT):
                await store.ownership.fenced()
        case ["rejoin"]:
            await store.ownership.rejoin()
    return store.ownership.replica_id


async def serve(url: str, lease: float) -> None:
    async with open_store(url, shared=True, options=SharedOptions(lease=lease)) as store:
        say(result=store.ownership.replica_id)
        async for line in anyio.wrap_file(sys.stdin):
            try:
                say(result=await obey(store, line.strip().split(",")))
            except StoreError as error:
                say(error=type(error).__name__)


class ReplicaProcess:
    """A process with a store. `replica_id`: as it began."""

    def __init__(self, process: Process) -> None:
        assert process.stdout is not None
        self._process = process
        self._said = BufferedByteReceiveStream(process.stdout)
        self.replica_id = ""

    async def answer(self) -> Any:
        """The result of what was asked, or the name of its error."""
        with anyio.fail_after(WAIT):
            found = orjson.loads(await self._said.receive_until(b"\n", 65_536))
        return found.get("error", found.get("result"))

    async def send(self, *words: object) -> None:
        assert self._process.stdin is not None
        await self._process.stdin.send(",".join(map(str, words)).encode() + b"\n")

    async def ask(self, *words: object) -> Any:
        await self.send(*words)
        return await self.answer()

    async def close(self, patience: float) -> None:
        """Let the process end, and wait for that."""
        with anyio.fail_after(patience):
            await self._process.aclose()

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)


@asynccontextmanager
async def replica(
    url: str, *, backend: str, lease: float = LEASE, clock: float = 0.0
) -> AsyncIterator[ReplicaProcess]:
    """A process with a store. `clock`: by how many seconds its wall clock is wrong."""
    command = [sys.executable, "-m", __name__, url, backend, str(lease), str(clock)]
    process = await anyio.open_process(command, stderr=None)
    try:
        started = ReplicaProcess(process)
        started.replica_id = await started.answer()
        yield started
    finally:
        with suppress(ProcessLookupError):  # it was killed before
            process.kill()
        with anyio.CancelScope(shield=True):
            await process.aclose()


def main() -> None:
    _, url, backend, lease, clock = sys.argv
    if wrong := float(clock):
        right = time.time
        time.time = lambda: right() + wrong
    anyio.run(serve, url, float(lease), backend=backend)


if __name__ == "__main__":
    main()
