"""The server of the day as processes: started on a database, waited for, stopped, and the operator's commands.

Knows nothing of who calls the server.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Final

import anyio
import httpx
import orjson
from anyio.abc import Process
from attrs import define, field

from sansio.a2a.model import JsonObject
from tests.benchmarks.processes import clean_environment, python

START_SECONDS: Final = 30.0
STOP_SECONDS: Final = 30.0
_LOOK_EVERY: Final = 0.01


class CommandError(RuntimeError):
    """A command ended with another exit code than 0; the text has what it printed."""


@define(eq=False, kw_only=True)
class Deployment:
    """One server at a time on one port. `settings`: the variables of the server and of all commands.

    `folder` holds the database, the file of credentials and the log.
    """

    runtime: str
    folder: Path
    port: int
    settings: dict[str, str]
    _process: Process | None = field(default=None, init=False)
    _log: IO[bytes] | None = field(default=None, init=False)

    @property
    def database(self) -> Path:
        """The file of the SQLite database."""
        return Path(self.settings["A2A_TASK_STORE_DATABASE_URL"].removeprefix("sqlite:///"))

    @database.setter
    def database(self, path: Path) -> None:
        self.settings["A2A_TASK_STORE_DATABASE_URL"] = f"sqlite:///{path}"

    @property
    def url(self) -> str:
        """Where the server listens, past any proxy."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment of the server. Rate limits are on, as they are for an operator."""
        environment = clean_environment({**self.settings, "A2A_RUNTIME": self.runtime, "A2A_PORT": str(self.port)})
        del environment["A2A_RATE_LIMIT_ENABLED"]
        return environment

    @property
    def log(self) -> str:
        """All that the servers have printed so far."""
        return (self.folder / "server.log").read_text(errors="replace")

    async def start(self) -> float:
        """Start the server; return the seconds until `/readyz` said that it takes messages."""
        assert self._process is None
        began = anyio.current_time()
        self._log = (self.folder / "server.log").open("ab")
        self._process = await anyio.open_process(
            python("opencode_a2a", "serve"),
            env=self.environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )
        with anyio.fail_after(START_SECONDS):
            async with httpx.AsyncClient(base_url=self.url, verify=False) as http:
                while not await self._is_ready(http):
                    if self._process.returncode is not None:
                        raise CommandError(f"the server did not start: {self.log[-2000:]}")
                    await anyio.sleep(_LOOK_EVERY)
        return anyio.current_time() - began

    async def _is_ready(self, http: httpx.AsyncClient) -> bool:
        try:
            return (await http.get("/readyz")).status_code == 200
        except httpx.HTTPError:
            return False

    async def stop(self) -> float:
        """Send SIGTERM; return the seconds until the server had ended. It has to end with 0."""
        assert self._process is not None
        began = anyio.current_time()
        self._process.send_signal(signal.SIGTERM)
        with anyio.fail_after(STOP_SECONDS):
            code = await self._process.wait()
        self._gone()
        if code:
            raise CommandError(f"the server ended with {code}: {self.log[-2000:]}")
        return anyio.current_time() - began

    def hang_up(self) -> None:
        """Send SIGHUP, by which the server reads its files again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    async def end(self) -> None:
        """End the server at once, if it runs."""
        if self._process is not None:
            with anyio.CancelScope(shield=True):
                if self._process.returncode is None:
                    self._process.kill()
                await self._process.wait()
            self._gone()

    def _gone(self) -> None:
        self._process = None
        if self._log is not None:
            self._log.close()
            self._log = None

    async def command(self, *arguments: str) -> str:
        """Run `opencode-a2a` with the server's settings; return what it prints. Raises `CommandError`."""
        with anyio.fail_after(START_SECONDS):
            done = await anyio.run_process(
                python("opencode_a2a", *arguments), env=self.environment, cwd=self.folder, check=False
            )
        if done.returncode:
            said = (done.stdout + done.stderr).decode(errors="replace")
            raise CommandError(f"{' '.join(arguments)}: exit code {done.returncode}\n{said}")
        return done.stdout.decode()

    # --- credentials --------------------------------------------------------------------------------------

    async def new_token(self, principal: str, credential_id: str) -> tuple[str, JsonObject]:
        """Make a token by the command; return it, and its entry for the file of credentials."""
        path = self.folder / f"{credential_id}.entry.json"
        secret = await self.command(
            "token", "--principal", principal, "--credential-id", credential_id, "--entry", str(path)
        )
        entry: JsonObject = orjson.loads(path.read_bytes())
        return secret.strip(), entry

    def write_credentials(self, entries: list[JsonObject]) -> None:
        """Replace the file of credentials by one with these entries."""
        path = Path(self.settings["A2A_STATIC_AUTH_CREDENTIALS_FILE"])
        fresh = path.with_suffix(".new")
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(orjson.dumps(entries))
        fresh.replace(path)
