"""A scripted OpenCode whose answers are as large as they get: providers, sessions, messages, and events at once.

Run it with `python -m tests.benchmarks.large_upstream`. Knows nothing of A2A, nor of who calls it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys

import orjson

from tests.benchmarks.large_answers import catalogue
from tests.benchmarks.turns import Holes, sse_chunk
from tests.benchmarks.upstream import Connection, Done, Pace, Session, Turn, Upstream

SESSION = b"ses_large"
SESSIONS = 100
MESSAGES = 100
_TEXT = "word " * 8000


class LargeUpstream(Upstream):
    """Answers with what is large. `gather`: turns go on together, in one write, once there are so many.

    `left`: sessions named `ses_left_` and a number at which it works for ever.
    """

    def __init__(self, pace: Pace, *, gather: int, left: int) -> None:
        super().__init__(pace)
        self.providers = catalogue()
        self._gather = gather
        self._waiting: list[tuple[Session, Holes]] = []
        for number in range(left):
            session = Session(identifier=b"ses_left_%d" % number, directory=b"/srv/project", created=b"1700000000000")
            self.sessions[session.identifier] = session
            holes = {b"SESSION": session.identifier, b"TURN": b"t", b"DIRECTORY": session.directory, b"TEXT": b""}
            self.busy[session.identifier] = _Endless(self, session, holes, None)
        times = {"created": 1_700_000_000_000, "updated": 1_700_000_000_000}
        self.listed = orjson.dumps(
            [
                {
                    "id": f"ses_{number:020d}",
                    "slug": "s",
                    "version": "1",
                    "projectID": "global",
                    "directory": "/srv/project",
                    "title": "title " * 1000,
                    "time": times,
                    "summary": {"additions": 1, "deletions": 1, "files": 1, "diffs": [{"file": "a" * 99}] * 200},
                }
                for number in range(SESSIONS)
            ]
        )
        self.said = orjson.dumps(
            [
                {
                    "info": {
                        "id": f"msg_{number:020d}",
                        "sessionID": SESSION.decode(),
                        "role": "assistant",
                        "time": {**times, "completed": 1_700_000_000_001},
                    },
                    "parts": [
                        {
                            "id": f"prt_{number}_{part}",
                            "sessionID": SESSION.decode(),
                            "messageID": f"msg_{number:020d}",
                            "type": "text",
                            "text": _TEXT,
                        }
                        for part in range(2)
                    ],
                }
                for number in range(MESSAGES)
            ]
        )
        self.sessions[SESSION] = Session(identifier=SESSION, directory=b"/srv/project", created=b"1700000000000")

    def prompt(self, session: Session, body: bytes, done: Done | None) -> None:
        if isinstance(self.busy.get(session.identifier), _Endless):
            return
        if not self._gather:
            super().prompt(session, body, done)
            return
        prompt = orjson.loads(body)
        token, now = self._unique()
        holes = {
            b"SESSION": session.identifier,
            b"DIRECTORY": session.directory,
            b"TURN": token,
            b"NOW": now,
            b"USER": prompt["messageID"].encode(),
            b"TEXT": b"hi",
        }
        self._waiting.append((session, holes))
        if len(self._waiting) == self._gather:
            asyncio.get_running_loop().call_later(1.0, self._go_on)

    def _go_on(self) -> None:
        """Write the turns' events piece by piece across all turns, at once."""
        turns, self._waiting = self._waiting, []
        for channel in self._channels:
            turn = channel.form.turn
            scripts = [turn.opening, *((delta,) for delta in turn.deltas), turn.closing]
            channel.write(
                b"".join(sse_chunk(one % holes) for script in scripts for _, holes in turns for one in script)
            )
        for session, holes in turns:
            session.said.append(holes)


class _Endless(Turn):
    def _begin(self) -> None:
        """Say nothing."""


class _LargeConnection(Connection):
    def __init__(self, upstream: LargeUpstream) -> None:
        super().__init__(upstream)
        self._large = upstream

    def route(self, method: bytes, path: bytes, query: bytes, body: bytes) -> None:
        match (method, *path.split(b"/")[1:]):
            case (b"GET", b"provider"):
                self._reply(self._large.providers)
            case (b"GET", b"session"):
                self._reply(self._large.listed)
            case (b"GET", b"session", identifier, b"message") if identifier == SESSION:
                self._reply(self._large.said)
            case _:
                super().route(method, path, query, body)


async def _serve(upstream_options: argparse.Namespace) -> None:
    pace = Pace(tokens=upstream_options.tokens)
    upstream = LargeUpstream(pace, gather=upstream_options.gather, left=upstream_options.left)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _LargeConnection(upstream), "127.0.0.1", 0, backlog=1024)
    port = server.sockets[0].getsockname()[1]
    print(f"listening on http://127.0.0.1:{port}", file=sys.stderr, flush=True)
    async with server:
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.large_upstream", description=__doc__)
    parser.add_argument("--tokens", type=int, default=20, help="tokens per turn (20)")
    parser.add_argument("--gather", type=int, default=0, help="turns whose events come at once, in one write")
    parser.add_argument("--left", type=int, default=0, help="sessions that are busy for ever")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
