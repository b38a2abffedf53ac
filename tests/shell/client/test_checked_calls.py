"""The client library over the checked transport, as a model's calls go out: it works, and leads nowhere else."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest
from attrs import evolve

from opencode_a2a.client import ClientOptions, RemoteAgent, connect
from opencode_a2a.fake_opencode import HELLO
from opencode_a2a.outbound.transport import CheckedTransport, OutboundLimits
from sansio.a2a.client.client_errors import InvalidAnswerError, RefusedTargetError, UnavailableError
from sansio.a2a.model import Task, TaskState
from sansio.outbound import PEER_RULES, OutboundPolicy, parse_allowed_hosts
from sansio.redact import Secret
from tests.shell.calling import HELLO as STREAM
from tests.shell.calling import WORKING, Scene, says
from tests.shell.cases import every_codec
from tests.shell.client.test_library import answer_of, options_for, text_of
from tests.shell.harness import DEADLINE, Serving, Wire, until
from tests.shell.scripted_agent import CARD_PATH, CutError, Reply, card, document, stream

pytestmark = pytest.mark.anyio

LOCAL = OutboundPolicy(rules=PEER_RULES, allow_private=True, allowed=parse_allowed_hosts("127.0.0.1"))
STRICT = OutboundPolicy(rules=PEER_RULES)
OPEN = evolve(STRICT, allow_private=True)
QUICK = ClientOptions(timeout=DEADLINE, patience=DEADLINE)


@asynccontextmanager
async def called(
    url: str, transport: CheckedTransport, options: ClientOptions = QUICK
) -> AsyncGenerator[RemoteAgent]:
    with anyio.fail_after(3 * DEADLINE):
        async with connect(url, options, transport=transport) as agent:
            yield agent
    assert transport.open_connections == 0


@every_codec
async def test_agent_is_called_with_credentials_over_one_connection(serving: Serving, wire: Wire) -> None:
    transport = CheckedTransport(LOCAL, OutboundLimits(connections=1))
    async with serving() as agent, called(agent.url, transport, options_for(wire)) as remote:
        task = await remote.send("hi")
        assert isinstance(task, Task)
        assert answer_of(task).startswith(HELLO)
        async with remote.stream("LONG 20", context_id=task.context_id) as events:
            assert await text_of(events) == "".join(f"w{index} " for index in range(20))
        assert (await remote.get_task(task.id)).status.state is TaskState.COMPLETED
        assert transport.open_connections == 1


@every_codec
async def test_stream_that_is_left_gives_its_connection_back(serving: Serving, wire: Wire) -> None:
    transport = CheckedTransport(LOCAL, OutboundLimits(connections=1))
    async with serving() as agent, called(agent.url, transport, options_for(wire)) as remote:
        for _ in range(2):
            async with remote.stream("LONG 20") as events:
                async for _ in events:
                    break
        assert answer_of(await remote.send("hi")).startswith(HELLO)


async def test_stream_that_breaks_is_resumed(scene: Scene) -> None:
    scene.offers(*STREAM)
    scene.agent.on("/rpc", stream(WORKING, says("Hello", append=False), CutError), stream(*STREAM))
    transport = CheckedTransport(OPEN, OutboundLimits(connections=1))

    async with called(scene.url, transport) as remote, remote.stream("hi") as events:
        assert await text_of(events) == "Hello there"


async def test_agent_that_may_not_be_called_is_refused_before_a_connection(scene: Scene) -> None:
    scene.offers(*STREAM)

    with pytest.raises(RefusedTargetError, match="loopback"):
        async with called(scene.url, CheckedTransport(STRICT)):
            pass
    with pytest.raises(RefusedTargetError, match="no credentials"):
        async with called(scene.url, CheckedTransport(OPEN), evolve(QUICK, bearer=Secret("s3cret"))):
            pass
    assert scene.agent.requests == []


@pytest.mark.parametrize(
    "elsewhere",
    ["http://169.254.169.254/rpc", "http://[::ffff:a9fe:a9fe]/rpc", "http://metadata.google.internal/rpc"],
)
async def test_card_that_points_where_nobody_may_call_leads_to_a_refusal(scene: Scene, elsewhere: str) -> None:
    scene.agent.on(CARD_PATH, card(("JSONRPC", "1.0", elsewhere)))

    with pytest.raises(RefusedTargetError, match="metadata"):
        async with called(scene.url, CheckedTransport(OPEN)) as remote:
            await remote.send("hi")


async def test_redirect_of_a_card_is_not_followed(scene: Scene) -> None:
    scene.agent.on(CARD_PATH, Reply(status=302, headers={"location": f"{scene.url}/elsewhere"}))

    with pytest.raises(InvalidAnswerError, match="not followed"):
        async with called(scene.url, CheckedTransport(OPEN)):
            pass
    assert scene.agent.asked("/elsewhere") == []


async def test_answer_beyond_the_limit_ends_the_call(scene: Scene) -> None:
    scene.offers(*STREAM)
    scene.agent.on("/rpc", document({"jsonrpc": "2.0", "id": "1", "result": {"x": "y" * 20_000}}))
    transport = CheckedTransport(OPEN, OutboundLimits(answer_bytes=10_000))

    async with called(scene.url, transport) as remote:
        with pytest.raises(InvalidAnswerError, match="larger than 10000 bytes"):
            await remote.send("hi")
        await until(lambda: transport.open_connections == 0)


async def test_stream_without_end_is_cut_at_the_limit(scene: Scene) -> None:
    scene.offers(*STREAM)
    endless = stream(WORKING, *[says("x" * 1000, append=False)] * 50)
    scene.agent.on("/rpc", endless)
    transport = CheckedTransport(OPEN, OutboundLimits(answer_bytes=10_000))

    async with called(scene.url, transport, evolve(QUICK, patience=0.3, timeout=0.3, polling=None)) as remote:
        with pytest.raises((InvalidAnswerError, UnavailableError)):
            async with remote.stream("hi") as events:
                await text_of(events)
