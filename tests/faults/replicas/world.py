"""The processes of a run of several servers: PostgreSQL, a fake OpenCode, the servers, and what stands between.

Every process is ended by its own id.
"""

from __future__ import annotations

import random
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import orjson
from attrs import define, field

from tests.benchmarks.processes import clean_environment
from tests.faults.plan import Plan
from tests.faults.proxy import Proxy
from tests.faults.replicas import plan as faults
from tests.faults.replicas.plan import LEASE, ReplicaPlan, Strike
from tests.faults.replicas.relay import Relay
from tests.faults.world import TOKEN, Child
from tests.shell.postgresql_server import PostgresqlServer

_TIMEOUT = 12  # seconds that the servers give OpenCode
_TRIES = 20


@define(eq=False)
class Server:
    """One of the servers, with what stands between it and its neighbours. `up`: a client may come."""

    process: Child
    to_opencode: Proxy
    to_database: Relay
    up: bool = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.process.port}"

    async def start(self) -> None:
        """Start it. It needs its database, which may be away: then it is started again."""
        for attempt in range(_TRIES):
            try:
                await self.process.start()
            except RuntimeError:
                if attempt == _TRIES - 1:
                    raise
                await anyio.sleep(0.2)
            else:
                self.up = True
                return


@define(eq=False)
class ReplicaWorld:
    """A run's processes."""

    plan: ReplicaPlan
    servers: list[Server]
    opencode: Child
    database: PostgresqlServer
    ready: anyio.Event = field(factory=anyio.Event)
    _random: random.Random = field(factory=lambda: random.Random(0))
    _busy: anyio.Lock = field(factory=anyio.Lock)  # for the database, which can be restarted once at a time
    _held: dict[int, anyio.Lock] = field(factory=dict)

    @property
    def url(self) -> str:
        """Any server: also one that hangs, or is cut off, as nobody knows that from outside."""
        up = [server for server in self.servers if server.up]
        return self._random.choice(up or self.servers).url

    @property
    def opencode_url(self) -> str:
        """Where OpenCode is, past the proxies."""
        return f"http://127.0.0.1:{self.opencode.port}"

    async def apply(self) -> None:
        """Let the plan's faults strike, each at its time; a server meets one after the other."""
        begun = anyio.current_time()
        self._held = {number: anyio.Lock() for number in range(len(self.servers))}
        async with anyio.create_task_group() as tasks:
            for strike in self.plan.strikes:
                tasks.start_soon(self._strike, strike, begun + strike.after)

    async def _strike(self, strike: Strike, when: float) -> None:
        await anyio.sleep_until(when)
        if strike.kind in (faults.DATABASE_RESTARTED, faults.DATABASE_CRASHED):
            async with self._busy:
                self.plan.struck[strike.kind] += 1
                how = signal.SIGINT if strike.kind == faults.DATABASE_RESTARTED else signal.SIGQUIT
                await anyio.to_thread.run_sync(self.database.stop, how)
                await anyio.sleep(strike.seconds)
                self.database.start()
                await anyio.to_thread.run_sync(self.database.wait_until_ready)
            return
        server = self.servers[strike.server]
        async with self._held[strike.server]:
            self.plan.struck[strike.kind] += 1
            if strike.kind == faults.KILLED:
                server.up = False
                await server.process.kill()
                await anyio.sleep(strike.seconds)
                await server.start()
            elif strike.kind == faults.STOPPED:
                server.up = False
                await server.process.stop()
                await anyio.sleep(strike.seconds)
                await server.start()
            elif strike.kind == faults.HUNG:
                server.process.signal(signal.SIGSTOP)
                await anyio.sleep(strike.seconds)
                server.process.signal(signal.SIGCONT)
            elif strike.kind == faults.DATABASE_CUT:
                await server.to_database.kill()
                await anyio.sleep(strike.seconds)
                await server.to_database.revive()
            else:
                await server.to_opencode.kill()
                await anyio.sleep(strike.seconds)
                await server.to_opencode.revive()


@asynccontextmanager
async def replica_world(
    plan: ReplicaPlan, database: PostgresqlServer, directory: Path
) -> AsyncGenerator[ReplicaWorld]:
    """All of them, running on an empty database."""
    async with AsyncExitStack() as stack:
        opencode = Child(
            [sys.executable, "-m", "tests.faults.opencode", str(directory / "sessions")],
            clean_environment({}),
            directory / "opencode.log",
        )
        stack.callback(opencode.end)
        await opencode.start()
        peace = Plan((), (), plan.runtime, random.Random(0))
        servers: list[Server] = []
        for number, apart in enumerate(plan.clocks):
            proxy = await stack.enter_async_context(Proxy(opencode.port, plan=peace).running())
            relay = await stack.enter_async_context(Relay(database.port).running())
            process = _server(plan, directory / f"server-{number}.log", apart, proxy.url, relay.port, database.url)
            stack.callback(process.end)
            servers.append(Server(process, proxy, relay))
        found = ReplicaWorld(plan, servers, opencode, database)
        async with anyio.create_task_group() as tasks:
            for server in servers:
                tasks.start_soon(server.start)
        found.ready.set()
        yield found


def _server(plan: ReplicaPlan, log: Path, apart: float, opencode: str, port: int, url: str) -> Child:
    settings = {
        "A2A_STATIC_AUTH_CREDENTIALS": orjson.dumps(
            [{"scheme": "bearer", "token": TOKEN, "principal": "somebody"}]
        ).decode(),
        "A2A_TASK_STORE_DATABASE_URL": f"postgresql://tests@127.0.0.1:{port}/{url.rpartition('/')[2]}",
        "A2A_REPLICA_LEASE_SECONDS": str(LEASE),
        "A2A_RATE_LIMIT_ENABLED": "false",
        "OPENCODE_TIMEOUT": str(_TIMEOUT),
        "A2A_LOG_LEVEL": "WARNING",
    }
    command = [sys.executable, "-m", "tests.faults.replicas.skewed", str(apart), "serve"]
    command += ["--runtime", plan.runtime, "--host", "127.0.0.1", "--port", "0", "--opencode", opencode]
    return Child(command, clean_environment(settings), log)
