"""Calling an agent over WebSocket, beyond what each binding has: many requests on one connection; its choice."""

from __future__ import annotations

import anyio
import pytest

from opencode_a2a.cli.call import CallTarget, call
from opencode_a2a.client import ClientOptions, RemoteAgent, connect
from opencode_a2a.config.settings import load_settings
from opencode_a2a.fake_opencode import HELLO
from sansio.a2a.cards.parse import GRPC, WEBSOCKET
from sansio.a2a.model import Task, TaskState
from sansio.opencode.extension_names import SHARED_URIS
from sansio.redact import Secret
from tests.shell.calling import Screen
from tests.shell.client.test_library import connected, text_of
from tests.shell.harness import ALICE, WEBSOCKET_10, Serving

pytestmark = pytest.mark.anyio


async def test_many_requests_and_streams_share_one_connection(serving: Serving) -> None:
    texts: list[str] = []

    async def read(remote: RemoteAgent) -> None:
        task = await remote.send("hi")
        assert isinstance(task, Task)
        for _ in range(5):
            assert (await remote.get_task(task.id)).id == task.id

    async def stream(remote: RemoteAgent) -> None:
        async with remote.stream("LONG 50") as events:
            texts.append(await text_of(events))

    async with serving() as agent, connected(agent, WEBSOCKET_10) as remote, anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(stream, remote)
            tasks.start_soon(read, remote)
    assert texts == ["".join(f"w{index} " for index in range(50))] * 5


async def test_a_stream_that_is_left_leaves_the_connection_and_the_task(serving: Serving) -> None:
    async with serving() as agent, connected(agent, WEBSOCKET_10) as remote:
        async with remote.stream("SLOW") as events:
            await anext(aiter(events))
        task = await remote.get_task(events.task_id or "")
        assert not task.status.state.terminal
        async with remote.subscribe(task.id) as events:
            await anext(aiter(events))
            assert events.last_event_id.isdigit()
        assert (await remote.cancel_task(task.id)).status.state is TaskState.CANCELED


@pytest.mark.parametrize("binding", [WEBSOCKET, GRPC])
async def test_the_command_calls_over_the_binding(serving: Serving, binding: str) -> None:
    async with serving() as agent:
        out, err = Screen(), Screen()
        options = ClientOptions(bindings=(binding,), bearer=Secret(ALICE), extensions=SHARED_URIS)
        code = await call(CallTarget(agent.url, options), "hi", out=out, err=err)
        assert (code, out.getvalue().startswith(HELLO)) == (0, True), err.getvalue()


async def test_the_users_order_of_bindings_goes_before_the_cards(serving: Serving) -> None:
    async with serving() as agent:
        for variables, binding in (
            ({"A2A_CLIENT_SUPPORTED_TRANSPORTS": "WEBSOCKET,JSONRPC"}, "WEBSOCKET"),
            ({"A2A_CLIENT_SUPPORTED_TRANSPORTS": "GRPC,JSONRPC"}, "GRPC"),
            ({"A2A_CLIENT_SUPPORTED_TRANSPORTS": "JSONRPC,WEBSOCKET"}, "JSONRPC"),
            (
                {
                    "A2A_CLIENT_SUPPORTED_TRANSPORTS": "WEBSOCKET,JSONRPC",
                    "A2A_CLIENT_USE_CLIENT_PREFERENCE": "false",
                },
                "JSONRPC",
            ),
            ({}, "HTTP+JSON"),
        ):
            options = ClientOptions.of(load_settings(variables)[0])
            async with connect(agent.url, options) as remote:
                assert remote.interface.binding == binding
