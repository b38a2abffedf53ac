"""The day itself: each step acts on the deployment while the load goes on, and gives a row of the table."""

from __future__ import annotations

import random
import secrets
import shutil
import socket
from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Final

import anyio
import httpx
import orjson
from anyio.abc import TaskGroup
from attrs import define, field, frozen

from opencode_a2a.client import ClientOptions, connect
from opencode_a2a.fake_opencode import FakeOpenCode
from sansio.a2a.client.client_errors import AgentError
from sansio.a2a.errors import ErrorKind
from sansio.a2a.model import JsonObject
from sansio.redact import Secret
from tests.deploy.proxies import PREFIX, certified, listening
from tests.deploy.tools import found_program
from tests.operations.deployment import Deployment
from tests.operations.load import BOUND, WORD, Key, Load, Target, paced
from tests.operations.records import End, Record, Row
from tests.shell.folding import text_of
from tests.shell.harness import served

_HOST: Final = "127.0.0.1"
_LOOK_EVERY: Final = 0.02


@frozen(kw_only=True)
class Plan:
    """The measures of a day. `streams`: open at once, beside the `leaving` ones of somebody who leaves.

    `tokens`: in each answer. In seconds: `pause` between two of them, `grace` of the drain, `retention` of tasks that
    have ended, in the last step.
    """

    runtime: str = "asyncio"
    streams: int = 40
    leaving: int = 4
    tokens: int = 80
    pause: float = 0.1
    grace: float = 2.0
    retention: float = 20.0


@define(eq=False, kw_only=True)
class Day:
    """A day under way. `problems`: what is wrong beside the streams."""

    plan: Plan
    deployment: Deployment
    load: Load
    proxied: bool
    team: Key
    others: Key
    leaver: Key
    entries: dict[str, JsonObject]
    rows: list[Row] = field(factory=list)
    problems: list[str] = field(factory=list)

    @property
    def wrong(self) -> list[str]:
        """A line for each stream that was lost, and for all else that should not be."""
        log = self.deployment.log
        tokens = (key.token for key in (self.team, self.others, self.leaver))
        return [
            *(record.described for record in self.load.records if record.is_wrong),
            *self.problems,
            *(["the log has a traceback"] if "Traceback" in log else []),
            *(["the log has a token"] if any(token in log for token in tokens) else []),
        ]

    async def run(self) -> None:
        """Do all steps, one after the other."""
        async with anyio.create_task_group() as tasks:
            await self.deploy(tasks)
            await self.rotate()
            await self.upgrade()
            await self.restore()
            await self.clean()
            await self.end()

    # --- the steps ----------------------------------------------------------------------------------------

    async def deploy(self, tasks: TaskGroup) -> None:
        """Start the server, and the load."""
        plan = self.plan
        ready = await self.deployment.start()
        first = plan.tokens * plan.pause
        half = plan.streams // 2
        for key, count in ((self.team, half), (self.others, plan.streams - half), (self.leaver, plan.leaving)):
            self.load.add(tasks, key, count, first)
        self.load.begin()
        streams = await self._streams()
        await self.load.until_settled(streams)
        self._row("deploy", streams, ready=ready, note="behind nginx" if self.proxied else "without a proxy")

    async def rotate(self) -> None:
        """Give a team another token; remove the old one, and that of somebody who has left."""
        deployment = self.deployment
        token, entry = await deployment.new_token(self.team.principal, "team-2")
        deployment.write_credentials([*self.entries.values(), entry])  # noticed without a signal
        await self._until_accepted(token)
        streams = await self._streams()
        self.team.token, self.leaver.is_gone = token, True
        self.entries = {"team": entry, "others": self.entries["others"]}
        deployment.write_credentials([*self.entries.values()])
        deployment.hang_up()
        await self.load.until_settled(streams)
        cut = {record.principal for record in streams if record.was_cut}
        self._row("rotate credentials", streams, note=f"streams of {', '.join(sorted(cut))} were resumed")

    async def upgrade(self) -> None:
        """Stop the server, and start it again on the same database."""
        streams = await self._streams()
        stopped = await self.deployment.stop()
        ready = await self.deployment.start()
        await self.load.until_settled(streams)
        self._row("upgrade", streams, stopped=stopped, ready=ready)

    async def restore(self) -> None:
        """Back up while streams are open; stop, and start on the copy, in another place."""
        deployment = self.deployment
        backup, restored = deployment.folder / "backup.db", deployment.folder / "restored.db"
        streams = await self._streams()
        self.load.pause()  # a message after the backup would be lost with the database that has it
        ended = self._ended()
        await deployment.command("backup", str(backup))
        for record in streams:
            record.restored = record.end is None
        stopped = await deployment.stop()
        shutil.move(backup, restored)
        deployment.database = restored
        ready = await deployment.start()
        await self.load.until_settled(streams)
        whole = [record for record in ended if await self._text(record) == record.text]
        if len(whole) < len(ended):
            self.problems.append(f"{len(ended) - len(whole)} tasks that had ended are not whole after the restore")
        self._row(
            "backup, restore", streams, stopped=stopped, ready=ready, note=f"{len(whole)} ended tasks are whole"
        )
        self.load.begin()

    async def clean(self) -> None:
        """Restart with a bound on how long tasks are kept, and ask the doctor."""
        deployment = self.deployment
        streams = await self._streams()
        before = anyio.current_time() - self.plan.retention
        old = [record for record in self._ended() if record.ended < before]
        deployment.settings["A2A_TASK_RETENTION_SECONDS"] = f"{self.plan.retention:g}"
        stopped = await deployment.stop()
        ready = await deployment.start()
        with anyio.fail_after(BOUND):
            while [record for record in old if await self._text(record) is not None]:  # noqa: ASYNC110 - it is polled
                await anyio.sleep(_LOOK_EVERY)
        if not old:
            self.problems.append("no task was old enough to be removed")
        await self.load.until_settled(streams)
        note = f"{len(old)} old tasks removed; doctor: {await self._diagnosis()}"
        self._row("retention, doctor", streams, stopped=stopped, ready=ready, note=note)

    async def end(self) -> None:
        """Let the streams end, and stop the server."""
        self.load.finish()
        await self.load.until_settled(tuple(self.load.records))
        stopped = await self.deployment.stop()
        self._row("the whole day", tuple(self.load.records), stopped=stopped)

    def _row(
        self,
        step: str,
        streams: tuple[Record, ...],
        *,
        stopped: float | None = None,
        ready: float | None = None,
        note: str = "",
    ) -> None:
        self.rows.append(Row(step=step, streams=streams, stopped=stopped, ready=ready, note=note))

    # --- looking ------------------------------------------------------------------------------------------

    async def _streams(self) -> tuple[Record, ...]:
        """Wait until all clients stream; return their streams."""
        return await self.load.until_open(self.plan.streams + (0 if self.leaver.is_gone else self.plan.leaving))

    async def _until_accepted(self, token: str) -> None:
        """Wait until the server takes a token."""
        headers = {"authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(
            base_url=self.deployment.url, headers=headers, verify=self.load.target.verify
        ) as http:
            with anyio.fail_after(BOUND):
                while (await http.get("/health")).status_code != 200:  # noqa: ASYNC110 - it is polled
                    await anyio.sleep(_LOOK_EVERY)

    async def _text(self, record: Record) -> str | None:
        """Read the text of a task that has ended; None where the server does not have it."""
        token = self.team.token if record.principal == self.team.principal else self.others.token
        transport = httpx.AsyncHTTPTransport(verify=self.load.target.verify)
        async with connect(self.load.target.url, ClientOptions(bearer=Secret(token)), transport=transport) as agent:
            try:
                return text_of(await agent.get_task(record.task_id))
            except AgentError as error:
                if error.is_kind(ErrorKind.TASK_NOT_FOUND):
                    return None
                raise

    def _ended(self) -> list[Record]:
        """Return the streams that are whole, of those who are still there."""
        gone = self.leaver.principal
        return [one for one in self.load.records if one.end is End.WHOLE and one.principal != gone]

    async def _diagnosis(self) -> str:
        """Run the doctor beside the server; return how many of its checks failed, warn and are well."""
        said = orjson.loads(await self.deployment.command("doctor", "--json"))
        outcomes = [finding["outcome"] for finding in said["findings"]]
        self.problems += [
            f"doctor: {finding['check']}: {finding['detail']}"
            for finding in said["findings"]
            if finding["outcome"] in ("fail", "warning")
        ]
        return f"{outcomes.count('fail')} failed, {outcomes.count('warning')} warnings, {outcomes.count('ok')} ok"


def _free_ports() -> Iterator[int]:
    """Ports that nobody listens on, apart from those of other tests: the server's is free while it restarts."""
    candidates = list(range(32_000, 32_768))
    random.shuffle(candidates)
    for port in candidates:
        try:
            socket.create_server((_HOST, port)).close()
        except OSError:
            continue
        yield port


@asynccontextmanager
async def day(plan: Plan, folder: Path) -> AsyncGenerator[Day]:
    """A day that can begin, in an empty folder. Where nginx is installed, it stands before the server."""
    opencode = FakeOpenCode(pause=plan.pause, directory=str(folder), scripts={WORD: paced})
    verify = certified(folder, _HOST)
    ports = _free_ports()
    port, proxied = next(ports), found_program("nginx") is not None
    url = f"http://{_HOST}:{port}"
    async with AsyncExitStack() as running:
        settings = {
            "OPENCODE_BASE_URL": await running.enter_async_context(served(plan.runtime, opencode)),
            "OPENCODE_WORKSPACE_ROOT": str(folder),
            "A2A_TASK_STORE_DATABASE_URL": f"sqlite:///{folder}/tasks.db",
            "A2A_STATIC_AUTH_CREDENTIALS_FILE": f"{folder}/credentials.json",
            "A2A_SHUTDOWN_GRACE_SECONDS": f"{plan.grace:g}",
            "A2A_RATE_LIMIT_MAX_REQUESTS": "100000",
            "SSL_CERT_FILE": f"{folder}/authority.pem",
        }
        if proxied:
            front = next(ports)
            await running.enter_async_context(listening("nginx", folder, url, front))
            settings["A2A_PUBLIC_URL"] = f"https://{_HOST}:{front}{PREFIX}"
            settings["A2A_TRUSTED_PROXIES"] = _HOST
        deployment = Deployment(runtime=plan.runtime, folder=folder, port=port, settings=settings)
        running.push_async_callback(deployment.end)
        keys: list[Key] = []
        entries: dict[str, JsonObject] = {}
        for principal in ("team", "others", "leaver"):
            token = secrets.token_urlsafe()
            digest = sha256(token.encode()).hexdigest()
            entries[principal] = {"scheme": "bearer", "token_sha256": digest, "principal": principal}
            keys.append(Key(principal, token))
        deployment.write_credentials([*entries.values()])
        target = Target(url=settings.get("A2A_PUBLIC_URL", url), verify=verify, opencode=opencode, tokens=plan.tokens)
        team, others, leaver = keys
        yield Day(
            plan=plan,
            deployment=deployment,
            load=Load(target=target),
            proxied=proxied,
            team=team,
            others=others,
            leaver=leaver,
            entries=entries,
        )
