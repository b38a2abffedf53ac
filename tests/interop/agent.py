"""An agent as one official client sees it, over one protocol version and one binding.

Knows which combinations there are and which operations each client has; what an answer means is for the tests.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import pytest

from tests.interop.driver import ClientError, Conversation, Driver, Json
from tests.real.adapter import Adapter

VERSIONS = {
    "python-0.3": ("0.3",),
    "javascript-0.3": ("0.3",),
    "python-1": ("1.0", "0.3"),
    "javascript-1": ("1.0", "0.3"),
}
"""Of each client the lines it speaks; the newer ones keep a way back to servers of version 0.3."""

BINDINGS = ("jsonrpc", "rest", "grpc")


@attrs.frozen
class Way:
    """A client, a version and a binding."""

    client: str
    version: str
    binding: str

    def __str__(self) -> str:
        return f"{self.client}-over-{self.version}-{self.binding}"


WAYS = tuple(
    Way(client, version, binding)
    for client, versions in VERSIONS.items()
    for version in versions
    for binding in BINDINGS
)


READY_MADE = (
    Way("google-adk", "1.0", "jsonrpc"),
    Way("strands", "0.3", "jsonrpc"),
    Way("a2a-handler", "1.0", "jsonrpc"),
)
"""Programs made of these clients, each in the one way that it goes by itself."""

SOCKETS = tuple(Way(client, "1.0", "websocket") for client in ("websockets", "node", "chromium"))
"""Clients of WebSocket, which know nothing of A2A: what the binding's document says is enough for them."""

SOCKET_OPERATIONS = ("card", "send", "stream", "get", "list", "cancel", "subscribe", "dialogue")

NAMES_NO_TASK = frozenset(way for way in READY_MADE if way.client == "strands")
"""These begin a task with each message, so that what a task asks is answered by somebody else."""


GRPC_RUNTIMES: Mapping[tuple[str, str], str] = {
    ("python-0.3", "0.3"): "asyncio",
    ("javascript-0.3", "0.3"): "trio",
    ("python-1", "1.0"): "trio",
    ("javascript-1", "1.0"): "asyncio",
    ("python-1", "0.3"): "asyncio",
    ("javascript-1", "0.3"): "trio",
}
"""The runtime that each client meets over gRPC, by its version: one alone, as the tests with grpcio cover both.

None goes by nginx before several servers, which has one port and speaks no HTTP/2 there.
"""


def meets(way: Way, server: str) -> bool:
    """Whether the client goes this way to a server, by the server's runtime, or to `replicas`."""
    if way.binding == "websocket":
        return server != "replicas"
    return way.binding != "grpc" or server == GRPC_RUNTIMES[way.client, way.version]


CLASSES: Mapping[Way, Sequence[str]] = {
    Way("python-0.3", "0.3", "grpc"): (),
    Way("javascript-0.3", "0.3", "grpc"): ("TaskNotFound", "NotCancelable"),
}
"""The errors that a client has a class for, where these are few: the first raises grpcio's own exception for all."""


def has(way: Way, operation: str) -> bool:
    """Whether the client has the operation this way. Version 0.3 lists no tasks."""
    if way in SOCKETS:
        return operation in SOCKET_OPERATIONS
    if way in READY_MADE or operation == "dialogue":
        return way in READY_MADE and operation == "dialogue"
    if operation == "list":
        return way.version == "1.0"
    if operation == "verify":
        # npm's 1.x verifies a card that the caller has fetched, so that one way stands for all; its 0.3 has nothing.
        # Over gRPC numbers of an extension's parameters come as 20.0, and PyPI's 0.3 canonicalizes them so.
        if way == Way("python-0.3", "0.3", "grpc"):
            return False
        return way.client in ("python-0.3", "python-1") or way == Way("javascript-1", "1.0", "rest")
    if operation in ("push_list", "push_delete"):
        return way.client != "python-0.3" and way != Way("python-1", "0.3", "rest")
    return True


def every_way_with(*operations: str) -> pytest.MarkDecorator:
    """Go every way on which the client has these operations, instead of all."""
    ways = [way for way in WAYS if all(has(way, operation) for operation in operations)]
    return pytest.mark.parametrize("way", ways, ids=str)


@attrs.frozen(kw_only=True)
class Agent:
    """The server, reached one way."""

    way: Way
    driver: Driver
    server: Adapter

    def begin(self, operation: str, **fields: Any) -> Conversation:
        """Start an operation and go on."""
        known = {"url": self.server.url, "token": self.server.token}
        return self.driver.begin(operation, known | attrs.asdict(self.way) | fields)

    def card(self) -> Json:
        return self.begin("card").one()

    def send(self, text: str, **fields: Any) -> Json:
        return self.begin("send", text=text, **fields).one()

    def stream(self, text: str, **fields: Any) -> list[Json]:
        return self.begin("stream", text=text, **fields).all()

    def get(self, task: str, **fields: Any) -> Json:
        return self.begin("get", task=task, **fields).one()

    def texts(self, items: list[Json]) -> dict[str, str]:
        """The artifacts a stream's items make, folded as the protocol says: id to text.

        npm's clients drop `append` over 0.3's HTTP+JSON: what they hold is right once the artifact is closed.
        """
        found: dict[str, str] = {}
        for item in items:
            if item["kind"] == "task":
                found = texts_of(item)
            elif item["kind"] == "artifact":
                found[item["artifact"]] = (found.get(item["artifact"], "") if item["append"] else "") + item["text"]
        return found

    def cancel(self, task: str) -> Json:
        return self.begin("cancel", task=task).one()


def states(items: list[Json]) -> list[str]:
    """The states a stream told of, each once where it repeats."""
    told = [item["state"] for item in items if "state" in item]
    return [state for before, state in zip([None, *told], told, strict=False) if state != before]


def texts_of(task: Json) -> dict[str, str]:
    """The artifacts of a task: id to text."""
    return {artifact["artifact"]: artifact["text"] for artifact in task["artifacts"]}


def means(error: ClientError, way: Way, *, name: str, code: int, status: int) -> bool:
    """Whether the client says this error: by its class, whose name has this pattern, or by the JSON-RPC code."""
    if name not in CLASSES.get(way, (name,)):
        return re.search(name, error.text) is not None  # it has no class for it, and hands on the message that came
    if way == Way("python-0.3", "0.3", "rest"):
        return error.status == status  # and it says nothing else
    return re.search(name, error.name) is not None or error.code == code or f"Code: {code}" in error.text
