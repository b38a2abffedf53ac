"""A stand-in for `opencode serve` that is never the bottleneck: what an adapter calls, from byte templates.

Run it alone with `python -m tests.benchmarks.upstream`. It must know nothing of A2A, nor of who calls it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from urllib.parse import parse_qs

import attrs

from tests.benchmarks import turns

Done = Callable[[bytes], None]

_HEARTBEAT_SECONDS = 10.0
_MAX_HEAD = 64 * 1024
_SSE_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n"
    b"connection: keep-alive\r\ntransfer-encoding: chunked\r\n\r\n"
)
_NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"
_PLAIN_READS = {
    b"/global/health": b'{"healthy":true,"version":"1.18.33"}',
    b"/permission": b"[]",
    b"/question": b"[]",
    b"/path": b'{"home":"/home/user","worktree":"/srv/project","directory":"/srv/project"}',
    b"/project/current": b'{"id":"global","worktree":"/srv/project","time":{"created":0},"sandboxes":[]}',
    b"/config/providers": b'{"providers":[],"default":{}}',
}


@attrs.frozen(kw_only=True)
class Pace:
    """How a turn goes: tokens per turn, seconds to the first, seconds between two (0: back to back)."""

    tokens: int = 20
    delay: float = 0.030
    interval: float = 0.0
    chatter: bool = False


@attrs.define(kw_only=True)
class Session:
    """One session: where it lives and what was said."""

    identifier: bytes
    directory: bytes
    created: bytes
    said: list[turns.Holes] = attrs.field(factory=list)


class Turn:
    """One prompt on its way through its script: a timer and the holes to fill."""

    def __init__(self, upstream: Upstream, session: Session, holes: turns.Holes, done: Done | None) -> None:
        self._upstream = upstream
        self._session = session
        self._holes = holes
        self._done = done
        self._timer = asyncio.get_running_loop().call_later(upstream.pace.delay, self._begin)

    def abort(self) -> None:
        self._timer.cancel()
        self._upstream.busy.pop(self._session.identifier, None)
        self._upstream.say(lambda form: form.aborted, self._holes)
        self._finish()

    def _begin(self) -> None:
        self._upstream.say(lambda form: form.turn.opening, self._holes)
        if self._upstream.pace.interval > 0:
            self._delta(0)
            return
        for index in range(self._upstream.pace.tokens):
            self._upstream.say_token(index, self._holes)
        self._end()

    def _delta(self, index: int) -> None:
        if index == self._upstream.pace.tokens:
            self._end()
            return
        self._upstream.say_token(index, self._holes)
        wait = self._upstream.pace.interval
        self._timer = asyncio.get_running_loop().call_later(wait, self._delta, index + 1)

    def _end(self) -> None:
        self._upstream.busy.pop(self._session.identifier, None)
        self._session.said.append(self._holes)
        self._upstream.turns += 1
        self._upstream.say(lambda form: form.turn.closing, self._holes)
        self._finish()

    def _finish(self) -> None:
        if self._done is not None:
            self._done(self._upstream.answer % self._holes)


class Channel:
    """One event stream's address (`/event` or `/global/event`): its wire form and who listens."""

    def __init__(self, form: turns.Form) -> None:
        self.form = form
        self._listeners: set[asyncio.Transport] = set()

    def join(self, transport: asyncio.Transport) -> None:
        transport.write(_SSE_HEAD + turns.sse_chunk(self.form.connected))
        self._listeners.add(transport)

    def leave(self, transport: asyncio.Transport) -> None:
        self._listeners.discard(transport)

    def say(self, templates: Iterable[bytes], holes: turns.Holes) -> None:
        """Writes the events together, each in an HTTP chunk of its own, to everybody who listens."""
        if self._listeners:
            self.write(b"".join(turns.sse_chunk(template % holes) for template in templates))

    def write(self, rendered: bytes) -> None:
        """Writes chunks that are rendered to everybody who listens."""
        for listener in self._listeners:
            if not listener.is_closing():
                listener.write(rendered)


class Upstream:
    """All state of the stand-in: sessions, and the two event channels."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self.turns = 0
        self.answer = turns.answer(pace.tokens)
        self.sessions: dict[bytes, Session] = {}
        self.busy: dict[bytes, Turn] = {}
        self.directory_channel = Channel(turns.directory_form(pace.tokens, chatter=pace.chatter))
        self.global_channel = Channel(turns.global_form(pace.tokens, chatter=pace.chatter))
        self._channels = (self.directory_channel, self.global_channel)
        self._session_info = turns.session_info()
        self._messages = turns.messages()
        self._count = 0

    def say(self, choose: Callable[[turns.Form], Iterable[bytes]], holes: turns.Holes) -> None:
        for channel in self._channels:
            channel.say(choose(channel.form), holes)

    def say_token(self, index: int, holes: turns.Holes) -> None:
        for channel in self._channels:
            channel.say((channel.form.turn.deltas[index],), holes)

    def heartbeat(self) -> None:
        self.say(lambda form: (form.heartbeat,), {})

    def create(self, directory: bytes) -> Session:
        token, now = self._unique()
        session = Session(identifier=b"ses_%b000000" % token, directory=directory, created=now)
        self.sessions[session.identifier] = session
        self.say(lambda form: form.created, self._session_holes(session, token))
        return session

    def describe(self, session: Session) -> bytes:
        return self._session_info % self._session_holes(session, b"")

    def prompt(self, session: Session, body: bytes, done: Done | None) -> None:
        """Starts a turn. `done` is called with the answer's body when the turn has ended.

        Raises ValueError, KeyError or TypeError for a body that is no prompt.
        """
        prompt = json.loads(body)
        token, now = self._unique()
        texts = [part["text"] for part in prompt["parts"] if part["type"] == "text"]
        holes = {
            b"SESSION": session.identifier,
            b"DIRECTORY": session.directory,
            b"TURN": token,
            b"NOW": now,
            b"USER": _escaped(prompt["messageID"]) if "messageID" in prompt else b"msg_%b000009" % token,
            b"TEXT": _escaped("\n".join(texts)),
        }
        self.busy[session.identifier] = Turn(self, session, holes, done)

    def messages(self, session: Session) -> bytes:
        return b"[" + b",".join(self._messages % holes + self.answer % holes for holes in session.said) + b"]"

    def status(self) -> bytes:
        return b"{" + b",".join(b'"%b":{"type":"busy"}' % identifier for identifier in self.busy) + b"}"

    def facts(self) -> bytes:
        facts = {**attrs.asdict(self.pace), "turns": self.turns, "sessions": len(self.sessions), "pid": os.getpid()}
        return json.dumps(facts).encode()

    def _session_holes(self, session: Session, token: bytes) -> turns.Holes:
        where = {b"SESSION": session.identifier, b"DIRECTORY": session.directory}
        return {**where, b"NOW": session.created, b"TURN": token}

    def _unique(self) -> tuple[bytes, bytes]:
        """Twenty characters that sort by time as OpenCode's ids do, and the time itself in ms."""
        self._count += 1
        now = time.time_ns() // 1_000_000
        moment = (now * 4096 + self._count % 4096) % 2**48
        return b"%012x%08d" % (moment, self._count % 10**8), b"%d" % now


class Connection(asyncio.Protocol):
    """One HTTP/1.1 connection: reads a request at a time, answers it from the upstream's state."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._waiting = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._upstream.directory_channel.leave(self._transport)
            self._upstream.global_channel.leave(self._transport)
            self._transport = None

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._serve()

    def _serve(self) -> None:
        while not self._waiting and self._transport is not None:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > _MAX_HEAD:
                    self._transport.abort()
                return
            head = bytes(self._buffer[:end])
            size = _content_length(head)
            if size is None:
                self._reply(b'{"name":"BadRequest","data":{}}', status=b"411 Length Required")
                self._transport.close()
                return
            if len(self._buffer) < end + 4 + size:
                return
            body = bytes(self._buffer[end + 4 : end + 4 + size])
            del self._buffer[: end + 4 + size]
            method, target = head.split(b" ", 2)[:2]
            path, _, query = target.partition(b"?")
            self.route(method, path, query, body)

    def route(self, method: bytes, path: bytes, query: bytes, body: bytes) -> None:
        upstream = self._upstream
        match (method, *path.split(b"/")[1:]):
            case (b"POST", b"session"):
                self._reply(upstream.describe(upstream.create(_directory(query))))
            case (b"GET", b"event"):
                self._listen(upstream.directory_channel)
            case (b"GET", b"global", b"event"):
                self._listen(upstream.global_channel)
            case (b"GET", b"session"):
                self._reply(b"[" + b",".join(map(upstream.describe, upstream.sessions.values())) + b"]")
            case (b"GET", b"session", b"status"):
                self._reply(upstream.status())
            case (_, b"session", identifier, *rest):
                self._session(method, identifier, rest, body)
            case (b"GET", b"benchmark"):
                self._reply(upstream.facts())
            case (b"GET", *_) if path in _PLAIN_READS:
                self._reply(_PLAIN_READS[path])
            case _:
                self._unknown(method, path)

    def _session(self, method: bytes, identifier: bytes, rest: list[bytes], body: bytes) -> None:
        session = self._upstream.sessions.get(identifier)
        if session is None:
            shown = json.dumps(f"Session not found: {identifier.decode(errors='replace')}").encode()
            self._reply(b'{"name":"NotFoundError","data":{"message":%b}}' % shown, status=b"404 Not Found")
            return
        match (method, *rest):
            case (b"POST", b"prompt_async" | b"message" as how):
                self._prompt(session, body, wait=how == b"message")
            case (b"GET", b"message"):
                self._reply(self._upstream.messages(session))
            case (b"GET",):
                self._reply(self._upstream.describe(session))
            case (b"GET", b"children" | b"todo" | b"diff"):
                self._reply(b"[]")
            case (b"POST", b"abort"):
                self._reply(b"true")
                if (turn := self._upstream.busy.get(identifier)) is not None:
                    turn.abort()
            case _:
                self._unknown(method, b"/session/{id}/" + b"/".join(rest))

    def _prompt(self, session: Session, body: bytes, *, wait: bool) -> None:
        try:
            self._upstream.prompt(session, body, self._answered if wait else None)
        except (ValueError, KeyError, TypeError):
            self._reply(b'{"name":"BadRequest","data":{}}', status=b"400 Bad Request")
            return
        if wait:
            self._waiting = True
        else:
            self._write(_NO_CONTENT)

    def _answered(self, body: bytes) -> None:
        self._waiting = False
        self._reply(body)
        self._serve()

    def _listen(self, channel: Channel) -> None:
        if self._transport is not None:
            self._waiting = True
            channel.join(self._transport)

    def _unknown(self, method: bytes, path: bytes) -> None:
        asked = f"{method.decode(errors='replace')} {path.decode(errors='replace')}"
        print(f"upstream: no such route: {asked}", file=sys.stderr, flush=True)
        self._reply(b'{"name":"NotFoundError","data":{"message":"no such route"}}', status=b"404 Not Found")

    def _reply(self, body: bytes, *, status: bytes = b"200 OK") -> None:
        head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        self._write(head % (status, len(body)) + body)

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


def _content_length(head: bytes) -> int | None:
    """The body's size in bytes; None where the head does not tell it in a way this server reads."""
    lower = head.lower()
    if b"\r\ntransfer-encoding:" in lower:
        return None
    at = lower.find(b"\r\ncontent-length:")
    if at < 0:
        return 0
    value = lower[at + 17 :].split(b"\r\n", 1)[0].strip()
    return int(value) if value.isdigit() else None


def _directory(query: bytes) -> bytes:
    named = parse_qs(query.decode(errors="replace")).get("directory") if query else None
    return _escaped(named[0]) if named else b"/srv/project"


def _escaped(text: str) -> bytes:
    return json.dumps(text)[1:-1].encode()


async def _beat(upstream: Upstream) -> None:
    while True:
        await asyncio.sleep(_HEARTBEAT_SECONDS)
        upstream.heartbeat()


async def serve(pace: Pace, host: str, port: int) -> None:
    """Serves until cancelled; says on stderr where it listens."""
    upstream = Upstream(pace)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(upstream), host, port, backlog=1024)
    print(f"listening on http://{host}:{server.sockets[0].getsockname()[1]}", file=sys.stderr, flush=True)
    async with server:
        await _beat(upstream)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.upstream", description="A stand-in OpenCode for benchmarks."
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1")
    add("--port", type=int, default=0, help="0 (the default) takes a free one")
    add("--tokens", type=int, default=20, help="tokens per turn (20)")
    add("--delay-ms", type=float, default=30.0, help="from the prompt to the turn's first event (30)")
    add(
        "--token-interval-ms",
        type=float,
        default=0.0,
        help="between tokens; 0: a write each, back to back (0)",
    )
    add(
        "--chatter",
        action="store_true",
        help="also session.updated, session.diff and the repeats of a real turn",
    )
    options = parser.parse_args()
    pace = Pace(
        tokens=options.tokens,
        delay=options.delay_ms / 1000,
        interval=options.token_interval_ms / 1000,
        chatter=options.chatter,
    )
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(pace, options.host, options.port))


if __name__ == "__main__":
    main()
