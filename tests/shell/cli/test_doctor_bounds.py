"""`opencode-a2a doctor` before a server that never ends its answer: little is read, and not for long."""

from __future__ import annotations

import gzip

import anyio
import anyio.abc
import pytest

from opencode_a2a.cli.operator.server_checks import check_server
from opencode_a2a.config.settings import Settings
from sansio.doctor.finding import Outcome
from tests.listening import listening
from tests.shell.harness import CREDENTIALS

pytestmark = pytest.mark.anyio

_PIECE = 64 * 1024
_MOST = 16 * 1024 * 1024  # what four requests may be sent, with what the kernel holds of each
BOMB = gzip.compress(bytes(256 * 1024 * 1024), 1)

HEADS = {
    "a card that never ends": (b"200 OK", b"content-type: application/json\r\n", b" " * _PIECE),
    "no card that never ends": (b"404 Not Found", b"content-type: application/json\r\n", b"x" * _PIECE),
    "events that never end": (b"200 OK", b"content-type: text/event-stream\r\n", b"data: " + b"x" * _PIECE),
    "many events": (b"200 OK", b"content-type: text/event-stream\r\n", b"data: x\n\n" * 1000),
    "compressed": (b"200 OK", b"content-type: application/json\r\ncontent-encoding: gzip\r\n", BOMB),
}


@pytest.mark.parametrize("name", HEADS)
async def test_whatever_answers_is_read_in_bounds(name: str) -> None:
    status, fields, piece = HEADS[name]
    sent = 0

    async def answer(stream: anyio.abc.SocketStream) -> None:
        nonlocal sent
        async with stream:
            try:
                await stream.receive()
                await stream.send(b"HTTP/1.1 %b\r\n%b\r\n" % (status, fields))
                while sent < 4 * _MOST:
                    await stream.send(piece)
                    sent += len(piece)
                    await anyio.lowlevel.checkpoint()
            except anyio.BrokenResourceError:
                pass

    async with listening(answer) as port:
        with anyio.fail_after(30):
            findings = await check_server(Settings(port=port, credentials=CREDENTIALS))

    assert sent < _MOST
    assert [one.outcome for one in findings if one.check == "port"] == [Outcome.FAIL]
