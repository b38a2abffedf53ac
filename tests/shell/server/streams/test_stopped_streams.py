"""A server that is being stopped leaves a task for later: its streams say so, over every binding."""

from __future__ import annotations

import anyio
import grpc
import pytest

from opencode_a2a.fake_opencode import Say
from sansio.a2a.cards.parse import SERVED
from sansio.a2a.operations import Operation
from tests.shell.harness import Serving
from tests.shell.server.grpc.test_grpcio import Client as GrpcClient
from tests.shell.server.grpc.test_grpcio import parts
from tests.shell.server.websocket.client import connection
from tests.shell.server.websocket.test_operations import started

pytestmark = pytest.mark.anyio

REASON = "the stream ends here, as the server is being stopped; go on after the last event id"


async def test_a_stream_says_that_its_server_stops_before_the_task_ends(serving_on_disk: Serving) -> None:
    statuses: list[tuple[grpc.StatusCode, str | None]] = []
    async with serving_on_disk(bindings=SERVED) as agent, connection(agent.url) as client:
        caller = agent.caller()
        waiting = await caller.send("PERMISSION")
        agent.fake_opencode.hold(Say, tokens=2)

        async def over_grpc() -> None:
            with pytest.raises(grpc.RpcError) as caught:
                await GrpcClient(agent).call("1.0", Operation.STREAM, **parts("1.0", "LONG 9"))
            statuses.append((caught.value.code(), caught.value.details()))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(over_grpc)
            await started(client, "LONG 9", id="working")
            await client.send(id="waiting", method="SubscribeToTask", params={"id": waiting.id})
            await client.until(lambda: client.answers["waiting"])
            request = caller.request("stream", caller.params("LONG 9", {}))
            events = await agent.http.send(request, stream=True)
            await agent.fake_opencode.held(3)
            assert agent.running.tasks.open_streams == 4
            await agent.running.tasks.drain(0)
            body = (await events.aread()).decode()
            ends = [(await client.to_end(name))[-1] for name in ("working", "waiting")]

    assert ends == [
        {"jsonrpc": "2.0", "id": name, "streamEnd": True, "resumable": True, "reason": REASON}
        for name in ("working", "waiting")
    ]
    assert statuses == [(grpc.StatusCode.UNAVAILABLE, REASON)]
    assert body.endswith(f": {REASON}\n")
