"""Drives PyPI's websockets: run in its environment as `python -m tests.interop.drivers.websocket_python`.

A program's client: it sends its token with the handshake, and needs no ticket. One connection does it all.
"""

# The client is installed in an environment of its own, never in the one that checks types.
# mypy: disable-error-code="import-not-found, import-untyped"

from __future__ import annotations

import asyncio
import itertools
import json
import urllib.request
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.interop.drivers.dialogue import Json, converse, headers_of

BINDING = "urn:opencode-a2a:binding:websocket:v1"
STAYS_OPEN = "urn:opencode-a2a:extension:interactive-interrupt:v1"


class RefusedError(Exception):
    """The agent refused a request."""

    def __init__(self, error: Json) -> None:
        super().__init__(error["message"])
        self.code = error["code"]


class Connection:
    """A connection whose answers are handed out by their ids."""

    def __init__(self, socket: ClientConnection, url: str) -> None:
        self.socket = socket
        self.url = url
        self.waiting: dict[str, asyncio.Queue[Json]] = {}
        self.ids = map(str, itertools.count())
        self.reading = asyncio.create_task(self._read())

    @classmethod
    async def opened(cls, command: Json) -> Connection:
        card = await asyncio.to_thread(_json_at, f"{command['url']}/.well-known/agent-card.json")
        found = [
            one["url"]
            for one in card["supportedInterfaces"]
            if (one["protocolBinding"], one["protocolVersion"]) == (BINDING, "1.0")
        ]
        headers = headers_of(command) | {"A2A-Version": "1.0"}
        return cls(await connect(found[0], subprotocols=["a2a.v1"], additional_headers=headers, proxy=None), found[0])

    @property
    def server(self) -> str:
        """The server behind the proxy, as that names it."""
        assert self.socket.response is not None
        return str(self.socket.response.headers["X-Served-By"])

    async def _read(self) -> None:
        with suppress(ConnectionClosed):
            async for text in self.socket:
                message = json.loads(text)
                if message["id"] in self.waiting:
                    self.waiting[message["id"]].put_nowait(message)

    async def send(self, **message: Any) -> None:
        await self.socket.send(json.dumps({"jsonrpc": "2.0", **message}))

    async def ask(self, method: str, params: Json, **service_params: str) -> AsyncIterator[Json]:
        """Send a request; yield the messages that answer it, up to the end of its stream."""
        request_id = next(self.ids)
        queue = self.waiting[request_id] = asyncio.Queue()
        await self.send(id=request_id, method=method, params=params, serviceParams=service_params)
        while True:
            message = await asyncio.wait_for(queue.get(), 30)
            if "error" in message:
                raise RefusedError(message["error"])
            yield message
            if "streamEnd" in message:
                return

    async def one(self, method: str, params: Json) -> Json:
        async for message in self.ask(method, params):
            result: Json = message["result"]
            return result
        raise AssertionError("nothing came")


def _json_at(url: str) -> Json:
    with urllib.request.urlopen(url) as answer:
        found: Json = json.load(answer)
        return found


def message_of(text: str) -> Json:
    return {"message": {"messageId": str(uuid.uuid4()), "role": "ROLE_USER", "parts": [{"text": text}]}}


def _text_of(parts: list[Json]) -> str:
    return "".join(part.get("text", "") for part in parts)


def _state_of(status: Json) -> str:
    return str(status["state"]).removeprefix("TASK_STATE_").lower().replace("_", "-")


def task_of(task: Json) -> Json:
    artifacts = [{"artifact": one["artifactId"], "text": _text_of(one["parts"])} for one in task.get("artifacts", ())]
    return {"kind": "task", "task": task["id"], "state": _state_of(task["status"]), "artifacts": artifacts}


def item_of(message: Json) -> Json:
    result, event = message["result"], {"event": int(message["eventId"])}
    if "task" in result:
        return task_of(result["task"]) | event
    if "statusUpdate" in result:
        update = result["statusUpdate"]
        return {"kind": "status", "task": update["taskId"], "state": _state_of(update["status"])} | event
    update = result["artifactUpdate"]
    artifact = update["artifact"]
    return {
        "kind": "artifact",
        "task": update["taskId"],
        "artifact": artifact["artifactId"],
        "text": _text_of(artifact["parts"]),
        "append": update.get("append", False),
    } | event


class Operations:
    """The operations of the driver, on one connection for each server and token."""

    def __init__(self) -> None:
        self.connections: dict[tuple[str, str], Connection] = {}

    async def connected(self, command: Json) -> Connection:
        key = (command["url"], command["token"])
        if key not in self.connections:
            self.connections[key] = await Connection.opened(command)
        return self.connections[key]

    async def card(self, command: Json) -> AsyncIterator[Json]:
        connection = await self.connected(command)
        yield {"interface": connection.url, "subprotocol": connection.socket.subprotocol}

    async def send(self, command: Json) -> AsyncIterator[Json]:
        connection = await self.connected(command)
        yield task_of((await connection.one("SendMessage", message_of(command["text"])))["task"])

    async def stream(self, command: Json) -> AsyncIterator[Json]:
        connection = await self.connected(command)
        async for message in connection.ask("SendStreamingMessage", message_of(command["text"])):
            if "result" in message:
                yield item_of(message)

    async def get(self, command: Json) -> AsyncIterator[Json]:
        connection = await self.connected(command)
        yield task_of(await connection.one("GetTask", {"id": command["task"]}))

    async def list(self, command: Json) -> AsyncIterator[Json]:
        connection = await self.connected(command)
        for task in (await connection.one("ListTasks", {}))["tasks"]:
            yield task_of(task)

    async def cancel(self, command: Json) -> AsyncIterator[Json]:
        connection = await self.connected(command)
        begun = message_of(command["text"]) | {"configuration": {"returnImmediately": True}}
        task = (await connection.one("SendMessage", begun))["task"]
        yield task_of(await connection.one("CancelTask", {"id": task["id"]}))

    async def subscribe(self, command: Json) -> AsyncIterator[Json]:
        """Leave a stream in its middle, and go on after the last event that came."""
        connection = await self.connected(command)
        last: Json = {"event": 0}
        async for message in connection.ask("SendStreamingMessage", message_of(command["text"])):
            if "result" not in message or last["event"] > 5:
                continue
            last = item_of(message)
            yield last
            if last["event"] > 5:
                await connection.send(id=message["id"], cancelStream=True)
        after = {"Last-Event-ID": str(last["event"])}
        async for message in connection.ask("SubscribeToTask", {"id": last["task"]}, **after):
            if "result" in message:
                yield item_of(message)

    async def moved(self, command: Json) -> AsyncIterator[Json]:
        """Lose the connection within a stream, and go on after the last event on another one, as on a bad network."""
        first = await Connection.opened(command)
        yield {"kind": "server", "name": first.server}
        last: Json = {"event": 0}
        async for message in first.ask("SendStreamingMessage", message_of(command["text"])):
            last = item_of(message)
            yield last
            if last["kind"] == "artifact":
                break
        first.socket.transport.abort()
        second = await Connection.opened(command)
        yield {"kind": "server", "name": second.server}
        after = {"Last-Event-ID": str(last["event"])}
        async for message in second.ask("SubscribeToTask", {"id": last["task"]}, **after):
            if "result" in message:
                yield item_of(message)

    async def dialogue(self, command: Json) -> AsyncIterator[Json]:
        """Answer a permission on the connection that the stream is on."""
        connection = await self.connected(command)
        params = {"A2A-Extensions": STAYS_OPEN}
        async for message in connection.ask("SendStreamingMessage", message_of(command["text"]), **params):
            if "result" not in message:
                continue
            item = item_of(message)
            yield item
            if item.get("state") == "input-required":
                items = (await connection.one("opencode.permissions.list", {}))["items"]
                [request] = [one for one in items if one["task_id"] == item["task"]]
                given = {"request_id": request["request_id"], "reply": "once"}
                await connection.one("a2a.interrupt.permission.reply", given)


def explain(error: Exception) -> Json:
    status = error.response.status_code if isinstance(error, InvalidStatus) else None
    return {"code": getattr(error, "code", None), "status": status}


def main() -> None:
    done = Operations()
    names = ("card", "send", "stream", "get", "list", "cancel", "subscribe", "moved", "dialogue")
    converse({name: getattr(done, name) for name in names}, explain)


if __name__ == "__main__":
    main()
