"""The CPU baseline: a Hypercorn app without logic that sends a turn's events one by one, or its task.

Speaks just enough A2A for the load generator; knows nothing of OpenCode and imports nothing of the server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import sys
from typing import Any, Literal

import anyio
import hypercorn.asyncio
import hypercorn.trio
import trio
from hypercorn.config import Config
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope

from tests.benchmarks import turns

_TASK = {"id": "0b1f2a7e-6a0c-4d3c-9f4e-1f7f7c1f9a01", "contextId": "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"}


class Bare:
    """The ASGI application: answers rendered beforehand, for each version. `interval`: seconds before each token."""

    def __init__(self, tokens: int, interval: float) -> None:
        self._interval = interval
        self._streams = {version: [_frame(event) for event in _events(version, tokens)] for version in ("0.3", "1.0")}
        self._tasks = {version: json.dumps(_rpc(_whole(version, tokens))).encode() for version in ("0.3", "1.0")}

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Any, receive: ASGIReceiveCallable, send: Any) -> None:
        message: Any = await receive()
        while message.get("more_body"):
            message = await receive()
        headers = dict(scope["headers"])
        version = headers.get(b"a2a-version", b"0.3").decode()
        if headers.get(b"accept") == b"text/event-stream":
            await send(_start(b"text/event-stream"))
            for frame in self._streams[version]:
                if self._interval:
                    await anyio.sleep(self._interval)
                await send({"type": "http.response.body", "body": frame, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            await send(_start(b"application/json", len(self._tasks[version])))
            await send({"type": "http.response.body", "body": self._tasks[version], "more_body": False})


async def _lifespan(receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        else:
            await send({"type": "lifespan.shutdown.complete"})
            return


def _start(kind: bytes, length: int | None = None) -> dict[str, Any]:
    headers = [(b"content-type", kind)]
    if length is not None:
        headers.append((b"content-length", b"%d" % length))
    return {"type": "http.response.start", "status": 200, "headers": headers}


def _frame(event: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(_rpc(event), separators=(",", ":")).encode() + b"\n\n"


def _rpc(result: dict[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": "message-id-of-thirty-two-letters", "result": result}


def _events(version: str, tokens: int) -> list[dict[str, Any]]:
    """An artifact update per token and the final status: 21 events of a turn of 20 tokens."""
    own = {"taskId": _TASK["id"], "contextId": _TASK["contextId"]}
    told = [
        _named(version, "artifact-update", "artifactUpdate", {**own, "append": index > 0, "artifact": artifact})
        for index, artifact in enumerate(
            _artifact(version, turns.token_text(index), index) for index in range(tokens)
        )
    ]
    final: dict[str, Any] = {"final": True} if version == "0.3" else {}
    ended = {**own, **final, "status": {"state": _completed(version)}, "metadata": _metadata(tokens)}
    return [*told, _named(version, "status-update", "statusUpdate", ended)]


def _whole(version: str, tokens: int) -> dict[str, Any]:
    artifact = _artifact(version, turns.answer_text(tokens), tokens)
    task = {
        **_TASK,
        "status": {"state": _completed(version)},
        "artifacts": [artifact],
        "metadata": _metadata(tokens),
    }
    return _named(version, "task", "task", task)


def _named(version: str, old: str, new: str, value: dict[str, Any]) -> dict[str, Any]:
    return {"kind": old, **value} if version == "0.3" else {new: value}


def _artifact(version: str, text: str, sequence: int) -> dict[str, Any]:
    part = {"kind": "text", "text": text} if version == "0.3" else {"text": text}
    return {
        "artifactId": f"{_TASK['id']}:text",
        "name": "response",
        "parts": [part],
        "metadata": _metadata(sequence),
    }


def _metadata(sequence: int) -> dict[str, Any]:
    stream = {
        "block_type": "text",
        "source": "stream",
        "message_id": "msg_1fd1dd1e2001xA0ExlAmI30vBL",
        "event_id": f"{_TASK['id']}:{_TASK['contextId']}:{_TASK['id']}:stream:{sequence}",
        "sequence": sequence,
    }
    return {"shared": {"stream": stream}}


def _completed(version: str) -> Literal["completed", "TASK_STATE_COMPLETED"]:
    return "completed" if version == "0.3" else "TASK_STATE_COMPLETED"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.bare",
        description="A Hypercorn app without logic, for the CPU baseline.",
    )
    parser.add_argument("--runtime", choices=("asyncio", "trio"), default="asyncio")
    parser.add_argument("--tokens", type=int, default=20)
    parser.add_argument("--token-interval-ms", type=float, default=0.0)
    options = parser.parse_args()
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.errorlog = None
    print(f"listening on http://127.0.0.1:{listener.getsockname()[1]}", file=sys.stderr, flush=True)
    app = Bare(options.tokens, options.token_interval_ms / 1000)
    if options.runtime == "asyncio":
        asyncio.run(hypercorn.asyncio.serve(app, config))
    else:
        trio.run(hypercorn.trio.serve, app, config)


if __name__ == "__main__":
    main()
