"""Attacks over HTTP/2 and gRPC as a table: what a client sends, and what must come of its connection or its call.

Frames are made by hand: a library would refuse to send them. What an attack costs the other clients, and the server's
memory, is the business of the tests.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from typing import Final

import anyio
import hpack
from anyio.abc import SocketStream
from attrs import define, field, frozen

from tests.shell.harness import ALICE

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS, PADDED = 0x1, 0x4, 0x8
NONE, PROTOCOL, INTERNAL, FLOW_CONTROL, STREAM_CLOSED, FRAME_SIZE, COMPRESSION, CALM = None, 1, 2, 3, 5, 6, 9, 11
REFUSED: Final = 7
"""The codes of RFC 9113, section 7, that are of interest here; `NONE`: the connection ended without one."""

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
GET: Final = "/lf.a2a.v1.A2AService/GetTask"
LIST: Final = "/lf.a2a.v1.A2AService/ListTasks"
LIMIT: Final = 10_000
"""Bytes of a request, on the server that is attacked."""


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


@cache
def block(*more: tuple[str, str], path: str = GET, te: str = "trailers") -> bytes:
    """A header block that leaves the decoder's table as it is, so that it can be sent again and again."""
    fields = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "agent")]
    fields += [("te", te)] if te else []
    fields += [("content-type", "application/grpc"), ("authorization", f"Bearer {ALICE}"), *more]
    return hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*one) for one in fields])


def head(stream: int, flags: int = END_HEADERS) -> bytes:
    return frame(HEADERS, flags, stream, block())


def setting(name: int, value: int) -> bytes:
    return frame(SETTINGS, 0, 0, name.to_bytes(2, "big") + value.to_bytes(4, "big"))


def more_room(stream: int, bytes_: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, bytes_.to_bytes(4, "big"))


def malformed(stream: int, *more: tuple[str, str], flags: int = END_HEADERS | END_STREAM) -> bytes:
    return frame(HEADERS, flags, stream, block(*more))


def message(data: bytes, *, compressed: int = 0, length: int | None = None) -> bytes:
    return bytes((compressed,)) + (len(data) if length is None else length).to_bytes(4, "big") + data


def call(body: bytes, path: str = GET, stream: int = 1) -> bytes:
    """A call with this body, whole."""
    return frame(HEADERS, END_HEADERS, stream, block(path=path)) + frame(DATA, END_STREAM, stream, body)


def many(times: int, *frames: bytes) -> bytes:
    return b"".join(frames) * times


def on_streams(times: int, kind: int, payload: bytes) -> bytes:
    """A whole request on each of so many streams, and a frame after it."""
    streams = range(1, 2 * times, 2)
    return b"".join(head(one, END_HEADERS | END_STREAM) + frame(kind, 0, one, payload) for one in streams)


@frozen(kw_only=True)
class Attack:
    """Bytes that are `sent` behind the preface, and what must come of them.

    `codes`: one of them ends the connection, or the call where `ends` is False. `status`: that of gRPC with which the
    call ends. `http`: the status of an answer that is none of gRPC.
    """

    name: str
    sent: bytes
    codes: tuple[int | None, ...] = ()
    ends: bool = True
    status: int | None = None
    http: int | None = None


@define(eq=False)
class Attacker:
    """A connection that sends an attack, and what has come back on it.

    `ended`: the code of the connection's end, and `last`, the last stream that was served then; `reset`, `status`,
    `http`: what the first stream ended with, and began. `resets`: the codes of all streams that were reset;
    `answers`, `statuses`: those of HTTP and gRPC of all answers.
    """

    raw: SocketStream
    ended: int | None = None
    last: int | None = None
    reset: int | None = None
    status: int | None = None
    http: int | None = None
    closed: bool = False
    resets: dict[int, int] = field(factory=dict)
    answers: dict[int, int] = field(factory=dict)
    statuses: dict[int, int] = field(factory=dict)
    _buffer: bytes = b""
    _decoder: hpack.Decoder = field(factory=hpack.Decoder)

    async def run(self, attack: Attack) -> str:
        """Return what came of an attack otherwise than it must; nothing where all is well."""
        with suppress(anyio.BrokenResourceError):  # the connection may end before all is sent
            await self.raw.send(PREFACE + frame(SETTINGS, 0, 0) + attack.sent)
        while not self.closed and not self._is_answered(attack):
            await self.receive()
        if attack.codes and attack.ends:
            return "" if self.closed and self.ended in attack.codes else f"{self}"
        return "" if self._is_answered(attack) and not self.closed else f"{self}"

    def _is_answered(self, attack: Attack) -> bool:
        if attack.codes:
            return not attack.ends and self.reset in attack.codes
        return self.status == attack.status if attack.http is None else self.http == attack.http

    async def receive(self) -> None:
        """Take what comes next."""
        try:
            self._buffer += await self.raw.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            self.closed = True
        while len(self._buffer) >= 9:
            end = 9 + int.from_bytes(self._buffer[:3], "big")
            if len(self._buffer) < end:
                return
            head, payload = self._buffer[:9], self._buffer[9:end]
            self._buffer = self._buffer[end:]
            self._take(head[3], int.from_bytes(head[5:], "big"), payload)

    def _take(self, kind: int, stream: int, payload: bytes) -> None:
        if kind == GOAWAY:
            self.last, self.ended = int.from_bytes(payload[:4], "big"), int.from_bytes(payload[4:8], "big")
        elif kind == RST_STREAM:
            self.resets[stream] = int.from_bytes(payload, "big")
            self.reset = self.resets.get(1)
        elif kind == HEADERS:
            fields = dict(self._decoder.decode(payload, raw=True))
            if b":status" in fields:
                self.answers[stream] = int(fields[b":status"])
                self.http = self.answers.get(1)
            if b"grpc-status" in fields:
                self.statuses[stream] = int(fields[b"grpc-status"])
                self.status = self.statuses.get(1)


TASK: Final = b"\x12\x01t"  # a `GetTaskRequest` with the id `t`
BIG: Final = 2**31 - 1
BODY: Final = frame(DATA, END_STREAM, 1, message(TASK))
LARGEST: Final = 16_384  # bytes of a frame
LARGE: Final = block(("x", "~" * 17_000))
REFUSED_HEAD: Final = block(path="/\xff")  # which is not ASCII
ROOM: Final = BIG.to_bytes(4, "big")

ATTACKS: Final = (
    # requests that are given up
    Attack(name="rapid reset", sent=on_streams(300, RST_STREAM, b"\0\0\0\x08"), codes=(CALM,)),
    Attack(name="reset by data behind the end", sent=on_streams(300, DATA, bytes(64)), codes=(CALM,)),
    Attack(name="reset by a window too large", sent=on_streams(300, WINDOW_UPDATE, ROOM), codes=(CALM,)),
    Attack(name="streams beyond the bound", sent=b"".join(map(head, range(1, 700, 2))), codes=(CALM,)),
    Attack(
        name="malformed requests without end",
        sent=b"".join(malformed(one, ("X", "y")) for one in range(1, 400, 2)),
        codes=(CALM,),
    ),
    # windows
    Attack(name="a window of the connection by 0", sent=more_room(0, 0), codes=(PROTOCOL,)),
    Attack(name="a window of a stream by 0", sent=head(1) + more_room(1, 0), codes=(PROTOCOL,)),
    Attack(name="a window of the connection too large", sent=more_room(0, BIG), codes=(FLOW_CONTROL,)),
    Attack(
        name="a window of a stream too large", sent=head(1) + more_room(1, BIG), codes=(FLOW_CONTROL,), ends=False
    ),
    Attack(name="a first window too large", sent=setting(4, 2**31), codes=(FLOW_CONTROL,)),
    Attack(
        name="a window byte by byte",
        sent=setting(4, 1) + call(message(TASK)) + many(300, more_room(1, 1)),
        codes=(CALM,),
    ),
    Attack(
        name="more than the window", sent=head(1) + many(8, frame(DATA, 0, 1, bytes(16_000))), codes=(FLOW_CONTROL,)
    ),
    # floods
    Attack(name="settings", sent=many(2000, frame(SETTINGS, 0, 0)), codes=(CALM,)),
    Attack(name="settings of windows", sent=head(1) + many(300, setting(4, 1), setting(4, 65535)), codes=(CALM,)),
    Attack(name="settings of the table", sent=many(300, setting(1, 0), setting(1, 4096)), codes=(CALM,)),
    Attack(
        name="settings that nobody knows",
        sent=frame(SETTINGS, 0, 0, b"".join(n.to_bytes(2, "big") + bytes(4) for n in range(16, 2716))),
        codes=(CALM,),
    ),
    Attack(name="pings", sent=many(2000, frame(PING, 0, 0, bytes(8))), codes=(CALM,)),
    Attack(name="window updates", sent=many(2000, more_room(0, 1)), codes=(CALM,)),
    Attack(
        name="priorities",
        sent=b"".join(frame(PRIORITY, 0, number, bytes((0, 0, 0, 0, 9))) for number in range(1, 4000, 2)),
        codes=(CALM,),
    ),
    Attack(name="frames that nobody knows", sent=many(2000, frame(0xFA, 0, 0, b"x")), codes=(CALM,)),
    Attack(name="empty data", sent=head(1) + many(2000, frame(DATA, 0, 1)), codes=(CALM,)),
    Attack(
        name="data of padding", sent=head(1) + many(2000, frame(DATA, PADDED, 1, b"\x05" + bytes(5))), codes=(CALM,)
    ),
    Attack(
        name="data of much padding",
        sent=head(1) + many(500, frame(DATA, PADDED, 1, b"\x7f" + bytes(127))),  # as many as the window takes
        codes=(CALM,),
    ),
    # headers
    Attack(
        name="refused requests without end",
        sent=b"".join(frame(HEADERS, END_HEADERS | END_STREAM, one, REFUSED_HEAD) for one in range(1, 400, 2)),
        codes=(CALM,),
    ),
    Attack(
        name="headers of a request that was given up",
        sent=head(1) + frame(RST_STREAM, 0, 1, bytes(4)) + many(100, head(1)),
        codes=(CALM,),
    ),
    Attack(
        name="a header list too large",
        sent=frame(HEADERS, END_STREAM, 1, LARGE[:LARGEST]) + frame(CONTINUATION, END_HEADERS, 1, LARGE[LARGEST:]),
        http=431,
    ),
    Attack(
        name="continuations without end",
        sent=frame(HEADERS, 0, 1, block()) + many(2000, frame(CONTINUATION, 0, 1)),
        codes=(PROTOCOL, CALM),
    ),
    Attack(
        name="large continuations without end",
        sent=frame(HEADERS, 0, 1, block()) + many(200, frame(CONTINUATION, 0, 1, bytes(16_000))),
        codes=(PROTOCOL, CALM),
    ),
    Attack(
        name="a continuation with another frame before it",
        sent=frame(HEADERS, 0, 1, block()) + frame(PING, 0, 0, bytes(8)) + frame(CONTINUATION, END_HEADERS, 1),
        codes=(PROTOCOL,),
    ),
    Attack(
        name="a continuation of another stream",
        sent=frame(HEADERS, 0, 1, block()) + frame(CONTINUATION, END_HEADERS, 3),
        codes=(PROTOCOL,),
    ),
    Attack(
        name="a table too large",
        sent=frame(HEADERS, 5, 1, b"\x3f\xe1\xff\x03" + block()),
        codes=(PROTOCOL, COMPRESSION),
    ),
    Attack(
        name="an entry that is not there", sent=frame(HEADERS, 5, 1, b"\xff\x80\x01"), codes=(PROTOCOL, COMPRESSION)
    ),
    # malformed requests
    *(
        Attack(name=name, sent=sent, codes=(PROTOCOL,), ends=False)
        for name, sent in (
            ("a name in upper case", malformed(1, ("X", "y"))),
            ("a field of the connection", malformed(1, ("connection", "close"))),
            ("a pseudo-field that nobody knows", malformed(1, (":x", "y"))),
            ("a length that is none", malformed(1, ("content-length", "x"))),
            ("a body beyond its length", malformed(1, ("content-length", "1"), flags=END_HEADERS) + BODY),
            ("a body short of its length", malformed(1, ("content-length", "999"), flags=END_HEADERS) + BODY),
            (
                "trailers without an end",
                head(1) + frame(HEADERS, END_HEADERS, 1, hpack.Encoder().encode([("x", "y")])),
            ),
        )
    ),
    # frames out of place
    Attack(
        name="data behind the end",
        sent=call(message(TASK)) + frame(DATA, END_STREAM, 1, bytes(100)),
        codes=(STREAM_CLOSED,),
        ends=False,
    ),
    Attack(
        name="trailers that are the head again",
        sent=head(1) + head(1, END_HEADERS | END_STREAM),
        codes=(PROTOCOL,),
        ends=False,
    ),
    Attack(
        name="a target beyond ASCII", sent=frame(HEADERS, END_HEADERS | END_STREAM, 1, block(path="/\xe9")), http=400
    ),
    Attack(name="data of no stream", sent=frame(DATA, 0, 0, bytes(100)), codes=(PROTOCOL,)),
    Attack(name="data of a stream to come", sent=frame(DATA, 0, 7, bytes(100)), codes=(PROTOCOL,)),
    Attack(name="a stream of the server's", sent=head(2), codes=(PROTOCOL,)),
    Attack(name="a promise", sent=head(1) + frame(PUSH_PROMISE, 4, 1, bytes(4) + block()), codes=(PROTOCOL,)),
    Attack(
        name="a stream that depends on itself", sent=frame(PRIORITY, 0, 1, bytes((0, 0, 0, 1, 9))), codes=(PROTOCOL,)
    ),
    Attack(name="a frame too large", sent=head(1) + b"\xff\xff\xff\0\0" + bytes((0, 0, 0, 1)), codes=(CALM,)),
    Attack(name="a ping too short", sent=frame(PING, 0, 0, b"x"), codes=(FRAME_SIZE,)),
    # messages of gRPC
    Attack(
        name="a client that asks for no trailers",
        sent=frame(HEADERS, END_HEADERS, 1, block(te="")) + frame(DATA, END_STREAM, 1, message(TASK)),
        status=5,
    ),
    Attack(name="a length over the bound", sent=call(message(b"x", length=2**32 - 1)), status=3),
    Attack(name="a message that is cut", sent=call(message(TASK, length=100)), status=3),
    Attack(name="a prefix that is cut", sent=call(b"\0\0\0"), status=3),
    Attack(name="no message", sent=call(b""), status=3),
    Attack(name="two messages", sent=call(message(TASK) * 2), status=3),
    Attack(name="a compressed message", sent=call(message(TASK, compressed=1)), status=12),
    Attack(name="a message that is none", sent=call(message(b"\xff" * 50)), status=3),
    Attack(name="a message over the bound", sent=call(message(bytes(LIMIT))), status=11),
)
