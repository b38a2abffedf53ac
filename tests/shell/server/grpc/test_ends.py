"""Connections of HTTP/2 that end: whoever leaves first, open requests are answered and others can be sent again."""

from __future__ import annotations

import struct
from typing import Any

import anyio
import pytest

from sansio.transport.connections import ConnectionLimits
from tests.runtimes.apps import hello
from tests.shell.harness import DEADLINE, served
from tests.shell.server.grpc.attacks import (
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    PREFACE,
    REFUSED,
    SETTINGS,
    Attacker,
    frame,
    head,
)
from tests.shell.server.grpc.test_attacks import connected

pytestmark = pytest.mark.anyio

WHOLE = END_HEADERS | END_STREAM


class Waiting:
    """An application that answers once it may."""

    def __init__(self) -> None:
        self.begun = anyio.Event()
        self.may_answer = anyio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            self.begun.set()
            await self.may_answer.wait()
        await hello(scope, receive, send)


async def to_the_end(attacker: Attacker) -> None:
    with anyio.fail_after(DEADLINE):
        while not attacker.closed:
            await attacker.receive()


@pytest.mark.parametrize("code", [0, 2])
async def test_a_client_that_announces_its_end_gets_the_answers_that_it_waits_for(
    anyio_backend: str, code: int
) -> None:
    app, limits = Waiting(), ConnectionLimits(http2=True)
    async with served(anyio_backend, app, limits=limits) as url, await connected(url) as raw:
        attacker = Attacker(raw)
        goaway = frame(GOAWAY, 0, 0, struct.pack(">II", 0, code))
        await raw.send(PREFACE + frame(SETTINGS, 0, 0) + head(1, WHOLE) + goaway)
        with anyio.fail_after(DEADLINE):
            await app.begun.wait()
        app.may_answer.set()
        await to_the_end(attacker)

    assert (attacker.answers, attacker.ended) == ({1: 200} if code == 0 else {}, 0)


async def test_a_client_that_announces_its_end_and_waits_for_nothing_is_let_go(anyio_backend: str) -> None:
    limits = ConnectionLimits(http2=True)
    async with served(anyio_backend, hello, limits=limits) as url, await connected(url) as raw:
        attacker = Attacker(raw)
        await raw.send(PREFACE + frame(SETTINGS, 0, 0) + head(1, WHOLE))
        with anyio.fail_after(DEADLINE):
            while not attacker.answers:
                await attacker.receive()
        await raw.send(frame(GOAWAY, 0, 0, bytes(8)))
        await to_the_end(attacker)

    assert (attacker.answers, attacker.ended, attacker.last) == ({1: 200}, 0, 1)


async def test_a_connection_that_is_idle_for_long_announces_its_end(anyio_backend: str) -> None:
    limits = ConnectionLimits(http2=True, idle=0.2)
    async with served(anyio_backend, hello, limits=limits) as url, await connected(url) as raw:
        attacker = Attacker(raw)
        await raw.send(PREFACE + frame(SETTINGS, 0, 0) + head(1, WHOLE))
        await to_the_end(attacker)

    assert (attacker.answers, attacker.ended, attacker.last) == ({1: 200}, 0, 1)


async def test_a_request_to_a_server_that_is_being_stopped_can_be_sent_again(anyio_backend: str) -> None:
    app, limits = Waiting(), ConnectionLimits(http2=True)
    attackers: list[Attacker] = []

    async def use(url: str) -> None:
        async with await connected(url) as raw, await connected(url) as idle:
            attackers.extend([attacker := Attacker(raw), waiting := Attacker(idle)])
            await idle.send(PREFACE + frame(SETTINGS, 0, 0))
            await raw.send(PREFACE + frame(SETTINGS, 0, 0) + head(1, WHOLE))
            with anyio.fail_after(DEADLINE):
                await app.begun.wait()
            stopping.set()
            await to_the_end(waiting)  # it has no request: the server is being stopped
            await raw.send(head(3, WHOLE))
            with anyio.fail_after(DEADLINE):
                while not attacker.resets:
                    await attacker.receive()
            app.may_answer.set()
            await to_the_end(attacker)

    stopping = anyio.Event()
    async with anyio.create_task_group() as tasks, served(anyio_backend, app, limits=limits, grace=DEADLINE) as url:
        tasks.start_soon(use, url)
        await stopping.wait()

    busy, idle = attackers
    assert (idle.ended, idle.last) == (0, 0)
    assert (busy.answers, busy.resets, busy.ended, busy.last) == ({1: 200}, {3: REFUSED}, 0, 1)
