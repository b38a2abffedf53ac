"""Agents that mean harm, or are broken: a table of what they send, and a TCP server that sends it.

Knows HTTP as bytes and the shape of cards and tasks. What a client must make of a case stands in its row; how the
client is driven is not known here.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from enum import Enum
from typing import Any, Final, TypeAlias

import anyio
import orjson
from anyio.abc import ByteStream
from attrs import define, field, frozen

from tests.listening import listening

Step: TypeAlias = bytes | Callable[[ByteStream], Awaitable[None]]
Script: TypeAlias = Callable[[str], Sequence[Step]]
"""Bytes to send, or a function that sends them; made of the server's URL. The connection is closed after it."""

TIMEOUT: Final = 1.0
"""Seconds of silence that the client allows in these cases."""
PACE: Final = 0.1
"""Seconds between two bytes of a slow answer: less than `TIMEOUT`, so that it is never silent for too long."""


class Outcome(Enum):
    """Result of a call. `ENDLESS`: it goes on for as long as it is let, and then ends at once."""

    ANSWER = "answer"
    REFUSED = "refusal"
    INVALID = "invalid answer"
    UNREACHABLE = "unavailable"
    USAGE = "usage"
    ENDLESS = "until canceled"


# --- bytes ------------------------------------------------------------------------------------------------


def head(status: str = "200 OK", *lines: str) -> bytes:
    """The head of an answer that ends with its connection."""
    return "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status}", *lines, "connection: close", "")).encode(
        "latin-1"
    )


def whole(body: bytes, *lines: str, status: str = "200 OK", content_type: str = "application/json") -> bytes:
    """A whole answer."""
    return head(status, f"content-type: {content_type}", f"content-length: {len(body)}", *lines) + body


def card(url: str, *, streaming: bool = True, interface: str = "", **more: object) -> bytes:
    """An answer with a card of one JSON-RPC interface, which is at `interface`, or else at the server itself."""
    interfaces = [{"protocolBinding": "JSONRPC", "protocolVersion": "1.0", "url": interface or f"{url}/rpc"}]
    value = {"name": "hostile", "capabilities": {"streaming": streaming}, "supportedInterfaces": interfaces}
    return whole(orjson.dumps(value | more))


def event(result: object) -> bytes:
    return b"data: " + orjson.dumps({"jsonrpc": "2.0", "id": "1", "result": result}) + b"\n\n"


def status(state: str, task: str = "t", context: str = "c") -> dict[str, object]:
    return {"statusUpdate": {"taskId": task, "contextId": context, "status": {"state": f"TASK_STATE_{state}"}}}


def artifact(text: str, task: str = "t", *, append: bool = False, name: str = "a") -> dict[str, object]:
    made = {"artifactId": name, "parts": [{"text": text}]}
    return {"artifactUpdate": {"taskId": task, "contextId": "c", "artifact": made, "append": append}}


def task(*artifacts: object, state: str = "COMPLETED", context: str = "c") -> dict[str, object]:
    made = {"id": "t", "contextId": context, "status": {"state": f"TASK_STATE_{state}"}, "artifacts": artifacts}
    return {"task": made}


EVENTS: Final = head("200 OK", "content-type: text/event-stream")
WORKING: Final = event(status("WORKING"))
HELLO: Final = (WORKING, event(artifact("Hello")), event(status("COMPLETED")))


def stream(*events: bytes) -> Script:
    return lambda url: (EVENTS, *events)


def result(value: object, **envelope: object) -> Script:
    """A whole JSON-RPC answer."""
    return lambda url: (whole(orjson.dumps({"jsonrpc": "2.0", "id": "1", "result": value} | envelope)),)


def send(*steps: Step) -> Script:
    return lambda url: steps


def endless(piece: bytes) -> Step:
    """Send it again and again, until the client has gone."""

    async def run(stream: ByteStream) -> None:
        many = piece * (65536 // len(piece) + 1)
        while True:
            await stream.send(many)

    return run


def slowly(data: bytes) -> Step:
    """Send a byte now and then, and in the end stay silent."""

    async def run(stream: ByteStream) -> None:
        for index in range(len(data)):
            await stream.send(data[index : index + 1])
            await anyio.sleep(PACE)

    return run


async def silence(stream: ByteStream) -> None:
    """Wait until the client has gone."""
    await stream.receive()


# --- the table --------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class Case:
    """What is sent in place of a card, or of the answer to a message; the other one is in order.

    `outcome`, `text`: what the client must report; the text is a part of its message. `out`: the whole text of the
    answer that it may show. `seconds`, `megabytes`: the most it may take; of memory, beyond what it had. `patience`:
    seconds that the client waits for the whole answer, and for a change.
    """

    name: str
    outcome: Outcome
    card: Script | None = None
    answer: Script = stream(*HELLO)
    streaming: bool = True
    credentials: bool = False
    text: str = ""
    out: str = ""
    seconds: float = 3.0
    megabytes: float = 48.0
    patience: float = TIMEOUT


def _nested(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


def _compressed_zeros(mebibytes: int) -> bytes:
    """Zeros as a file of gzip. Each mebibyte is compressed alike, so one is: every process makes this table."""
    piece, deflate = bytes(1 << 20), zlib.compressobj(wbits=-zlib.MAX_WBITS)
    compressed = deflate.compress(piece) + deflate.flush(zlib.Z_FULL_FLUSH)
    checksum = 0
    for _ in range(mebibytes):
        checksum = zlib.crc32(piece, checksum)
    head, tail = b"\x1f\x8b\x08" + bytes(6) + b"\xff", struct.pack("<II", checksum, mebibytes * len(piece))
    return head + compressed * mebibytes + deflate.flush() + tail


_BOMB: Final = _compressed_zeros(256)
_MANY: Final = orjson.dumps({"artifactId": "a", "parts": [{"text": "x"}]})
_ESCAPES: Final = "\x1b]0;owned\x07\x1b[2J\x00\x9b31m\u202e"
_JSON_HEAD: Final = head("200 OK", "content-type: application/json")


def _many_artifacts(url: str) -> Sequence[Step]:
    """A task of 100,000 artifacts with a byte each; its answer is smaller than the client's limit."""

    async def run(stream: ByteStream) -> None:
        await stream.send(b'{"jsonrpc":"2.0","id":"1","result":{"task":{"id":"t","contextId":"c",')
        await stream.send(b'"status":{"state":"TASK_STATE_COMPLETED"},"artifacts":[' + _MANY)
        for _ in range(100):
            await stream.send((b"," + _MANY) * 1000)
        await stream.send(b"]}}}")

    return (_JSON_HEAD, run)


def _interface(url: str) -> Script:
    """A card whose interface is somewhere else."""
    return lambda own: (card(own, interface=url),)


def _on(name: str, outcome: Outcome, script: Script, **more: Any) -> Case:
    return Case(name=name, outcome=outcome, answer=script, **more)


def _at_card(name: str, outcome: Outcome, script: Script, **more: Any) -> Case:
    return Case(name=name, outcome=outcome, card=script, **more)


_OTHER_TYPE: Final[Script] = lambda url: (card(url).replace(b"application/json", b"x/y"),)  # noqa: E731
_BROKEN, _INVALID, _ANSWER = Outcome.UNREACHABLE, Outcome.INVALID, Outcome.ANSWER
# A bound on bytes ends these, also on a machine that is busy.
_BY_SIZE: Final[Mapping[str, float]] = {"seconds": 20.0, "patience": 10.0}
_FOUND: Final = ("301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect")

CASES: Final = (
    _at_card("a card of endless bytes", _INVALID, send(_JSON_HEAD, endless(b"x")), text="larger than"),
    _at_card("a card larger than the limit", _INVALID, send(whole(b" " * (1 << 21))), text="larger than"),
    _at_card(
        "a card that announces a petabyte",
        _INVALID,
        send(head("200 OK", f"content-length: {10**15}"), endless(b" ")),
        text="larger than",
    ),
    _at_card("endless header lines", _BROKEN, send(b"HTTP/1.1 200 OK\r\n", endless(b"x: y\r\n"))),
    _at_card("an endless header line", _BROKEN, send(b"HTTP/1.1 200 OK\r\nx: ", endless(b"y"))),
    _at_card("endless informational answers", _BROKEN, send(endless(b"HTTP/1.1 102 Processing\r\n\r\n"))),
    _at_card("a head, a byte at a time", _BROKEN, send(slowly(head("200 OK", "x: " + "y" * 500)))),
    _at_card("a card, a byte at a time", _BROKEN, send(_JSON_HEAD, slowly(b" " * 500))),
    _at_card("closed at once", _BROKEN, send()),
    _at_card("closed in the head", _BROKEN, send(b"HTTP/1.1 200 OK\r\ncontent-ty")),
    _at_card("closed in the card", _BROKEN, send(head("200 OK", "content-length: 500"), b'{"name"')),
    *(
        _at_card(f"the card: {found}", _INVALID, send(head(found, "location: http://127.0.0.2:9/")), text="redirects")
        for found in _FOUND
    ),
    _at_card("a card that is a page", _INVALID, send(whole(b"<html>", content_type="text/html")), text="not JSON"),
    _at_card("a card that is nothing", _INVALID, send(whole(b"")), text="not JSON"),
    _at_card("a card nested 100,000 deep", _INVALID, send(_JSON_HEAD, _nested(100_000)), text="not JSON"),
    _at_card("a card of another type", _ANSWER, _OTHER_TYPE, out="Hello"),
    _at_card("two lengths", _BROKEN, send(head("200 OK", "content-length: 2", "content-length: 3"), b"{} ")),
    _at_card("a chunk that is none", _BROKEN, send(head("200 OK", "transfer-encoding: chunked"), b"zz\r\n{}\r\n")),
    _at_card(
        "a length and chunks",
        _INVALID,
        send(head("200 OK", "transfer-encoding: chunked", "content-length: 9"), b"0\r\n\r\n"),
    ),
    _at_card(
        "a card compressed a thousandfold",
        _INVALID,
        send(whole(_BOMB, "content-encoding: gzip")),
    ),
    _at_card(
        "an interface on another host",
        Outcome.USAGE,
        _interface("http://127.0.0.2:9/"),
        credentials=True,
        text="127.0.0.2",
    ),
    _at_card(
        "an interface in a private network",
        Outcome.USAGE,
        _interface("http://10.0.0.1/"),
        credentials=True,
        text="10.0.0.1",
    ),
    _at_card(
        "an interface that is a file",
        _INVALID,
        _interface("file:///etc/passwd"),
        text="http://",
    ),
    _at_card(
        "an interface with a password",
        _INVALID,
        _interface("http://a:b@127.0.0.1/"),
        text="user name",
    ),
    _at_card(
        "401 with an odd challenge",
        Outcome.REFUSED,
        send(whole(b"{}", "www-authenticate: =,,\x80 Bearer realm", status="401 Unauthorized")),
        text="401",
    ),
    *(
        _on(f"the call: {found}", _INVALID, send(head(found, "location: http://127.0.0.2:9/")), text="redirects")
        for found in _FOUND
    ),
    _on(
        "429 and a year to wait",
        Outcome.REFUSED,
        send(whole(b"{}", "retry-after: 31536000", status="429 Too Many Requests")),
        text="429",
    ),
    _on("503 that never ends", Outcome.REFUSED, send(whole(b"{}", status="503 Service Unavailable")), text="503"),
    _on("an answer that is a page", _INVALID, send(whole(b"<html>", content_type="text/html")), text="not JSON"),
    _on("a result of another shape", _INVALID, result({"task": {"id": 7}}), text="task.id"),
    _on("the id of another request", _ANSWER, result(task(orjson.loads(_MANY)), id="other"), out="x"),
    _on("an error that is no object", Outcome.REFUSED, result(None, error="no"), text=""),
    _on("a task of 100,000 artifacts", _ANSWER, _many_artifacts, megabytes=300.0, out="x", **_BY_SIZE),
    _on(
        "an endless answer",
        _INVALID,
        send(_JSON_HEAD, endless(b" ")),
        text="larger than",
        megabytes=200.0,
        **_BY_SIZE,
    ),
    _on("an answer, a byte at a time", _BROKEN, send(_JSON_HEAD, slowly(b" " * 500))),
    _on("an answer nested 100,000 deep", _INVALID, send(_JSON_HEAD, _nested(100_000)), text="not JSON"),
    _on(
        "an event without an end",
        _INVALID,
        send(EVENTS, endless(b"data: x")),
        text="bytes",
        megabytes=128.0,
        **_BY_SIZE,
    ),
    _on("endless small events", _BROKEN, send(EVENTS, endless(WORKING)), text="has not changed"),
    _on("endless comments", _BROKEN, send(EVENTS, endless(b":\n")), text="has not changed"),
    _on("an event that is not JSON", _INVALID, stream(WORKING, b"data: {oops\n\n"), text="not JSON"),
    _on("an event that is not UTF-8", _INVALID, stream(WORKING, b'data: {"a":"\xff\xfe"}\n\n'), text="not JSON"),
    _on(
        "an event nested 100,000 deep",
        _INVALID,
        stream(WORKING, b"data: " + _nested(100_000) + b"\n\n"),
        text="not JSON",
    ),
    _on("an event of another version", _INVALID, stream(event({"kind": "task", "id": "t"})), text=""),
    _on(
        "states after the last one",
        _ANSWER,
        stream(*HELLO, event(status("FAILED")), event(status("WORKING"))),
        out="Hello",
    ),
    _on(
        "a compressed stream",
        _INVALID,
        send(head("200 OK", "content-type: text/event-stream", "content-encoding: gzip"), _BOMB),
    ),
    _on(
        "escape sequences",
        _ANSWER,
        stream(WORKING, event(artifact(f"{_ESCAPES}Hello")), event(status("COMPLETED"))),
        out="Hello",
    ),
    _on("a task of another context", _ANSWER, stream(event(task(orjson.loads(_MANY), context="other"))), out="x"),
)


# --- the server -------------------------------------------------------------------------------------------


@define(eq=False)
class HostileAgent:
    """Serves a case. `requests` are the first lines of what was asked."""

    case: Case
    url: str = ""
    requests: list[str] = field(factory=list)

    async def serve(self, stream: ByteStream) -> None:
        async with stream:
            try:
                await self._answer(stream)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream):
                return  # the client has gone

    async def _answer(self, stream: ByteStream) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            data += await stream.receive()
        header, _, body = data.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", header.lower())
        while length is not None and len(body) < int(length[1]):
            body += await stream.receive()
        asked = header.partition(b"\r\n")[0].decode()
        self.requests.append(asked)
        for step in self._script(asked):
            if isinstance(step, bytes):
                await stream.send(step)
            else:
                await step(stream)

    def _script(self, asked: str) -> Sequence[Step]:
        if asked.startswith("GET /.well-known/"):
            return self.case.card(self.url) if self.case.card else (card(self.url, streaming=self.case.streaming),)
        return self.case.answer(self.url)


@asynccontextmanager
async def misbehaving(case: Case) -> AsyncGenerator[HostileAgent]:
    """Serve a case on a free loopback port."""
    agent = HostileAgent(case)
    async with listening(agent.serve) as port:
        agent.url = f"http://127.0.0.1:{port}"
        yield agent
