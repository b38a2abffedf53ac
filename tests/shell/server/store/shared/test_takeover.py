"""A process that dies, stops or hangs loses its tasks, and whatever it writes afterwards is not in the database."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.abc import ByteStream, SocketStream

from opencode_a2a.server.store import FencedError, Store, StoreUnavailableError
from tests.listening import listening
from tests.shell.cases import runtime_in_turn
from tests.shell.server.store.shared.cases import LEASE, WAIT, ids, looking, owners, shared, stores, until
from tests.shell.server.store.shared.replica_process import replica
from tests.shell.store_cases import postgresql_url as postgresql_url
from tests.shell.store_cases import task_row

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """A runtime in turn: each test starts processes, and who has a task is decided by the database.

    `tests/shell/server/replicas` has servers that take over from each other on both.
    """
    return runtime_in_turn(request.node.name)


async def adopted(store: Store) -> list[str]:
    """The tasks that the store adopts, once it learns that there are some."""
    with anyio.fail_after(WAIT):
        async for changes in store.ownership.changes():
            if changes.orphans and (found := ids(await store.ownership.adopt(100))):
                return found
    raise AssertionError


def events_in(url: str) -> list[int]:
    with looking(url) as connection:
        found = connection.execute("SELECT first_seq FROM opencode_a2a_task_event ORDER BY first_seq").fetchall()
    return [number for (number,) in found]


async def writes(store: Store, task_id: str, number: int) -> None:
    """Commit as soon as the database is there."""

    async def committed() -> bool:
        try:
            await store.commit([task_row(task_id, last_seq=number)])
        except StoreUnavailableError:
            return False
        return True

    await until(committed)


async def test_a_killed_owner_is_replaced_within_its_lease(postgresql: str, anyio_backend: str) -> None:
    async with shared(postgresql) as survivor, replica(postgresql, backend=anyio_backend) as owner:
        for task_id in ("a", "b"):
            await owner.ask("commit", task_id, 1)
        await anyio.sleep(LEASE)
        began = anyio.current_time()
        owner.signal(signal.SIGKILL)
        found = await adopted(survivor)
        took = anyio.current_time() - began

        assert found == ["a", "b"]
        assert took < LEASE + 12
        assert set(owners(postgresql).values()) == {survivor.ownership.replica_id}


async def test_what_a_stopped_owner_writes_later_is_not_there(postgresql: str, anyio_backend: str) -> None:
    async with shared(postgresql) as survivor, replica(postgresql, backend=anyio_backend) as owner:
        await owner.ask("commit", "task-1", 1)
        owner.signal(signal.SIGSTOP)
        await owner.send("commit", "task-1", 2)
        found = await adopted(survivor)
        await survivor.commit([task_row("task-1", last_seq=9)])
        owner.signal(signal.SIGCONT)
        late = [await owner.answer(), await owner.ask("commit", "task-1", 3), await owner.ask("adopt")]
        await owner.ask("fenced")
        rejoined = await owner.ask("rejoin")
        after = await owner.ask("commit", "new", 4)

        assert found == ["task-1"]
        assert late == ["FencedError"] * 3
        assert rejoined == after != owner.replica_id
        assert events_in(postgresql) == [1, 4]
        assert owners(postgresql) == {"new": rejoined, "task-1": survivor.ownership.replica_id}
        stored = await survivor.task("task-1")
        assert stored is not None
        assert stored.row.last_seq == 9


async def test_an_owner_that_stops_within_a_transaction_is_cut_off(postgresql: str, anyio_backend: str) -> None:
    async with shared(postgresql) as survivor, replica(postgresql, backend=anyio_backend) as owner:
        await owner.ask("commit", "task-1", 1)
        await anyio.sleep(LEASE)
        began = anyio.current_time()
        await owner.send("commit and stop", "task-1", 2)
        found = await adopted(survivor)
        took = anyio.current_time() - began
        owner.signal(signal.SIGCONT)
        late = [await owner.answer(), await owner.ask("commit", "task-1", 3)]

        assert found == ["task-1"]
        assert took < LEASE + 12  # some of it until it stopped
        assert late == ["StoreUnavailableError", "FencedError"]
        assert events_in(postgresql) == [1]
        assert owners(postgresql) == {"task-1": survivor.ownership.replica_id}


@pytest.mark.parametrize("statement", ["UPDATE opencode_a2a_replica SET", "SELECT EXISTS", "SELECT task.task_id"])
async def test_wherever_an_owner_stops_it_is_taken_over(postgresql: str, anyio_backend: str, statement: str) -> None:
    async with shared(postgresql) as survivor, replica(postgresql, backend=anyio_backend) as owner:
        await owner.ask("commit", "task-1", 1)
        await anyio.sleep(LEASE)
        began = anyio.current_time()
        await owner.ask("stop after", statement)
        await owner.send("adopt")
        found = await adopted(survivor)

        assert found == ["task-1"]
        assert anyio.current_time() - began < LEASE + 12  # some of it until it stopped


async def test_an_event_loop_that_hangs_loses_its_tasks(postgresql: str, anyio_backend: str) -> None:
    async with shared(postgresql) as survivor, replica(postgresql, backend=anyio_backend) as owner:
        await owner.ask("commit", "task-1", 1)
        await owner.send("hang", 4 * LEASE)
        found = await adopted(survivor)
        await owner.answer()
        await owner.ask("fenced")
        late = await owner.ask("commit", "task-1", 2)

        assert (found, late, events_in(postgresql)) == (["task-1"], "FencedError", [1])


async def test_a_stop_for_less_than_a_lease_costs_nothing(postgresql: str, anyio_backend: str) -> None:
    lease = 4.0
    async with (
        shared(postgresql, lease) as other,
        replica(postgresql, backend=anyio_backend, lease=lease) as owner,
    ):
        await owner.ask("commit", "task-1", 1)
        owner.signal(signal.SIGSTOP)
        await anyio.sleep(0.4 * lease)
        owner.signal(signal.SIGCONT)

        assert await owner.ask("commit", "task-1", 2) == owner.replica_id
        assert await other.ownership.owner("task-1") == owner.replica_id


async def test_wrong_wall_clocks_change_nothing(postgresql: str, anyio_backend: str) -> None:
    async with (
        replica(postgresql, backend=anyio_backend, clock=-600.0) as slow,
        replica(postgresql, backend=anyio_backend, clock=600.0) as fast,
    ):
        await slow.ask("commit", "of slow", 1)
        await fast.ask("commit", "of fast", 1)
        await anyio.sleep(3 * LEASE)
        lived = [await slow.ask("commit", "of slow", 2), await fast.ask("commit", "of fast", 2)]
        taken = [await slow.ask("adopt"), await fast.ask("adopt")]
        slow.signal(signal.SIGKILL)

        async def adopts() -> list[str]:
            found: list[str] = await fast.ask("adopt")
            return found

        assert lived == [slow.replica_id, fast.replica_id]
        assert taken == [[], []]
        assert await until(adopts) == ["of slow"]


async def test_of_several_survivors_each_task_has_one_owner(postgresql: str, anyio_backend: str) -> None:
    async with stores(postgresql, 3) as survivors, replica(postgresql, backend=anyio_backend) as owner:
        task_ids = [f"task-{number:02}" for number in range(12)]
        for task_id in task_ids:
            await owner.ask("commit", task_id, 1)
        owner.signal(signal.SIGKILL)
        found: list[str] = []

        async def adopt(store: Store) -> None:
            async for changes in store.ownership.changes():
                while changes.orphans and (some := await store.ownership.adopt(2)):
                    found.extend(ids(some))

        async def all_found() -> bool:
            return len(found) >= len(task_ids)

        async with anyio.create_task_group() as group:
            for store in survivors:
                group.start_soon(adopt, store)
            await until(all_found)
            await anyio.sleep(LEASE)
            group.cancel_scope.cancel()

        assert sorted(found) == task_ids


class Gate:
    """A way to the database that can be closed: then connections break, and no new ones are made."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._open = True
        self._scopes: set[anyio.CancelScope] = set()

    def close(self) -> None:
        self._open = False
        for scope in self._scopes:
            scope.cancel()

    def open(self) -> None:
        self._open = True

    async def handle(self, client: SocketStream) -> None:
        async with client:
            if not self._open:
                return
            with anyio.CancelScope() as scope:
                self._scopes.add(scope)
                async with (
                    await anyio.connect_tcp(self._host, self._port) as server,
                    anyio.create_task_group() as group,
                ):
                    group.start_soon(_copy, client, server, scope)
                    group.start_soon(_copy, server, client, scope)
            self._scopes.discard(scope)


async def _copy(source: ByteStream, target: ByteStream, scope: anyio.CancelScope) -> None:
    try:
        async for chunk in source:
            await target.send(chunk)
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        pass
    scope.cancel()


@asynccontextmanager
async def gated(url: str) -> AsyncIterator[tuple[Gate, str]]:
    host, _, port = url.partition("@")[2].partition("/")[0].partition(":")
    gate = Gate(host, int(port))
    async with listening(gate.handle) as own:
        yield gate, url.replace(f"{host}:{port}", f"127.0.0.1:{own}")


async def test_after_an_outage_longer_than_a_lease_nobody_takes_over_from_anybody(postgresql: str) -> None:
    async with gated(postgresql) as (gate, url), stores(url, 3) as opened:
        for number, store in enumerate(opened):
            await store.commit([task_row(f"task-{number}")])
        before = owners(postgresql)
        await anyio.sleep(LEASE)
        gate.close()
        await anyio.sleep(2.5 * LEASE)
        with pytest.raises(StoreUnavailableError):
            await opened[0].commit([task_row("task-0", last_seq=1)])
        gate.open()

        async def renewed() -> bool:
            try:
                living = await opened[0].ownership.replicas()
            except StoreUnavailableError:
                return False
            return len(living) == 3 and all(one.remaining > 0 for one in living)

        await until(renewed)
        await anyio.sleep(1.5 * LEASE)  # those that are settled again could take over now
        for number, store in enumerate(opened):
            await store.commit([task_row(f"task-{number}", last_seq=2)])

        assert owners(postgresql) == before
        assert [store.ownership.replica_id for store in opened] == [*before.values()]


async def test_who_alone_is_cut_off_for_longer_than_a_lease_is_taken_over(postgresql: str) -> None:
    async with gated(postgresql) as (gate, url), shared(postgresql) as stays, shared(url) as away:
        await away.commit([task_row()])
        await anyio.sleep(LEASE)
        await away.ownership.sure()
        gate.close()
        away.put([task_row(last_seq=7)])  # tried again until it is refused
        found = await adopted(stays)
        gate.open()
        with anyio.fail_after(WAIT):
            with pytest.raises(FencedError):
                await away.ownership.sure()
            await away.ownership.fenced()
        stored = await stays.task("task-1")

        assert found == ["task-1"]
        assert stored is not None
        assert stored.row.last_seq == 0
        await away.ownership.rejoin()
        await away.commit([task_row("new")])


@pytest.mark.skipif("TEST_POSTGRESQL" in os.environ, reason="the processes of that server are not ours")
async def test_a_database_that_restarts_after_a_crash_keeps_all_owners(postgresql: str) -> None:
    async with stores(postgresql, 2) as opened:
        for number, store in enumerate(opened):
            await store.commit([task_row(f"task-{number}")])
        before = owners(postgresql)
        await anyio.sleep(LEASE)  # the server of the tests writes its log with a delay
        with looking(postgresql) as connection:
            os.kill(connection.info.backend_pid, signal.SIGKILL)

        for number, store in enumerate(opened):
            await writes(store, f"task-{number}", 1)
        await anyio.sleep(2 * LEASE)

        assert owners(postgresql) == before
        assert [store.ownership.replica_id for store in opened] == [*before.values()]
