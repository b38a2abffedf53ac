"""The client library before our own server: every operation, on each version and binding; its errors; its caches."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from attrs import evolve

from opencode_a2a.client import AgentCache, ClientOptions, EventStream, RemoteAgent, Sending, connect
from opencode_a2a.fake_opencode import HELLO, Say
from sansio.a2a.cards.parse import GRPC, HTTP_JSON, JSONRPC, WEBSOCKET
from sansio.a2a.client.client_errors import (
    AgentError,
    AuthenticationError,
    BusyAgentError,
    InvalidCardError,
    NoUsableInterfaceError,
    UnavailableError,
    UnsupportedError,
    UsageError,
)
from sansio.a2a.codecs.registry import CODECS
from sansio.a2a.errors import ErrorKind
from sansio.a2a.model import (
    ArtifactUpdate,
    ListTasksRequest,
    PushAuthentication,
    PushConfig,
    SendConfiguration,
    Task,
    TaskState,
    TextPart,
)
from sansio.redact import Secret
from tests.shell import scripted_agent
from tests.shell.calling import COMPLETED, WORKING, Scene, says, task
from tests.shell.cases import every_codec, every_listing_codec, one_codec
from tests.shell.harness import ALICE, BOB, DEADLINE, Agent, Serving, Wire
from tests.shell.ports import free_port
from tests.shell.scripted_agent import CARD_PATH, Reply, card, document, stream

pytestmark = pytest.mark.anyio


def binding_of(wire: Wire) -> str:
    """The name of a wire's binding on cards."""
    return WEBSOCKET if wire.over_websocket else {"rpc": JSONRPC, "rest": HTTP_JSON, "grpc": GRPC}[wire.binding]


def options_for(wire: Wire, token: str | None = ALICE, **more: Any) -> ClientOptions:
    bearer = None if token is None else Secret(token)
    return ClientOptions(version=wire.version, bindings=(binding_of(wire),), bearer=bearer, **more)


@asynccontextmanager
async def connected(agent: Agent, wire: Wire, token: str | None = ALICE, **more: Any) -> AsyncGenerator[RemoteAgent]:
    with anyio.fail_after(3 * DEADLINE):
        async with connect(agent.url, options_for(wire, token, **more)) as remote:
            yield remote


def answer_of(task: object) -> str:
    assert isinstance(task, Task)
    return "".join(part.text for artifact in task.artifacts for part in artifact.parts if isinstance(part, TextPart))


async def text_of(events: EventStream) -> str:
    text = ""
    async for item in events:
        if isinstance(item, ArtifactUpdate):
            text = text if item.append else ""
            text += "".join(part.text for part in item.artifact.parts if isinstance(part, TextPart))
    return text


# --- operations -------------------------------------------------------------------------------------------


@every_codec
async def test_a_message_is_answered_and_its_task_read_and_followed(serving: Serving, wire: Wire) -> None:
    async with serving() as agent, connected(agent, wire) as remote:
        assert (remote.interface.version, remote.interface.binding) == (wire.version, binding_of(wire))

        task = await remote.send("hi")
        assert answer_of(task).startswith(HELLO)
        assert isinstance(task, Task)
        assert task.status.state is TaskState.COMPLETED
        again = await remote.send("COUNT", context_id=task.context_id)
        assert "You have said 2 things." in answer_of(again)

        assert (await remote.get_task(task.id)).status == task.status
        async with remote.subscribe(task.id) as events:
            items = [item async for item in events]
        last, read = items[-1], await remote.get_task(task.id)
        assert isinstance(last, Task)
        assert evolve(last, metadata=read.metadata) == read  # over gRPC, 0.3 has the event's id in the metadata


@every_listing_codec
async def test_tasks_are_listed_page_by_page(serving: Serving, wire: Wire) -> None:
    async with serving() as agent, connected(agent, wire) as remote:
        task = await remote.send("hi")
        assert isinstance(task, Task)
        await remote.send("hi", context_id=task.context_id)

        page = await remote.list_tasks(ListTasksRequest(context_id=task.context_id, page_size=1))
        assert (len(page.tasks), page.total) == (1, 2)
        following = await remote.list_tasks(ListTasksRequest(page_token=page.next_page_token))
        assert [one.id for one in following.tasks] == [task.id]


@every_codec
async def test_a_stream_gives_the_answer_as_it_comes(serving: Serving, wire: Wire) -> None:
    async with serving() as agent, connected(agent, wire) as remote:
        async with remote.stream("LONG 20") as events:
            assert await text_of(events) == "".join(f"w{index} " for index in range(20))
        assert events.status is not None
        assert events.status.state is TaskState.COMPLETED
        assert (await remote.get_task(events.task_id or "")).context_id == events.context_id


@every_codec
async def test_a_task_is_cancelled(serving: Serving, wire: Wire) -> None:
    async with serving() as agent, connected(agent, wire) as remote:
        at_once = Sending(configuration=SendConfiguration(blocking=False))
        task = await remote.send("SLOW", sending=at_once)
        assert isinstance(task, Task)
        assert not task.status.state.terminal

        assert (await remote.cancel_task(task.id)).status.state is TaskState.CANCELED
        with pytest.raises(AgentError) as caught:
            await remote.send("more", task_id=task.id)
        assert caught.value.http_status is not None


@every_codec
async def test_push_configurations_are_set_read_listed_and_deleted(serving: Serving, wire: Wire) -> None:
    async with serving(push_allow_private_hosts=True) as agent, connected(agent, wire) as remote:
        task = await remote.send("hi")
        assert isinstance(task, Task)
        wanted = PushConfig(
            task_id=task.id,
            id="mine",
            url=f"http://127.0.0.1:{free_port()}/",
            token="shared",
            authentication=PushAuthentication(scheme="Bearer", credentials="word"),
        )

        made = await remote.set_push_config(wanted)
        assert (made.task_id, made.id, made.url) == (task.id, "mine", wanted.url)
        found = await remote.get_push_config(task.id, "mine")
        assert (found.task_id, found.id, found.url) == (task.id, "mine", wanted.url)
        page = await remote.list_push_configs(task.id)
        assert [(one.task_id, one.id) for one in page.configs] == [(task.id, "mine")]
        await remote.delete_push_config(task.id, "mine")
        assert (await remote.list_push_configs(task.id)).configs == ()


@every_codec
async def test_push_configurations_that_name_interrupts_only_are_known_as_that(serving: Serving, wire: Wire) -> None:
    async with serving(push_allow_private_hosts=True) as agent, connected(agent, wire) as remote:
        task = await remote.send("hi")
        assert isinstance(task, Task)
        url = f"http://127.0.0.1:{free_port()}/"
        everything = await remote.set_push_config(PushConfig(task_id=task.id, id="all", url=url))
        limited = await remote.set_push_config(PushConfig(task_id=task.id, id="asked", url=url, interrupts_only=True))

        found = await remote.get_push_config(task.id, "asked", interrupts_only=True)
        page = await remote.list_push_configs(task.id, interrupts_only=True)
        with pytest.raises(AgentError) as caught:
            await remote.get_push_config(task.id, "all", interrupts_only=True)

    assert (everything.interrupts_only, limited.interrupts_only) == (False, True)
    assert (found, page.configs) == (limited, (limited,))
    assert caught.value.is_kind(ErrorKind.TASK_NOT_FOUND)


@one_codec
async def test_an_agent_that_would_send_everything_is_not_asked_for_interrupts_only(
    serving: Serving, wire: Wire
) -> None:
    async with serving(push_allow_private_hosts=True) as agent, connected(agent, wire) as remote:
        task = await remote.send("hi")
        assert isinstance(task, Task)
        limited = PushConfig(task_id=task.id, url="http://127.0.0.1:9/", interrupts_only=True)
        other = evolve(remote, card=evolve(remote.card, extensions=()))

        with pytest.raises(UnsupportedError, match="push-interrupts"):
            await other.set_push_config(limited)
        with pytest.raises(UnsupportedError, match="push-interrupts"):
            await other.send("hi", sending=Sending(configuration=SendConfiguration(push=limited)))

        assert (await remote.list_push_configs(task.id)).configs == ()


@every_codec
async def test_the_extended_card_is_read(serving: Serving, wire: Wire) -> None:
    async with serving() as agent, connected(agent, wire) as remote:
        extended = await remote.extended_card()

        assert extended["name"] == remote.card.name
        assert extended["skills"]


@every_codec
async def test_a_question_is_answered_on_its_task(serving: Serving, wire: Wire) -> None:
    async with serving() as agent, connected(agent, wire) as remote:
        async with remote.stream("QUESTION") as events:
            await text_of(events)
        waits = events.status
        assert waits is not None
        assert waits.state is TaskState.INPUT_REQUIRED

        async with remote.stream("B", task_id=events.task_id, answering=waits) as answered:
            text = await text_of(answered)

        assert "Now I know." in text
        assert answered.status is not None
        assert answered.status.state is TaskState.COMPLETED


@one_codec
async def test_an_agent_that_is_not_to_stream_is_read_until_its_task_has_ended(serving: Serving, wire: Wire) -> None:
    async with serving() as agent, connected(agent, wire) as remote:
        async with remote.stream("LONG 50", streaming=False) as events:
            text = await text_of(events)

        assert text.endswith("w49 ") or answer_of(await remote.get_task(events.task_id or "")).endswith("w49 ")
        assert events.status is not None
        assert events.status.state is TaskState.COMPLETED
        assert agent.asked("POST", "/prompt_async") == 1


@one_codec
async def test_a_stream_that_is_left_early_leaves_the_task_at_work(serving: Serving, wire: Wire) -> None:
    async with serving() as agent, connected(agent, wire) as remote:
        agent.fake_opencode.hold(Say, tokens=2)
        async with remote.stream("hi") as events:
            async for item in events:
                if isinstance(item, ArtifactUpdate):
                    break
        assert not (await remote.get_task(events.task_id or "")).status.state.terminal

        agent.fake_opencode.release()
        async with remote.subscribe(events.task_id or "") as rest:
            items = [item async for item in rest]
        assert items
        assert answer_of(await remote.get_task(events.task_id or "")).startswith(HELLO)


# --- errors -----------------------------------------------------------------------------------------------


@every_codec
async def test_refusals_have_a_class_of_their_own(serving: Serving, wire: Wire) -> None:
    async with serving() as agent:
        for token in (BOB + "x", None):
            async with connected(agent, wire, token) as stranger:
                with pytest.raises(AuthenticationError) as refused:
                    await stranger.send("hi")
                assert BOB not in str(refused.value)
        async with connected(agent, wire) as remote:
            with pytest.raises(AgentError) as missing:
                await remote.get_task("no-such-task")
            assert missing.value.is_kind(ErrorKind.TASK_NOT_FOUND)
            with pytest.raises(AgentError) as unknown:
                async with remote.subscribe("no-such-task") as events:
                    await anext(events)
            assert unknown.value.is_kind(ErrorKind.TASK_NOT_FOUND)


async def test_an_agent_that_is_not_there_is_unavailable(anyio_backend: str) -> None:
    with pytest.raises(UnavailableError, match="Cannot connect"):
        async with connect(f"http://127.0.0.1:{free_port()}"):
            pass


async def test_what_is_no_agent_has_no_card(scene: Scene) -> None:
    scene.agent.on(CARD_PATH, Reply(status=404))

    with pytest.raises(InvalidCardError, match="no agent card"):
        async with connect(scene.url):
            pass


async def test_a_url_that_is_none_is_refused_before_anything_is_sent(anyio_backend: str) -> None:
    for url in ("agent.example", "http://ada:word@agent.example", "file:///etc/passwd"):
        with pytest.raises(UsageError, match="URL"):
            async with connect(url):
                pass


async def test_the_options_choose_among_the_interfaces(scene: Scene) -> None:
    scene.offers(WORKING)
    with pytest.raises(NoUsableInterfaceError):
        async with connect(scene.url, ClientOptions(version="0.3", bindings=("HTTP+JSON",))):
            pass


# --- requests ---------------------------------------------------------------------------------------------


async def test_all_requests_of_a_connection_belong_to_one_trace(scene: Scene) -> None:
    scene.offers(WORKING, says("Hi", append=False), COMPLETED)
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"

    async with connect(scene.url, ClientOptions(trace_id=trace)) as agent, agent.stream("hi") as events:
        assert await text_of(events) == "Hi"

    headers = [request.headers["traceparent"].split("-") for request in scene.agent.requests]
    assert {parts[1] for parts in headers} == {trace}
    assert len({parts[2] for parts in headers}) == len(headers) == 2


async def test_a_compressed_answer_that_was_not_asked_for_is_refused(scene: Scene) -> None:
    scene.agent.on(CARD_PATH, Reply(headers={"content-encoding": "gzip"}, pieces=[b"\x1f\x8b"]))

    with pytest.raises(Exception, match="compressed its answer"):
        async with connect(scene.url):
            pass


# --- caches -----------------------------------------------------------------------------------------------


def rpc_card(url: str) -> Reply:
    return card(("JSONRPC", "1.0", f"{url}/rpc"))


def cache_of(options: ClientOptions | None = None, *, ttl: float = 60.0, size: int = 4) -> AgentCache:
    return AgentCache(ttl=ttl, size=size, options_of=lambda url: options or ClientOptions())


async def test_a_connected_agent_is_borrowed_again_without_asking_for_its_card(scene: Scene) -> None:
    scene.offers(WORKING, says("Hi", append=False), COMPLETED)
    async with cache_of() as cache:
        async with cache.borrow(scene.url) as first:
            await first.web.read(first.subscription("t1"))
        async with cache.borrow(scene.url) as second:
            assert second is first

    assert len(scene.agent.asked(CARD_PATH)) == 1


async def test_those_who_want_an_agent_at_once_connect_once(scene: Scene) -> None:
    scene.offers(WORKING, COMPLETED)
    agents: list[RemoteAgent] = []

    async def borrow(cache: AgentCache) -> None:
        async with cache.borrow(scene.url) as agent:
            agents.append(agent)

    async with cache_of() as cache, anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(borrow, cache)

    assert len({id(agent) for agent in agents}) == 1
    assert len(scene.agent.asked(CARD_PATH)) == 1


async def test_a_card_whose_time_is_over_is_asked_for_by_its_tag(scene: Scene) -> None:
    headers = {"content-type": "application/json", "etag": '"one"', "cache-control": "no-cache"}
    whole = rpc_card(scene.url)
    scene.agent.on(CARD_PATH, Reply(headers=headers, pieces=whole.pieces), Reply(status=304, headers=headers))
    async with cache_of(ttl=0.0) as cache:
        for _ in range(2):
            async with cache.borrow(scene.url) as agent:
                assert agent.card.interfaces

    first, second = scene.agent.asked(CARD_PATH)
    assert "if-none-match" not in first.headers
    assert second.headers["if-none-match"] == '"one"'


async def test_the_least_used_agent_is_closed_and_one_in_use_by_the_last_who_has_it(anyio_backend: str) -> None:
    async with quick_agents(anyio_backend) as (one, other), cache_of(size=1) as cache:
        async with cache.borrow(one) as first:
            async with cache.borrow(other):
                pass
            assert await first.web.read(first.subscription("t1")), "it still works: somebody has it"
        async with cache.borrow(one) as again:
            assert again is not first


@asynccontextmanager
async def quick_agents(backend: str) -> AsyncGenerator[tuple[str, str]]:
    agents = [scripted_agent.ScriptedAgent() for _ in range(2)]
    async with scripted_agent.serving(backend, agents[0]) as one, scripted_agent.serving(backend, agents[1]) as other:
        for agent, url in zip(agents, (one, other), strict=True):
            agent.on(CARD_PATH, rpc_card(url))
            agent.on("/rpc", stream(WORKING, COMPLETED))
        yield one, other


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_large_answer_is_parsed_beside_the_event_loop(scene: Scene, streaming: bool) -> None:
    large = task(TaskState.COMPLETED, *["x" * 100] * 60_000)
    result = {"jsonrpc": "2.0", "id": "1", "result": {"task": CODECS["1.0"].render_task(large)}}
    if streaming:
        scene.offers(large)
    else:
        scene.replies(document(result), streaming=False)
    gaps: list[float] = []

    async def tick() -> None:
        last = anyio.current_time()
        while True:
            await anyio.sleep(0.001)
            gaps.append(anyio.current_time() - last)
            last = anyio.current_time()

    async with connect(scene.url) as agent, anyio.create_task_group() as group:
        group.start_soon(tick)
        if streaming:
            async with agent.stream("hi") as events:
                assert [item async for item in events] == [large]
        else:
            assert await agent.send("hi") == large
        group.cancel_scope.cancel()

    assert len(gaps) > 20, "the loop stood still"


@every_codec
async def test_a_rate_limit_is_a_busy_agent_that_says_when_to_ask_again(serving: Serving, wire: Wire) -> None:
    async def stream(remote: RemoteAgent) -> None:
        async with remote.stream("hi") as events:
            async for _ in events:
                pass

    most = 2 + wire.over_websocket  # a handshake counts
    limits: dict[str, Any] = {"rate_limit_enabled": True, "rate_limit_max_requests": most}
    async with serving(**limits, rate_limit_window_seconds=600.0) as agent, connected(agent, wire) as remote:
        task = await remote.send("hi")
        assert isinstance(task, Task)
        await remote.get_task(task.id)
        with pytest.raises(BusyAgentError, match=r"Too many requests; try again in \d+ s") as unary:
            await remote.get_task(task.id)
        with pytest.raises(BusyAgentError) as streamed:
            await stream(remote)

    for caught in (unary, streamed):
        assert caught.value.http_status == (200 if wire.over_websocket else 429)
        assert caught.value.retry_after is not None
        assert 100 < caught.value.retry_after <= 300


async def test_the_card_of_a_busy_agent_says_when_to_ask_again(scene: Scene) -> None:
    scene.agent.on(CARD_PATH, Reply(status=429, headers={"retry-after": "7"}, pieces=[b"slow down"]))

    with anyio.fail_after(DEADLINE), pytest.raises(BusyAgentError, match="slow down; try again in 7 s") as caught:
        await connect(scene.url).__aenter__()

    assert caught.value.retry_after == 7
