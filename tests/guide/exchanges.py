"""Carries out the examples of a page one after the other, and gives each answer as the guide shows it.

One `Reader` is one reader of one page: it has the ids of earlier answers, and the streams that are left open.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast

import anyio
import httpx
import orjson
from attrs import define, evolve, field
from google.protobuf import json_format

from opencode_a2a.config.settings import load_settings, with_generated_token
from sansio.a2a.bindings.sse import SseDecoder, SseEvent
from sansio.a2a.protobuf.messages import RPCS
from tests.guide.pages import Example
from tests.guide.shown import URL, Names, laid_out
from tests.shell.grpc_wire import Exchange as GrpcExchange
from tests.shell.grpc_wire import error_of, whole
from tests.shell.harness import DEADLINE, agent_at, client, quick, served
from tests.shell.ports import free_port
from tests.shell.push_receiver import PushReceiver, receiving
from tests.shell.websocket_wire import Exchange as WebSocketExchange

TOKEN = "guide-4d2f7a"

OPENCODE = "127.0.0.1:4096"
"""The address of the scripted OpenCode in the guide."""
HOOK = "http://127.0.0.1:9000"
"""The address at which the guide has the receiver of push notifications."""

_SHOWN_HEADERS = ("content-type", "a2a-version", "a2a-extensions", "x-a2a-extensions", "www-authenticate", "allow")
_PUSHED_HEADERS = (
    *("content-type", "a2a-version", "a2a-extensions", "x-a2a-extensions"),
    *("x-a2a-notification-id", "x-a2a-notification-token"),
)
_STRUCTS = frozenset({"metadata", "data", "params"})
_LEFT = ["...", ""]
"""The end of a stream that the guide shows in part."""


@define
class OpenStream:
    """A stream over HTTP that is read in steps."""

    response: httpx.Response
    chunks: AsyncGenerator[bytes]
    decoder: SseDecoder = field(factory=SseDecoder)
    waiting: list[SseEvent] = field(factory=list)

    async def event(self) -> SseEvent | None:
        """The next event; None at the end."""
        while not self.waiting:
            try:
                self.waiting += self.decoder.feed(await anext(self.chunks))
            except StopAsyncIteration:
                return None
        return self.waiting.pop(0)

    async def close(self) -> None:
        """Hang up."""
        await self.chunks.aclose()
        await self.response.aclose()


@define
class Conversation:
    """A WebSocket connection, and the ids of the requests that run on it."""

    exchange: WebSocketExchange
    running: set[Any] = field(factory=set)


@define
class Reader:
    """A reader of one page, who does what it says."""

    http: httpx.AsyncClient
    names: Names
    receiver: PushReceiver
    stack: AsyncExitStack
    streams: dict[str, OpenStream] = field(factory=dict)
    socket: Conversation | None = None

    async def run(self, example: Example) -> str:
        """Carry out an example; return its answer."""
        with anyio.fail_after(DEADLINE):
            if "after" in example.options:
                await self._until(example.options["after"])
            if "arrives" in example.options:
                return await self._arrived(example)
            if "continues" in example.options:
                return "\n".join(await self._events(self.streams[example.options["continues"]], example))
            match example.kind:
                case "http":
                    return await self._over_http(example)
                case "grpc":
                    return await self._over_grpc(example)
                case "websocket":
                    return await self._over_websocket(example)
                case _:
                    return await self._by_shell(example)

    async def _until(self, word: str) -> None:
        """Wait until the newest task has a word in its JSON: what is asked next depends on it."""
        headers = {"authorization": f"Bearer {TOKEN}", "a2a-version": "1.0"}
        path = f"/tasks/{self.names.values['TASK']}"
        while word not in (await self.http.get(path, headers=headers)).text:  # noqa: ASYNC110 - a request is made
            await anyio.sleep(0.01)

    def _json(self, value: Any, example: Example, *, indent: int = 0) -> str:
        self.names.learn(value)
        return laid_out(self.names.json(value, example.option("hides")), indent)

    # --- HTTP ---------------------------------------------------------------------------------------------

    async def _over_http(self, example: Example) -> str:
        first, headers, body = request_of(self.names.insert(example.request))
        method, target, _ = first.split()
        request = self.http.build_request(method, target, headers=headers, content=body.strip().encode())
        response = await self.http.send(request, stream=True)
        if response.headers.get("content-type", "").startswith("text/event-stream"):
            return await self._stream_over_http(response, example)
        content = await response.aread()
        await response.aclose()
        lines = self._head(response)
        if content:
            lines.append(self._json(orjson.loads(content), example))
        return "\n".join([*lines, ""])

    def _head(self, response: httpx.Response) -> list[str]:
        shown = [f"{_named(name)}: {response.headers[name]}" for name in _SHOWN_HEADERS if name in response.headers]
        return [f"HTTP/1.1 {response.status_code} {HTTPStatus(response.status_code).phrase}", *shown, ""]

    async def _stream_over_http(self, response: httpx.Response, example: Example) -> str:
        stream = OpenStream(response, cast("AsyncGenerator[bytes]", response.aiter_raw()))
        self.stack.push_async_callback(stream.close)
        self.streams[example.name] = stream
        return "\n".join([*self._head(response), *await self._events(stream, example)])

    async def _events(self, stream: OpenStream, example: Example) -> list[str]:
        events: list[str] = []
        while (event := await stream.event()) is not None:
            number = f"id: {event.id}\n" if event.id else ""
            events.append(f"{number}data: {self._json(orjson.loads(event.data), example, indent=6)}\n")
            if is_enough(event.data.decode(), example):
                return [*shortened(events, example), *_LEFT]
        return shortened(events, example)

    # --- gRPC ---------------------------------------------------------------------------------------------

    async def _over_grpc(self, example: Example) -> str:
        first, headers, body = request_of(self.names.insert(example.request))
        rpc = RPCS[f"/{first}"]
        message = json_format.ParseDict(orjson.loads(body), rpc.request()).SerializeToString()
        pseudo = [(":method", "POST"), (":path", rpc.path), (":scheme", "http"), (":authority", "agent")]
        own = [("te", "trailers"), ("content-type", "application/grpc")]
        stream = await anyio.connect_tcp(self.http.base_url.host, self.http.base_url.port or 80)
        messages: list[str] = []
        async with stream:
            exchange = GrpcExchange(stream)
            await exchange.begin([*pseudo, *headers, *own], message)
            while (found := await exchange.message()) is not None:
                value = in_order(whole(json_format.MessageToDict(rpc.answer.FromString(found))))
                messages.append(f"{self._json(value, example)}\n")
                if is_enough(orjson.dumps(value).decode(), example):
                    return "\n".join([*shortened(messages, example), *_LEFT])
        lines = shortened(messages, example)
        error = error_of(exchange)
        if error is None:
            return "\n".join([*lines, "OK", ""])
        status = error[1]["error"]
        lines.append(f"{status['status']}: {status['message']}")
        lines += [self._json(detail, example) for detail in status["details"]]
        return "\n".join([*lines, ""])

    # --- WebSocket ----------------------------------------------------------------------------------------

    async def _over_websocket(self, example: Example) -> str:
        head, sent = transcript_of(example.request)
        lines = []
        if head:
            lines = [f"{head}\n"]
            self.socket = await self._connected(head)
        assert self.socket is not None, "no connection is open yet"
        for number, text in enumerate(sent, 1):
            message = orjson.loads(self.names.insert(text))
            await self.socket.exchange.send(message)
            self.socket.running.add(message["id"])
            answers = await self._answers(self.socket, example)
            lines += [f"> {text}\n", *shortened(answers, example)]
            if self.socket.running and number == len(sent):
                lines.append("...\n")
        return "\n".join(lines)

    async def _connected(self, head: str) -> Conversation:
        _, headers, _ = request_of(self.names.insert(head))
        stream = await anyio.connect_tcp(self.http.base_url.host, self.http.base_url.port or 80)
        self.stack.push_async_callback(stream.aclose)
        conversation = Conversation(WebSocketExchange(stream))
        await conversation.exchange.shake_hands(self.http.base_url.netloc.decode(), headers)
        return conversation

    async def _answers(self, conversation: Conversation, example: Example) -> list[str]:
        """What comes until no request runs, or until enough is shown."""
        answers: list[str] = []
        while conversation.running:
            answer = await conversation.exchange.message()
            answers.append(f"< {self._json(answer, example, indent=2)}\n")
            if "eventId" not in answer:
                conversation.running.discard(answer["id"])
            if is_enough(orjson.dumps(answer).decode(), example):
                break
        return answers

    # --- a shell ------------------------------------------------------------------------------------------

    async def _by_shell(self, example: Example) -> str:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        variables = {"PATH": path, "URL": self.names.url, "TOKEN": self.names.values["TOKEN"], "LANG": "C.UTF-8"}
        done = await anyio.run_process(
            ["bash", "-c", example.request.replace(URL, self.names.url)], env=variables, check=False, stderr=None
        )
        return self.names.text(done.stdout.decode())

    # --- notifications ------------------------------------------------------------------------------------

    async def _arrived(self, example: Example) -> str:
        word = example.options["arrives"].encode()
        await self.receiver.until(lambda: any(word in one.body for one in self.receiver.received))
        received = next(one for one in self.receiver.received if word in one.body)
        shown = [f"{_named(name)}: {received.headers[name]}" for name in _PUSHED_HEADERS if name in received.headers]
        body = self._json(received.json, example)
        return "\n".join([f"POST {received.path} HTTP/1.1", *map(self.names.text, shown), "", body, ""])


def _named(header: str) -> str:
    """The name of a header as documents write it."""
    return header.title().replace("Www", "WWW")


def transcript_of(text: str) -> tuple[str, list[str]]:
    """The handshake of a connection, empty where it is open already, and the messages that the client sends."""
    blocks = text.split("\n\n")
    sent = [block.removeprefix("> ").rstrip() for block in blocks if block.startswith("> ")]
    return (blocks[0] if blocks[0].startswith("GET ") else ""), sent


def request_of(text: str) -> tuple[str, list[tuple[str, str]], str]:
    """The first line of a request, its headers, and its body."""
    head, _, body = text.partition("\n\n")
    first, *lines = head.strip().splitlines()
    pairs = [line.partition(":") for line in lines]
    return first, [(name.strip(), value.strip()) for name, _, value in pairs], body


def in_order(value: Any, *, is_struct: bool = False) -> Any:
    """A message whose structs have their members by name: a map of Protocol Buffers has no order."""
    if isinstance(value, dict):
        names = sorted(value) if is_struct else list(value)
        return {name: in_order(value[name], is_struct=is_struct or name in _STRUCTS) for name in names}
    return [in_order(item, is_struct=is_struct) for item in value] if isinstance(value, list) else value


def is_enough(event: str, example: Example) -> bool:
    """Whether an example leaves its stream after this event."""
    until = example.options.get("until")
    return until is not None and until in event


def shortened(events: list[str], example: Example) -> list[str]:
    """The first and the last events of a stream, as many as the example shows.

    With `only`, of the others those that answer the request with this id: it is not known which come before them.
    """
    first, last = (int(example.options.get(name, len(events))) for name in ("first", "last"))
    if first + last >= len(events):
        return events
    middle = ["...\n"]
    if "only" in example.options:
        wanted = f'"id": {example.options["only"]},'
        middle += [event for event in events[first : len(events) - last] if wanted in event] + ["...\n"]
    return [*events[:first], *middle, *events[len(events) - last :]]


@asynccontextmanager
async def reading(backend: str, variables: Mapping[str, str]) -> AsyncGenerator[Reader]:
    """Serve the demo's agent with these variables, for a reader of one page."""
    chosen, _ = load_settings(variables)
    fake_opencode, port = quick(), free_port()
    async with receiving() as receiver, served(backend, fake_opencode) as opencode, AsyncExitStack() as stack:
        settings = evolve(
            with_generated_token(chosen, TOKEN),
            port=port,
            opencode_url=opencode,
            task_store_backend="memory",
            rate_limit_enabled=False,
        )
        async with (
            agent_at(backend, fake_opencode, settings, bind=f"127.0.0.1:{port}") as agent,
            client(agent.url, None) as http,
        ):
            known = {"TOKEN": TOKEN, HOOK: receiver.url(""), OPENCODE: opencode.removeprefix("http://")}
            names = Names(agent.url, known)
            yield Reader(http, names, receiver, stack)
            await stack.aclose()
