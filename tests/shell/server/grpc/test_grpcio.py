"""A client of gRPC that shares nothing with ours: `grpcio`, with the messages that it needs."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

import anyio.to_thread
import grpc
import pytest
from attrs import define, field

from opencode_a2a.fake_opencode.scripts import HELLO, Say
from opencode_a2a.server.grpc import services as shell_services
from opencode_a2a.server.http import asgi
from sansio.a2a.cards.parse import SERVED
from sansio.a2a.operations import Operation
from sansio.a2a.protobuf.messages import RPCS, message
from tests.shell.cases import each_value
from tests.shell.harness import ALICE, DEADLINE, Agent, Serving

pytestmark = pytest.mark.anyio
T = TypeVar("T")

_RPCS = {(rpc.version, rpc.operation): rpc for rpc in RPCS.values()}


@define(eq=False)
class Client:
    """Calls in threads, since grpcio has a loop of its own."""

    agent: Agent
    token: str | None = ALICE
    channel: grpc.Channel = field(init=False)

    @channel.default
    def _make_channel(self) -> grpc.Channel:
        return grpc.insecure_channel(self.agent.url.removeprefix("http://"))

    def _metadata(self, more: dict[str, str]) -> tuple[tuple[str, str | bytes], ...]:
        proof = {} if self.token is None else {"authorization": f"Bearer {self.token}"}
        return tuple((proof | more).items())

    async def call(self, version: str, operation: Operation, timeout: float = DEADLINE, **fields: Any) -> Any:
        rpc = _RPCS[version, operation]
        kind: Any = self.channel.unary_stream if operation.row.streaming else self.channel.unary_unary
        method = kind(
            rpc.path, request_serializer=rpc.request.SerializeToString, response_deserializer=rpc.answer.FromString
        )
        metadata = self._metadata(fields.pop("metadata_", {}))
        more = fields.pop("more_", {})

        def work() -> Any:
            answer = method(rpc.request(**fields), metadata=metadata, timeout=timeout, **more)
            return list(answer) if operation.row.streaming else answer

        return await in_thread(work)

    async def bare(self, path: str, *requests: Any, answer: Any) -> Any:
        """What a service beside the protocol's answers; without credentials."""
        if len(requests) == 1:
            method = self.channel.unary_unary(
                path, request_serializer=type(requests[0]).SerializeToString, response_deserializer=answer.FromString
            )
            return await in_thread(partial(method, requests[0], timeout=DEADLINE))
        both = self.channel.stream_stream(
            path, request_serializer=type(requests[0]).SerializeToString, response_deserializer=answer.FromString
        )

        return await in_thread(lambda: list(both(iter(requests), timeout=DEADLINE)))


async def in_thread(work: Callable[[], T]) -> T:
    with anyio.fail_after(2 * DEADLINE):
        return await anyio.to_thread.run_sync(work)


def parts(version: str, text: str) -> dict[str, Any]:
    made = {"message_id": f"m-{text}", "role": "ROLE_USER"}
    name, member = ("request", "content") if version == "0.3" else ("message", "parts")
    return {name: made | {member: [{"text": text}]}}


@each_value("version", ["0.3", "1.0"])
async def test_messages_are_answered_whole_and_as_streams(serving: Serving, version: str) -> None:
    async with serving(bindings=SERVED) as agent:
        client = Client(agent)
        whole = await client.call(version, Operation.SEND, **parts(version, "hi"))
        events = await client.call(version, Operation.STREAM, **parts(version, "ho"))
        named = {"name": f"tasks/{whole.task.id}"} if version == "0.3" else {"id": whole.task.id}
        read = await client.call(version, Operation.GET_TASK, **named)
        card = await client.call(version, Operation.EXTENDED_CARD)

    chunks = [one.artifact_update.artifact.parts[0].text for one in events if one.HasField("artifact_update")]
    assert "".join(chunks[:-1]) == chunks[-1] == HELLO  # the last one is the whole
    assert events[0].HasField("task")
    assert events[-1].HasField("status_update")
    assert read == whole.task
    assert read.status.state == 3
    assert card.name
    assert card.security_schemes


async def test_a_caller_nobody_knows_has_a_status(serving: Serving) -> None:
    async with serving(bindings=SERVED) as agent:
        with pytest.raises(grpc.RpcError) as caught:
            await Client(agent, token=None).call("1.0", Operation.GET_TASK, id="t")

    error: Any = caught.value
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    metadata = error.initial_metadata() or ()
    assert [text for name, text in metadata if name == "www-authenticate"] == ['Bearer, Basic realm="opencode-a2a"']


async def test_a_deadline_ends_a_call_and_not_its_task(serving: Serving) -> None:
    async with serving(bindings=SERVED) as agent:
        agent.fake_opencode.hold(Say, tokens=1)
        client = Client(agent)
        for operation in (Operation.SEND, Operation.STREAM):
            with pytest.raises(grpc.RpcError) as caught:
                await client.call("1.0", operation, 0.3, **parts("1.0", operation.name))
            assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await agent.until(lambda: len(agent.running.tasks.active_tasks) == 2)
        await agent.until(lambda: not agent.running.tasks.open_streams)
        agent.fake_opencode.release()
        await agent.until(lambda: not agent.running.tasks.active_tasks)
        listed = await client.call("1.0", Operation.LIST_TASKS)

    assert [task.status.state for task in listed.tasks] == [3, 3]


async def test_a_compressed_request_is_refused(serving: Serving) -> None:
    async with serving(bindings=SERVED) as agent:
        with pytest.raises(grpc.RpcError) as caught:
            await Client(agent).call(
                "1.0", Operation.SEND, more_={"compression": grpc.Compression.Gzip}, **parts("1.0", "hi" * 500)
            )

    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_an_event_is_gone_on_from_by_the_last_event_id(serving: Serving) -> None:
    resume = {"a2a-extensions": "urn:opencode-a2a:extension:stream-resume:v1"}
    async with serving(bindings=SERVED) as agent:
        agent.fake_opencode.hold(Say, tokens=3)
        client = Client(agent)
        with pytest.raises(grpc.RpcError):
            await client.call("1.0", Operation.STREAM, 0.5, metadata_=resume, **parts("1.0", "hi"))
        [task_id] = agent.running.tasks.active_tasks
        number = {"last-event-id": "3", **resume}
        with anyio.fail_after(DEADLINE):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(released, agent)
                events = await client.call("1.0", Operation.SUBSCRIBE, metadata_=number, id=task_id)

    numbers = [
        int(getattr(one, str(one.WhichOneof("payload"))).metadata["shared"]["resume"]["event_id"]) for one in events
    ]
    assert numbers[1:] == sorted(set(numbers[1:]))
    assert numbers[1] > 3


async def released(agent: Agent) -> None:
    await agent.until(lambda: agent.running.tasks.open_streams)
    agent.fake_opencode.release()


async def test_health_is_open_to_everybody(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi, "LINGER", 4 * DEADLINE)  # nothing is left of a request that came whole
    request, answer = (message(f"grpc.health.v1.HealthCheck{kind}") for kind in ("Request", "Response"))
    async with serving(bindings=SERVED) as agent:
        client = Client(agent, token=None)
        found = await client.bare("/grpc.health.v1.Health/Check", request(), answer=answer)
        with pytest.raises(grpc.RpcError) as caught:
            await client.bare("/grpc.health.v1.Health/Check", request(service="x"), answer=answer)
        with pytest.raises(grpc.RpcError) as watched:
            await client.bare("/grpc.health.v1.Health/Watch", request(), answer=answer)

    assert found.status == 1
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert watched.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_client_that_checks_health_itself_connects(serving: Serving) -> None:
    config = {"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": ""}}
    async with serving(bindings=SERVED) as agent:
        target = agent.url.removeprefix("http://")
        with grpc.insecure_channel(target, options=[("grpc.service_config", json.dumps(config))]) as channel:
            await in_thread(lambda: grpc.channel_ready_future(channel).result(timeout=DEADLINE))


@each_value("package", ["grpc.reflection.v1", "grpc.reflection.v1alpha"])
async def test_reflection_answers_one_question_after_the_other(serving: Serving, package: str) -> None:
    request = message(f"{package}.ServerReflectionRequest")
    answer = message(f"{package}.ServerReflectionResponse")
    questions = [request(list_services=""), request(file_containing_symbol="lf.a2a.v1.A2AService")]
    async with serving(bindings=SERVED) as agent:
        found = await Client(agent, token=None).bare(
            f"/{package}.ServerReflection/ServerReflectionInfo", *questions, answer=answer
        )

    assert "lf.a2a.v1.A2AService" in [one.name for one in found[0].list_services_response.service]
    assert found[1].file_descriptor_response.file_descriptor_proto


async def test_who_asks_of_reflection_and_says_nothing_is_not_waited_for(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shell_services, "REFLECTION_SECONDS", 0.2)
    package = "grpc.reflection.v1"
    async with serving(bindings=SERVED) as agent:
        channel = Client(agent).channel
        method: Any = channel.stream_stream(f"/{package}.ServerReflection/ServerReflectionInfo")
        over = threading.Event()

        def silent() -> Iterator[bytes]:
            over.wait(DEADLINE)
            yield from ()

        assert await in_thread(lambda: list(method(silent(), timeout=DEADLINE))) == []
        over.set()
