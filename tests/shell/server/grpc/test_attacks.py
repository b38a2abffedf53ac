"""A table of attacks over HTTP/2 and gRPC: each ends its connection, or its call, and nobody else notices."""

from __future__ import annotations

import gc
import logging
import tracemalloc
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import SocketStream
from hypercorn.config import Config

from opencode_a2a.fake_opencode import HELLO, Say
from runtime_http.http2_state import Http2State
from sansio.a2a.cards.parse import SERVED
from sansio.transport.connections import ConnectionLimits
from tests.runtimes.apps import hello
from tests.shell.harness import DEADLINE, GRPC_10, Serving, served, until
from tests.shell.server.grpc.attacks import (
    ATTACKS,
    DATA,
    END_HEADERS,
    END_STREAM,
    GET,
    HEADERS,
    INTERNAL,
    LARGEST,
    LIMIT,
    LIST,
    PREFACE,
    PROTOCOL,
    REFUSED,
    RST_STREAM,
    SETTINGS,
    TASK,
    Attack,
    Attacker,
    block,
    call,
    frame,
    head,
    malformed,
    message,
    setting,
)

pytestmark = pytest.mark.anyio

MEMORY = 8_000_000  # bytes that may be held at most, of all attacks together


async def connected(url: str) -> SocketStream:
    return await anyio.connect_tcp("127.0.0.1", int(url.rpartition(":")[2]))


async def came_of(url: str, attack: Attack) -> str:
    with anyio.move_on_after(DEADLINE):
        async with await connected(url) as raw:
            return await Attacker(raw).run(attack)
    return "nothing came"


async def each_attack(url: str) -> dict[str, str]:
    return {attack.name: await came_of(url, attack) for attack in ATTACKS}


async def test_an_attack_ends_alone(serving: Serving, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(bindings=SERVED, max_request_body_bytes=LIMIT) as agent:
        agent.fake_opencode.hold(Say, tokens=1)
        async with agent.caller(GRPC_10).open("hi") as stream:
            await stream.until(lambda: stream.text)
            # The first round is not measured: what is imported, cached or instrumented once is no attack's.
            await each_attack(agent.url)
            tracemalloc.start()
            try:
                found = await each_attack(agent.url)
                health = await agent.http.get("/health")
                await agent.until(lambda: agent.running.tasks.open_streams == 1)
                gc.collect()
                most = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            agent.fake_opencode.release()
            await stream.whole()

    assert {name: outcome for name, outcome in found.items() if outcome} == {}
    assert health.status_code == 200
    assert (stream.state, stream.text) == ("completed", HELLO)
    assert most < MEMORY
    assert [one.message for one in caplog.records if one.levelno >= logging.WARNING] == []


async def test_a_malformed_request_ends_alone_on_its_connection(serving: Serving) -> None:
    late = malformed(3, ("content-length", "1"), flags=END_HEADERS)
    sent = (
        call(message(TASK), stream=1)
        + late
        + malformed(5, ("X", "y"))
        + malformed(7, ("X", "y"))  # the same block again is validated again
        + frame(DATA, END_STREAM, 3, bytes(60_000)[:LARGEST]) * 3  # its bytes give room for others again
        + call(message(TASK), stream=9)
        + head(11)
        + frame(DATA, 0, 11, bytes(100))
        + head(11, END_HEADERS | END_STREAM)  # trailers with the fields of a request
        + call(message(TASK), stream=13)
        + head(15)
        + frame(RST_STREAM, 0, 15, bytes(4))
        + malformed(15, ("x", "a\r\nb"))  # of a stream that is over, where nobody validates it
        + malformed(17, ("x", "a\r\nb"))
        + call(message(TASK), stream=19)
    )
    async with serving(bindings=SERVED) as agent, await connected(agent.url) as raw:
        attacker = Attacker(raw)
        await raw.send(PREFACE + frame(SETTINGS, 0, 0) + sent)
        with anyio.fail_after(DEADLINE):
            while len(attacker.statuses) < 4 and not attacker.closed:
                await attacker.receive()

    assert attacker.statuses == {1: 5, 9: 5, 13: 5, 19: 5}
    assert {number: code for number, code in attacker.resets.items() if code == PROTOCOL} == {
        5: PROTOCOL,
        7: PROTOCOL,
        11: PROTOCOL,
        17: PROTOCOL,
    }
    assert 3 in attacker.resets


def test_settings_that_nobody_knows_are_not_kept() -> None:
    state = Http2State(Config())
    state.initiate_connection()
    known = len(state.remote_settings)

    state.receive_data(PREFACE + b"".join(setting(name, 7) for name in (4, *range(100, 120))))

    assert (len(state.remote_settings), state.remote_settings.initial_window_size) == (known, 7)


async def test_streams_beyond_the_bound_are_refused_and_the_others_go_on(anyio_backend: str) -> None:
    limits = ConnectionLimits(http2=True)
    async with served(anyio_backend, hello, limits=limits) as url, await connected(url) as raw:
        attacker = Attacker(raw)
        await raw.send(PREFACE + frame(SETTINGS, 0, 0) + b"".join(map(head, range(1, 205, 2))))
        with anyio.fail_after(DEADLINE):
            while len(attacker.resets) < 2 or len(attacker.answers) < 100:
                await attacker.receive()
            await raw.send(frame(DATA, END_STREAM, 1) + head(205))
            while 205 not in attacker.answers:
                await attacker.receive()

    assert attacker.resets == {201: REFUSED, 203: REFUSED}


async def test_answers_that_their_client_does_not_read_are_few_and_others_are_answered(anyio_backend: str) -> None:
    made: list[str] = []

    async def large(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan" or scope["path"] != GET:
            await hello(scope, receive, send)
            return
        room = scope["extensions"]["http.response.room"]
        if not await room["take"]():
            left.append(scope["path"])
            return
        made.append(scope["path"])
        await room["hold"](4_000_000)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": bytes(4_000_000)})

    left: list[str] = []
    end = END_HEADERS | END_STREAM
    numbers = range(1, 41, 2)
    limits = ConnectionLimits(http2=True)
    async with served(anyio_backend, large, limits=limits) as url, await connected(url) as raw:
        await raw.send(PREFACE + frame(SETTINGS, 0, 0) + b"".join(head(one, end) for one in numbers))
        await until(lambda: len(made) >= 5)
        async with await connected(url) as other:
            attacker = Attacker(other)
            await other.send(PREFACE + frame(SETTINGS, 0, 0) + frame(HEADERS, end, 1, block(path="/")))
            with anyio.fail_after(DEADLINE):
                while attacker.http is None:
                    await attacker.receive()
        few = len(made)
        assert (few <= 8, left) == (True, [])

        await raw.send(frame(RST_STREAM, 0, 1, bytes(4)) + frame(RST_STREAM, 0, numbers[-1], bytes(4)))
        await until(lambda: left)
        await until(lambda: len(made) > few)
        await raw.aclose()
        await until(lambda: len(left) + len(made) == len(numbers))

    assert len(made) <= few + 4


async def test_a_call_whose_client_makes_no_room_ends_with_its_connection(
    serving: Serving, anyio_backend: str
) -> None:
    limits = ConnectionLimits(write=0.3, http2=True)
    async with serving(bindings=SERVED) as agent, served(anyio_backend, agent.running.asgi, limits=limits) as url:
        attack = Attack(name="no room", sent=setting(4, 0) + call(message(b""), LIST), codes=(0,))
        outcome = await came_of(url, attack)

    assert outcome == ""


async def test_an_answer_that_its_application_leaves_is_reset(anyio_backend: str) -> None:
    async def leaving(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await hello(scope, receive, send)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})

    async with served(anyio_backend, leaving, limits=ConnectionLimits(http2=True)) as url:
        attack = Attack(name="left", sent=call(message(b"")), codes=(INTERNAL,), ends=False)
        outcome = await came_of(url, attack)

    assert outcome == ""


async def test_requests_that_come_at_once_leave_others_their_turns(anyio_backend: str) -> None:
    begun = most = 0

    async def counting(scope: Any, receive: Any, send: Any) -> None:
        nonlocal begun
        begun += scope["type"] == "http"
        await hello(scope, receive, send)

    async def others() -> None:
        nonlocal most
        while True:
            before = begun
            await anyio.lowlevel.checkpoint()
            most = max(most, begun - before)

    limits = ConnectionLimits(http2=True)
    async with served(anyio_backend, counting, limits=limits) as url, anyio.create_task_group() as tasks:
        tasks.start_soon(others)
        requests = b"".join(head(one, END_HEADERS | END_STREAM) for one in range(1, 101, 2))
        async with await connected(url) as raw:
            await raw.send(PREFACE + frame(SETTINGS, 0, 0) + requests)
            await until(lambda: begun == 50)
        tasks.cancel_scope.cancel()

    assert most <= 3
