"""A server of gRPC that shares nothing with ours: `grpcio`, called by our client."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from typing import Any

import anyio
import grpc
import pytest
from attrs import define, field

from opencode_a2a.client import ClientOptions, RemoteAgent
from opencode_a2a.client.web import Web
from sansio.a2a.cards.parse import GRPC, Interface, Origin, PeerCard
from sansio.a2a.client.client_errors import AgentError, BusyAgentError
from sansio.a2a.errors import ErrorKind, ProtocolError
from sansio.a2a.model import Task
from sansio.a2a.protobuf.conversion import message_of
from sansio.a2a.protobuf.messages import RPCS
from sansio.a2a.serving.grpc_call import trailers
from sansio.redact import Secret
from tests.shell.client.hostile_grpc import DONE, WORKING
from tests.shell.client.test_library import text_of
from tests.shell.harness import DEADLINE

pytestmark = pytest.mark.anyio

SERVICE = "lf.a2a.v1.A2AService"


def says(text: str) -> dict[str, Any]:
    artifact = {"artifactId": "a", "parts": [{"text": text}]}
    return {"artifactUpdate": {"taskId": "t", "contextId": "c", "artifact": artifact, "append": True}}


@define(eq=False)
class Peer:
    """An agent of few words. `seen`: the metadata of the last message; `seconds_left`: for its answer."""

    seen: dict[str, Any] = field(factory=dict)
    seconds_left: float | None = None

    def send(self, request: Any, context: Any) -> Any:
        self.seen = dict(context.invocation_metadata())
        self.seconds_left = context.time_remaining()
        return message_of(RPCS[f"/{SERVICE}/SendMessage"].answer, DONE)

    def get(self, request: Any, context: Any) -> Any:
        error = ProtocolError(ErrorKind.TASK_NOT_FOUND, "Täsk is göne")
        details = dict(trailers(error))["grpc-status-details-bin"]
        padded = base64.b64decode(details + "=" * (-len(details) % 4))
        context.set_trailing_metadata((("grpc-status-details-bin", padded),))
        context.abort(grpc.StatusCode.NOT_FOUND, "Täsk is göne")

    def cancel(self, request: Any, context: Any) -> Any:
        context.abort(grpc.StatusCode.UNAVAILABLE, "busy")

    def stream(self, request: Any, context: Any) -> Iterator[Any]:
        kind = RPCS[f"/{SERVICE}/SendStreamingMessage"].answer
        for value in (WORKING, *(says(f"w{index} ") for index in range(300)), DONE):
            yield message_of(kind, value)

    def handlers(self) -> grpc.GenericRpcHandler:
        named: dict[str, tuple[Any, Any]] = {
            "SendMessage": (grpc.unary_unary_rpc_method_handler, self.send),
            "GetTask": (grpc.unary_unary_rpc_method_handler, self.get),
            "CancelTask": (grpc.unary_unary_rpc_method_handler, self.cancel),
            "SendStreamingMessage": (grpc.unary_stream_rpc_method_handler, self.stream),
        }
        rpcs = {name: RPCS[f"/{SERVICE}/{name}"] for name in named}
        made = {
            name: kind(
                work,
                request_deserializer=rpcs[name].request.FromString,
                response_serializer=rpcs[name].answer.SerializeToString,
            )
            for name, (kind, work) in named.items()
        }
        return grpc.method_handlers_generic_handler(SERVICE, made)


@pytest.fixture
def served() -> Iterator[tuple[Peer, str]]:
    peer = Peer()
    server = grpc.server(ThreadPoolExecutor(2), handlers=[peer.handlers()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield peer, f"http://127.0.0.1:{port}"
    finally:
        server.stop(0)


@pytest.fixture
async def remote(served: tuple[Peer, str], anyio_backend: str) -> AsyncIterator[RemoteAgent]:
    """The agent, without a card: grpcio serves none."""
    url = served[1]
    async with AsyncExitStack() as closing:
        web = Web(ClientOptions(bearer=Secret("word"), timeout=5.0), Origin.of(url), closing)
        interface = Interface(binding=GRPC, version="1.0", url=url)
        card = PeerCard(name="peer", streaming=True, interfaces=(interface,))
        with anyio.fail_after(DEADLINE):
            yield RemoteAgent(url=url, card=card, card_body=b"", interface=interface, web=web)


async def test_a_message_is_sent_with_its_metadata(served: tuple[Peer, str], remote: RemoteAgent) -> None:
    peer, _ = served
    assert isinstance(await remote.send("hi" * 100_000), Task)
    assert peer.seen["authorization"] == "Bearer word"
    assert peer.seen["a2a-version"] == "1.0"
    assert peer.seconds_left is not None
    assert peer.seconds_left > 60


async def test_a_stream_is_read_to_its_end(remote: RemoteAgent) -> None:
    async with remote.stream("hi") as events:
        assert await text_of(events) == "".join(f"w{index} " for index in range(300))


async def test_an_error_has_its_details_and_its_words(remote: RemoteAgent) -> None:
    with pytest.raises(AgentError, match="Täsk is göne") as caught:
        await remote.get_task("t")
    assert caught.value.is_kind(ErrorKind.TASK_NOT_FOUND)
    with pytest.raises(BusyAgentError, match="busy"):
        await remote.cancel_task("t")
    with pytest.raises(AgentError) as caught:
        await remote.list_tasks()  # a method that it has not
    assert caught.value.http_status == 501
