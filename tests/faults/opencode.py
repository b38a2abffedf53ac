"""The scripted stand-in for OpenCode as a process that may be killed: `python -m tests.faults.opencode FILE`.

Its sessions are in the file before anybody is told of a change, as OpenCode's are in its database. What it was doing
and what it waited for are gone after a kill, as they are there.
"""

from __future__ import annotations

import pickle
import sys
from functools import partial
from pathlib import Path

import runtime_asyncio
from opencode_a2a.fake_opencode import FakeOpenCode
from opencode_a2a.fake_opencode.json_values import JsonObject
from opencode_a2a.fake_opencode.sessions import Memory, Message, Session
from tests.serving_alone import serve_alone

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


def main(path: str) -> None:
    directory = "/workspace"
    memory = KeptMemory(directory, Path(path))
    app = FakeOpenCode(pause=PAUSE, tick=TICK, retry_wait=RETRY, directory=directory, memory=memory)
    runtime_asyncio.run(partial(serve_alone, runtime_asyncio, app))


if __name__ == "__main__":
    main(sys.argv[1])
