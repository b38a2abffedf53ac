"""Frames that break RFC 6455, and floods: the connection ends with the code that says why, and the server lives."""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import Any

import pytest
from anyio import BrokenResourceError, Event, create_task_group, move_on_after, sleep
from anyio.abc import SocketStream
from attrs import evolve

from opencode_a2a.cli.connection_limits import connection_limits
from opencode_a2a.server.websocket import connection as served
from sansio.a2a.websocket.session import SessionLimits
from sansio.transport.connections import ConnectionLimits
from tests.runtimes.apps import hello
from tests.shell import harness
from tests.shell.harness import Serving
from tests.shell.server.websocket.client import connection, handshake
from tests.shell.server.websocket.test_operations import ON, short, started, text_of

pytestmark = pytest.mark.anyio

LIST = b'{"jsonrpc":"2.0","id":1,"method":"ListTasks","params":{}}'
TEXT, BINARY, CLOSE, PING, PONG, MORE = 0x1, 0x2, 0x8, 0x9, 0xA, 0x0


def frame(opcode: int, data: bytes = b"", *, fin: bool = True, rsv: int = 0, masked: bool = True) -> bytes:
    """A frame of a client."""
    size = len(data)
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    mask = 0x80 if masked else 0
    if size < 126:
        head += bytes([mask | size])
    elif size < 65536:
        head += bytes([mask | 126]) + struct.pack("!H", size)
    else:
        head += bytes([mask | 127]) + struct.pack("!Q", size)
    return head + (b"\0\0\0\0" if masked else b"") + data


NONSENSE = frame(TEXT, b'{"jsonrpc":"2.0","id":"' + b"x" * 256 + b'"}') * 200
"""Messages that are no requests, each of which has a long answer."""
CARDS = b"".join(
    frame(TEXT, b'{"jsonrpc":"2.0","id":%d,"method":"GetExtendedAgentCard"}' % number) for number in range(100)
)
"""Requests whose answers are longer still."""


def closing(code: int, reason: bytes = b"") -> bytes:
    """A close frame."""
    return frame(CLOSE, struct.pack("!H", code) + reason)


def parts(opcode: int, *data: bytes) -> bytes:
    """A message in fragments."""
    *first, last = data
    opcodes = [opcode, *[MORE] * len(first)]
    begun = b"".join(frame(kind, one, fin=False) for kind, one in zip(opcodes, first, strict=False))
    return begun + frame(opcodes[-1], last)


def sized(opcode: int, size: bytes, data: bytes = b"") -> bytes:
    """A frame whose size is written as `size`: one byte, and perhaps two or eight more."""
    return bytes([0x80 | opcode, 0x80 | size[0]]) + size[1:] + b"\0\0\0\0" + data


_BAD_TEXTS = {
    "a byte of no text": b"\xff",
    "a long form": b"\xc0\xaf",
    "half of a surrogate pair": b"\xed\xa0\x80",
    "a character beyond all": b"\xf4\x90\x80\x80",
}
_NO_CODES = (0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65535)

HOSTILE: dict[str, tuple[bytes, int]] = {
    **{f"reserved bits {bits}": (frame(TEXT, LIST, rsv=bits), 1002) for bits in (4, 2, 1, 7)},
    "reserved bits of a ping": (frame(PING, rsv=4), 1002),
    **{f"opcode {opcode}": (frame(opcode, LIST), 1002) for opcode in (0x3, 0x7, 0xB, 0xF)},
    "a message without a mask": (frame(TEXT, LIST, masked=False), 1002),
    "a ping without a mask": (frame(PING, masked=False), 1002),
    "a fragmented ping": (frame(PING, fin=False), 1002),
    "a fragmented close": (frame(CLOSE, fin=False), 1002),
    "a long ping": (frame(PING, b"x" * 126), 1002),
    "a long close": (closing(1000, b"x" * 124), 1002),
    "a very long pong": (frame(PONG, b"x" * 70_000), 1002),
    "a size of two bytes where one does": (sized(TEXT, b"\x7e\x00\x05", b"hello"), 1002),
    "a size of eight bytes where one does": (sized(TEXT, b"\x7f" + bytes(7) + b"\x05", b"hello"), 1002),
    "a negative size": (sized(TEXT, b"\x7f\xff" + bytes(7)), 1002),
    "a continuation of nothing": (frame(MORE, LIST), 1002),
    "a continuation after a message": (parts(TEXT, b" ", LIST) + frame(MORE, LIST), 1002),
    "a message within a message": (frame(TEXT, b"{", fin=False) + frame(TEXT, LIST), 1002),
    **{f"text with {name}": (frame(TEXT, b'{"a":"' + bad + b'"}'), 1007) for name, bad in _BAD_TEXTS.items()},
    **{
        f"text with {name} in two fragments": (parts(TEXT, b'{"a":"' + bad[:1], bad[1:] + b'"}'), 1007)
        for name, bad in _BAD_TEXTS.items()
    },
    "text that ends within a character": (frame(TEXT, b'{"a":"\xc3'), 1007),
    "a beginning that is no text, and no end": (frame(TEXT, b'{"a":"\xff', fin=False), 1007),
    "a close whose reason is no text": (closing(1000, b"\xff"), 1007),
    "a close of one byte": (frame(CLOSE, b"x"), 1002),
    **{f"a close with {code}": (closing(code), 1002) for code in _NO_CODES},
    "a binary message": (frame(BINARY, LIST), 1003),
    "a binary message in fragments": (parts(BINARY, LIST, LIST), 1003),
    "a message that is too large": (frame(TEXT, b" " * 3000), 1009),
    "fragments that are too large together": (parts(TEXT, b" " * 1500, b" " * 1500), 1009),
    "fragments without end": (frame(TEXT, b" " * 16, fin=False) + frame(MORE, b" " * 16, fin=False) * 150, 1009),
    "a size beyond all bounds": (sized(TEXT, b"\x7f" + struct.pack("!Q", 2**62), b" " * 3000), 1009),
    "a flood of empty fragments": (frame(TEXT, fin=False) + frame(MORE, fin=False) * 1000, 1008),
    "a flood of fragments of one byte": (frame(TEXT, b" ", fin=False) + frame(MORE, b" ", fin=False) * 1000, 1008),
    "a flood of pings": (frame(PING) * 1000, 1008),
    "a flood of large pings": (frame(PING, b"x" * 125) * 1000, 1008),
    "a flood of pongs": (frame(PONG) * 1000, 1008),
    "pings within a message": (frame(TEXT, b"{", fin=False) + frame(PING) * 1000, 1008),
}
"""What a client must not send, with the code that ends its connection."""


async def test_hostile_frames_end_their_connection_and_no_other(serving: Serving) -> None:
    async with (
        serving(short(), max_request_body_bytes=2000, **ON) as agent,
        connection(agent.url) as other,
        create_task_group() as tasks,
    ):
        websockets = agent.running.a2a.websockets
        await other.ask("ListTasks", {})
        streams = 0

        async def work() -> None:
            nonlocal streams
            while True:
                await started(other, "SLOW", id=f"stream {streams}")
                assert text_of(await other.to_end(f"stream {streams}")).endswith("tick29 ")
                streams += 1

        tasks.start_soon(work)
        ends: dict[str, int] = {}
        for name, (data, _) in HOSTILE.items():
            async with connection(agent.url) as client:
                await client.raw(data)
                ends[name] = await client.until_closed()
                await client.until_over()
        assert ends == {name: code for name, (_, code) in HOSTILE.items()}
        await agent.until(lambda: len(websockets.open) == 1)
        await agent.until(lambda: streams)
        tasks.cancel_scope.cancel()


async def test_a_close_of_the_client_is_answered_with_its_code(serving: Serving) -> None:
    async with serving(**ON) as agent:
        for code in (1000, 1001, 1011, 3000, 4999, None):
            async with connection(agent.url) as client:
                await client.raw(frame(CLOSE) if code is None else closing(code, "größer".encode()))
                assert await client.until_closed() == (code or 1005)
                await client.until_over()


async def test_fragments_and_controls_between_them_make_a_message(serving: Serving) -> None:
    async with serving(**ON) as agent, connection(agent.url) as client:
        await client.raw(frame(TEXT, LIST[:9], fin=False) + frame(PING, b"here") + frame(MORE, b"", fin=False))
        for at in range(9, len(LIST) - 1):
            await client.raw(frame(MORE, LIST[at : at + 1], fin=False))
        await client.raw(frame(MORE, LIST[-1:]))
        await client.until(lambda: client.answers[1])
        assert client.pongs == 1


async def test_a_message_may_come_byte_by_byte_and_in_halves_of_characters(serving: Serving) -> None:
    text = LIST.replace(b"{}", '{"contextId":"größer"}'.encode())
    at = text.index(b"\xc3") + 1
    async with serving(**ON) as agent, connection(agent.url) as client:
        for byte in parts(TEXT, text[:at], text[at:]):
            await client.raw(bytes([byte]))
        await client.until(lambda: client.answers[1])
        assert "result" in client.answers[1][0]


async def test_frames_may_come_with_the_handshake(serving: Serving) -> None:
    async with serving(**ON) as agent, connection(agent.url, ahead=frame(TEXT, LIST)) as client:
        await client.until(lambda: client.answers[1])


async def test_a_client_closes_and_is_answered(serving: Serving) -> None:
    async with serving(**ON) as agent, connection(agent.url) as client:
        await client.ask("ListTasks", {})
        await client.raw(frame(CLOSE, struct.pack("!H", 1000) + b"bye") + frame(TEXT, LIST))
        assert await client.until_closed() == 1000
        await client.until_over()
        assert len(client.answers[1]) == 1


async def test_a_client_that_vanishes_leaves_nothing_behind(serving: Serving) -> None:
    async with serving(short(), **ON) as agent:
        websockets = agent.running.a2a.websockets
        async with connection(agent.url) as client:
            await client.raw(
                frame(
                    TEXT,
                    b'{"jsonrpc":"2.0","id":1,"method":"SendStreamingMessage","params":{"message":'
                    b'{"messageId":"m","role":"ROLE_USER","parts":[{"text":"SLOW"}]}}}',
                )
            )
            await client.until(lambda: client.answers[1])
            assert agent.running.tasks.open_streams == 1
        await agent.until(lambda: not websockets.open)
        assert agent.running.tasks.open_streams == 0
        [task] = (await agent.caller().page())["tasks"]
        await agent.caller().finished(task["id"])


async def test_a_request_with_a_body_is_never_switched(serving: Serving) -> None:
    async with serving(**ON) as agent:
        head = handshake(content_length="5")
        async with connection(agent.url, head, ahead=b"hello") as client:
            assert client.status == 426


async def test_a_client_that_answers_no_ping_is_gone(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "connection_limits", lambda settings: evolve(connection_limits(settings), pong=0.1))
    async with serving(**ON) as agent:
        websockets = agent.running.a2a.websockets
        websockets.limits = SessionLimits(ping=0.05)
        async with connection(agent.url) as client:
            await agent.until(lambda: not websockets.open)
            assert client.status == 101


@pytest.mark.parametrize("attack", ["a half-closed connection", "half a frame", "answers that nobody reads"])
async def test_a_client_that_stalls_is_gone_in_time(
    serving: Serving, monkeypatch: pytest.MonkeyPatch, attack: str
) -> None:
    short_limits: dict[str, Any] = {"write": 0.2} if attack.startswith("answers") else {"pong": 0.1}
    monkeypatch.setattr(
        harness, "connection_limits", lambda settings: evolve(connection_limits(settings), **short_limits)
    )
    async with serving(**ON) as agent:
        websockets = agent.running.a2a.websockets
        websockets.limits = SessionLimits(ping=0.05)
        async with connection(agent.url, window=4096) as client:
            await client.ask("ListTasks", {})
            if attack == "a half-closed connection":
                assert isinstance(client.stream, SocketStream)
                await client.stream.send_eof()
            elif attack == "half a frame":
                await client.raw(frame(TEXT, LIST)[:9])
            else:
                with suppress(BrokenResourceError):
                    for _ in range(3):
                        await client.raw(CARDS)
            await agent.until(lambda: not websockets.open)
        async with connection(agent.url) as other:
            assert "result" in await other.ask("ListTasks", {})


async def test_empty_messages_count_for_the_rate_limit(serving: Serving) -> None:
    limits: dict[str, Any] = {"rate_limit_max_requests": 5, "rate_limit_window_seconds": 6000.0}
    async with serving(rate_limit_enabled=True, **limits, **ON) as agent, connection(agent.url) as client:
        await client.raw(frame(TEXT) * 9)
        await client.until(lambda: len(client.answers[None]) == 9)
    codes = [one["error"]["code"] for one in client.answers[None]]
    assert codes[:4] == [-32700] * 4  # the handshake is the fifth request
    assert -32700 not in codes[4:]


async def test_a_flood_of_empty_messages_waits_for_an_application_that_takes_none(anyio_backend: str) -> None:
    may_take = Event()

    async def late(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await hello(scope, receive, send)
            return
        await receive()
        await send({"type": "websocket.accept", "subprotocol": "a2a.v1"})
        await may_take.wait()
        while (await receive())["type"] == "websocket.receive":
            pass

    limits = ConnectionLimits(websockets="/websocket")
    async with harness.served(anyio_backend, late, limits=limits) as url, connection(url) as client:
        flood = frame(TEXT) * 400 + frame(PING)
        await client.raw(flood)
        await client.until(lambda: client.pongs == 1)
        await client.raw(flood)
        with move_on_after(0.1):
            await client.until(lambda: client.pongs == 2)
        assert client.pongs == 1
        may_take.set()
        await client.until(lambda: client.pongs == 2)


@pytest.mark.parametrize("nonsense", [NONSENSE, frame(TEXT) * 200], ids=["with ids", "empty"])
async def test_a_client_that_asks_nonsense_and_reads_nothing_is_not_read_on(
    serving: Serving, monkeypatch: pytest.MonkeyPatch, nonsense: bytes
) -> None:
    monkeypatch.setattr(served, "MOST_WAITING", 50_000)
    async with serving(**ON) as agent, connection(agent.url, window=4096) as client:
        [one] = agent.running.a2a.websockets.open

        async def flood() -> None:
            while True:
                await client.raw(nonsense)

        async with create_task_group() as tasks:
            tasks.start_soon(flood)
            await agent.until(lambda: one.outbox.size > 50_000)
            await sleep(0.1)
            assert one.outbox.size < 60_000
            tasks.cancel_scope.cancel()
        async with connection(agent.url) as other:
            assert "result" in await other.ask("ListTasks", {})
