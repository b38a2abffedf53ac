"""Gives OpenCode the tool `a2a_call`, in each directory in which turns run, and again wherever it was lost.

OpenCode forgets the tool with the directory's instance: when that is disposed, or OpenCode restarts. The event bus
counts both, so a turn costs nothing while the count stands. A tool that cannot be given is a problem that is noted,
and tried again; it never keeps a turn from running. To give it again would fail the calls that run, so it is first
looked up whether it is still there.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

import anyio
import orjson

from opencode_a2a.agent.upstream.event_bus import EventBus
from opencode_a2a.agent.upstream.upstream import Upstream, UpstreamError
from opencode_a2a.server.steps import in_turns
from opencode_a2a.server.tasks.keyed_lock import LocalLocks
from sansio.large_json import decoded
from sansio.opencode import tool_servers
from sansio.opencode.upstream import requests
from sansio.opencode.upstream.faults import TIMEOUT
from sansio.opencode.upstream.problems import Problem, tool_name_problem, tool_problem
from sansio.opencode.upstream.requests import Location, UpstreamCall
from sansio.redact import Secret

_log = logging.getLogger(__name__)

RETRY_SECONDS = 30.0
"""Seconds between two tries to give the tool where it could not be given."""

SILENCE_SECONDS = 5.0
"""Seconds until it is tried again where OpenCode left the try unanswered: it may have just started."""

PATIENCE = 20.0
"""Seconds for which a turn waits for its directory to have the tool: OpenCode may have to set that directory up."""

_LOOK_EVERY: Final = 1.0  # seconds between two looks at whether the tool has to be given again
_LEAVING: Final = 5.0  # seconds for taking the tool back at the end
_MOST: Final = 256  # directories that are remembered


class ToolRegistration:
    """The tool in OpenCode. `note`: takes the problem with it, None for none.

    `url`: of the endpoint, empty until this server listens. `describe`: returns the tool's description, which
    OpenCode reads only when it is given the tool. `is_busy`: whether calls run, which would fail if it were given
    again.
    """

    def __init__(
        self,
        upstream: Upstream,
        bus: EventBus,
        secret: Secret,
        *,
        describe: Callable[[], str],
        is_busy: Callable[[], bool],
        note: Callable[[Problem | None], None],
    ) -> None:
        self._upstream = upstream
        self._bus = bus
        self._secret = secret
        self._note = note
        self._checked: OrderedDict[Location, int] = OrderedDict()
        self._describe = describe
        self._is_busy = is_busy
        self._given: dict[Location, str] = {}  # with the tool's description at the time
        self._failed: dict[Location, tuple[float, Problem]] = {}  # with the time of the next try
        self._giving = LocalLocks()  # one for each directory: none waits for another's
        self._listening = anyio.Event()
        self.url: str = ""

    def listening(self, url: str) -> None:
        """Take the endpoint's URL: this server listens now."""
        self.url = url
        self._listening.set()

    def recheck(self) -> None:
        """Look before the next turn of each directory whether it has the tool yet."""
        self._checked.clear()

    async def ensure(self, location: Location) -> None:
        """Give the tool to a directory unless it has it."""
        if not self.url or self._checked.get(location) == self._bus.disposals:
            return
        if location in self._failed and self._failed[location][0] > anyio.current_time():
            return
        async with self._giving.of(("tool", location.directory, location.workspace)):
            count = self._bus.disposals
            if self._checked.get(location) == count:
                return
            problem: Problem | None
            pause = RETRY_SECONDS
            try:
                with self._upstream.within(PATIENCE):
                    problem = await self._give(location)
            except UpstreamError as exc:
                problem = tool_problem(exc.failure.text, self.url)
                pause = SILENCE_SECONDS if exc.failure.type == TIMEOUT else RETRY_SECONDS
            self._keep(location, count, problem, pause)

    def _keep(self, location: Location, count: int, problem: Problem | None, pause: float) -> None:
        self._checked.pop(location, None)
        self._failed.pop(location, None)
        if problem is None:
            self._checked[location] = count
        else:
            self._failed[location] = (anyio.current_time() + pause, problem)
        while len(self._checked) > _MOST:
            forgotten, _ = self._checked.popitem(last=False)
            self._given.pop(forgotten, None)
        while len(self._failed) > _MOST:
            del self._failed[next(iter(self._failed))]
        self._note(next((problem for _, problem in self._failed.values()), None))

    async def watch(self, location: Location) -> None:
        """Give the tool to a directory when OpenCode comes, where it failed, and with a new description, for ever."""
        await self._listening.wait()
        connection = 0
        while True:
            if self._bus.connected:
                now = anyio.current_time()
                due = [failed for failed, (until, _) in self._failed.items() if until <= now]
                due += self._outdated()
                if connection != self._bus.reconnects:
                    connection = self._bus.reconnects
                    due.append(location)
                for one in dict.fromkeys(due):
                    await self.ensure(one)
            await anyio.sleep(_LOOK_EVERY)

    def _outdated(self) -> list[Location]:
        """Forget the directories that have another description than the tool has now, and return them."""
        if self._is_busy():
            return []
        now = self._describe()
        found = [location for location, description in self._given.items() if description != now]
        for location in found:
            self._checked.pop(location, None)
            self._given.pop(location, None)
        return found

    async def leave(self) -> None:
        """Take the tool back, best effort: what stays would lead to a server that is not there."""
        url, self.url = self.url, ""
        if not url or not self._bus.connected:
            return
        with anyio.move_on_after(_LEAVING, shield=True):
            for location in self._given:
                try:
                    await self._upstream.request(requests.disconnect_tool_server(tool_servers.SERVER_NAME, location))
                except UpstreamError as exc:
                    _log.info("the tool cannot be taken back: %s", exc)

    async def _give(self, location: Location) -> Problem | None:
        name = tool_servers.SERVER_NAME
        if tool_servers.is_configured(await self._read(requests.config(location))):
            self._given.pop(location, None)
            return tool_name_problem(location.directory)
        if location in self._given:
            there = await self._read(requests.tool_servers(location))
            if tool_servers.status_of(there) == "connected":
                return None
        description = self._describe()
        config = tool_servers.server_config(self.url, self._secret.reveal())
        status = tool_servers.status_of(await self._read(requests.add_tool_server(name, config, location)))
        if status != "connected":
            return tool_problem(status or "OpenCode has not taken it", self.url)
        self._given[location] = description
        return None

    async def _read(self, call: UpstreamCall) -> Any:
        try:
            return await in_turns(decoded((await self._upstream.request(call)).body))
        except (orjson.JSONDecodeError, ValueError):
            return None
