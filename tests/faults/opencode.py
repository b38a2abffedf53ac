"""The scripted stand-in for OpenCode as a process that may be killed: `python -m tests.faults.opencode FILE`.

Its sessions are in the file before anybody is told of a change, as OpenCode's are in its database. What it was doing
and what it waited for are gone after a kill, as they are there.
"""

from __future__ import annotations

import pickle
import sys
from functools import partial
from pathlib import Path
from typing import cast

import anyio
import attrs
from hypercorn.typing import ASGIFramework

import runtime_asyncio
from opencode_a2a.fake_opencode import FakeOpenCode
from opencode_a2a.fake_opencode.api import Api
from opencode_a2a.fake_opencode.json_values import JsonObject
from opencode_a2a.fake_opencode.sessions import Memory, Message, Session
from opencode_a2a.fake_opencode.turns import Pace, Player

PAUSE, TICK, RETRY = 0.004, 0.02, 0.2


class KeptMemory(Memory):
    """A memory that is in a file."""

    def __init__(self, directory: str, path: Path) -> None:
        super().__init__(directory)
        self._path = path
        if path.exists():
            kept: list[tuple[JsonObject, int, list[tuple[JsonObject, list[JsonObject]]]]] = pickle.loads(
                path.read_bytes()
            )
            for info, durable, messages in kept:
                said = [Message(about, parts) for about, parts in messages]
                self.sessions[str(info["id"])] = Session(info=info, messages=said, durable=durable)

    def publish(self, session: Session, type: str, properties: JsonObject, *, durable: bool = False) -> None:
        if durable:
            self._keep()
        super().publish(session, type, properties, durable=durable)

    def _keep(self) -> None:
        kept = [
            (one.info, one.durable, [(message.info, message.parts) for message in one.messages])
            for one in self.sessions.values()
        ]
        fresh = self._path.with_suffix(".new")
        fresh.write_bytes(pickle.dumps(kept, pickle.HIGHEST_PROTOCOL))
        fresh.replace(self._path)


@attrs.define(eq=False, kw_only=True)
class KeptStandIn(FakeOpenCode):
    """A stand-in with its sessions in a file."""

    path: Path

    def __attrs_post_init__(self) -> None:
        self._memory = KeptMemory(self.directory, self.path)
        pace = Pace(token=self.pause, tick=self.tick, retry=self.retry_wait)
        self._player = Player(memory=self._memory, pace=pace, scripts=self.scripts, always_instant=False)
        self._api = Api(self._memory, self._player, self._start)


def main(path: str) -> None:
    app = KeptStandIn(pause=PAUSE, tick=TICK, retry_wait=RETRY, path=Path(path))
    serve = partial(
        runtime_asyncio.serve,
        cast("ASGIFramework", app),
        "127.0.0.1:0",
        stop=anyio.sleep_forever,
        ready=lambda addresses: print(f"listening on http://{addresses[0]}", flush=True),
        grace=1.0,
    )
    runtime_asyncio.run(serve)


if __name__ == "__main__":
    main(sys.argv[1])
