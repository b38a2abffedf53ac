"""The processes of a run: OpenCode's stand-in, the proxy before it, the agent before that. Started, killed, ended.

Every process is ended by its own id.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import orjson
from attrs import define, field

from tests.benchmarks.processes import clean_environment
from tests.faults.plan import KILL_AGENT, KILL_OPENCODE, STALLED, Kill, Plan
from tests.faults.proxy import Proxy

TOKEN = "the-token-of-a-run"
_TIMEOUT, _TIMEOUT_OF_STALLS = 12, 4  # seconds the agent gives OpenCode; less where it is to run into it
_START_SECONDS = 120.0  # a busy machine takes long to import, and that is no fault of a server
_STOP_SECONDS = 30.0
_LISTENING = re.compile(r"listening on http://[^\s/]+:(\d+)")


@define(eq=False)
class Child:
    """A process that says where it listens, and can be killed and started again."""

    argv: Sequence[str]
    environment: Mapping[str, str]
    output: Path
    port: int = 0
    _process: subprocess.Popen[bytes] | None = None

    def said(self) -> str:
        """All that it has printed, in all its lives."""
        return self.output.read_text(errors="replace") if self.output.exists() else ""

    async def start(self) -> None:
        """Start it, and wait until it listens."""
        before = len(self.said())
        process = self._process = self._spawn()
        with anyio.move_on_after(_START_SECONDS):
            while (found := _LISTENING.search(self.said(), before)) is None:
                if process.poll() is not None:
                    raise RuntimeError(f"did not start: {self.said()[-2000:]}")
                await anyio.sleep(0.02)
        if found is None:
            raise TimeoutError(f"does not listen after {_START_SECONDS:g} s: {self.said()[-2000:]}")
        self.port = int(found.group(1))

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self.output.open("ab") as file:
            return subprocess.Popen(
                self.argv, env=dict(self.environment), stdin=subprocess.DEVNULL, stdout=file, stderr=file
            )

    async def kill(self) -> None:
        """Kill -9, and wait until it is gone."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    async def stop(self) -> None:
        """Ask it to end in order, and wait until it is gone."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        with anyio.move_on_after(_STOP_SECONDS):
            while self._process.poll() is None:  # noqa: ASYNC110 - a process has no event to wait for
                await anyio.sleep(0.02)
        if self._process.poll() is None:
            raise TimeoutError(f"has not ended after {_STOP_SECONDS:g} s: {self.said()[-2000:]}")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def end(self) -> None:
        """Kill it, if it is there."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()


@define(eq=False)
class World:
    """A run's processes. `ready` is set while the agent can be called."""

    plan: Plan
    agent: Child
    opencode: Child
    proxy: Proxy
    ready: anyio.Event = field(factory=anyio.Event)

    @property
    def url(self) -> str:
        """Where the agent is now."""
        return f"http://127.0.0.1:{self.agent.port}"

    @property
    def opencode_url(self) -> str:
        """Where OpenCode is now, past the proxy."""
        return f"http://127.0.0.1:{self.opencode.port}"

    async def apply(self, kills: Sequence[Kill]) -> None:
        """Kill what is to be killed, at its time, and start it again."""
        begun = anyio.current_time()
        for kill in kills:
            await anyio.sleep_until(begun + kill.after)
            self.plan.strikes(kill.kind)
            if kill.kind == KILL_AGENT:
                self.ready = anyio.Event()
                await self.agent.kill()
                await anyio.sleep(kill.away)
                await self.agent.start()
                self.ready.set()
            elif kill.kind == KILL_OPENCODE:
                await self.opencode.kill()
                await anyio.sleep(kill.away)
                await self.opencode.start()
                self.proxy.target = self.opencode.port
            else:
                await self.proxy.kill()
                await anyio.sleep(kill.away)
                await self.proxy.revive()


@asynccontextmanager
async def world(plan: Plan, directory: Path) -> AsyncGenerator[World]:
    """All three, running."""
    opencode = Child(
        [sys.executable, "-m", "tests.faults.opencode", str(directory / "sessions")],
        clean_environment({}),
        directory / "opencode.log",
    )
    proxy = Proxy(0, plan=plan)
    async with proxy.running():
        settings = {
            "A2A_STATIC_AUTH_CREDENTIALS": orjson.dumps(
                [{"scheme": "bearer", "token": TOKEN, "principal": "somebody"}]
            ).decode(),
            "A2A_TASK_STORE_DATABASE_URL": f"sqlite:///{directory}/tasks.db",
            "A2A_RATE_LIMIT_ENABLED": "false",
            "OPENCODE_TIMEOUT": str(_TIMEOUT_OF_STALLS if STALLED in plan.kinds else _TIMEOUT),
            "A2A_LOG_LEVEL": "WARNING",
        }
        command = [sys.executable, "-m", "opencode_a2a", "serve", "--runtime", plan.runtime, "--host", "127.0.0.1"]
        command += ["--port", "0", "--opencode", proxy.url]
        agent = Child(command, clean_environment(settings), directory / "agent.log")
        found = World(plan, agent, opencode, proxy)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(opencode.start)
                tasks.start_soon(agent.start)
            proxy.target = opencode.port
            found.ready.set()
            yield found
        finally:
            agent.end()
            opencode.end()
