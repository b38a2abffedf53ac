"""The fake OpenCode's client of tool servers: adds them, lists them, calls their tools, as OpenCode 1.18.33 does.

Unlike OpenCode it connects when a tool is called first, not when the server is added.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
import httpx
import orjson
from attrs import define, field, frozen

from opencode_a2a.fake_opencode.json_values import JsonObject
from sansio.a2a.bindings.sse import SseDecoder

VERSION: Final = "2025-11-25"


class ToolFailedError(Exception):
    """The tool's own error, or why the call did not get through."""


@frozen
class ToolOutput:
    """A result as the model sees it: its text alone."""

    text: str


@define(eq=False)
class ToolServer:
    """One server of tools of one directory. `status` as OpenCode reports it; `progress`: the texts that came."""

    config: JsonObject
    status: str = "connected"
    tools: list[JsonObject] = field(factory=list)
    progress: list[str] = field(factory=list)
    cancelled: int = 0
    _session: str | None = None
    _ids: Iterator[int] = field(factory=itertools.count)

    async def call(self, name: str, arguments: JsonObject) -> ToolOutput:
        """Call a tool; connect first if need be. Raises `ToolFailedError`. To cancel it cancels the call."""
        timeout = httpx.Timeout(30.0, read=self.config.get("timeout", 60_000) / 1000)
        async with httpx.AsyncClient(timeout=timeout, trust_env=False, verify=False) as http:
            try:
                await self._connect(http)
                return await self._call(http, name, arguments)
            except httpx.HTTPError as exc:
                raise ToolFailedError(f"MCP error -32000: {type(exc).__name__}") from None

    async def _connect(self, http: httpx.AsyncClient) -> None:
        if self._session is not None:
            return
        client = {"name": "opencode", "version": "1.18.33"}
        wanted = {"protocolVersion": VERSION, "capabilities": {"roots": {}}, "clientInfo": client}
        response = await self._post(http, "initialize", wanted, next(self._ids))
        if response.status_code != 200:
            raise ToolFailedError(f"MCP error: HTTP {response.status_code}")
        self._session = response.headers["mcp-session-id"]
        await self._post(http, "notifications/initialized", {})
        listed = await self._post(http, "tools/list", {}, next(self._ids))
        self.tools = listed.json()["result"]["tools"]

    async def _call(self, http: httpx.AsyncClient, name: str, arguments: JsonObject) -> ToolOutput:
        number = next(self._ids)
        params = {"name": name, "arguments": arguments, "_meta": {"progressToken": number}}
        request = http.build_request(
            "POST", self.config["url"], headers=self._headers(), content=_body("tools/call", params, number)
        )
        try:
            async with _sent(http, request) as response:
                answer = await self._answer(response)
        except anyio.get_cancelled_exc_class():
            self.cancelled += 1
            with anyio.move_on_after(2, shield=True):
                await self._post(http, "notifications/cancelled", {"requestId": number, "reason": "AbortError"})
            raise
        if "error" in answer:
            raise ToolFailedError(f"MCP error {answer['error']['code']}: {answer['error']['message']}")
        result = answer["result"]
        text = "\n".join(one["text"] for one in result["content"] if one["type"] == "text")
        if result.get("isError"):
            raise ToolFailedError(text)
        return ToolOutput(text)

    async def _answer(self, response: httpx.Response) -> JsonObject:
        decoder = SseDecoder()
        answer: JsonObject | None = None
        async for chunk in response.aiter_bytes():
            for event in decoder.feed(chunk):
                message: JsonObject = orjson.loads(event.data)
                if message.get("method") == "notifications/progress":
                    self.progress.append(message["params"]["message"])
                elif "id" in message:
                    answer = message
        if answer is None:
            raise ToolFailedError("MCP error -32000: Connection closed")
        return answer

    async def _post(
        self, http: httpx.AsyncClient, method: str, params: JsonObject, number: int | None = None
    ) -> httpx.Response:
        return await http.post(self.config["url"], headers=self._headers(), content=_body(method, params, number))

    def _headers(self) -> dict[str, str]:
        given: dict[str, str] = dict(self.config.get("headers", {}))
        given |= {"accept": "application/json, text/event-stream", "content-type": "application/json"}
        if self._session is not None:
            given |= {"mcp-session-id": self._session, "mcp-protocol-version": VERSION}
        return given

    def report(self) -> JsonObject:
        """The status in a list of servers."""
        failed = self.status not in ("connected", "disabled")
        return {"status": "failed", "error": self.status} if failed else {"status": self.status}


def _body(method: str, params: JsonObject, number: int | None) -> bytes:
    message: dict[str, Any] = {"jsonrpc": "2.0", "method": method, "params": params}
    return orjson.dumps(message if number is None else message | {"id": number})


@asynccontextmanager
async def _sent(http: httpx.AsyncClient, request: httpx.Request) -> AsyncIterator[httpx.Response]:
    response = await http.send(request, stream=True)
    try:
        yield response
    finally:
        with anyio.CancelScope(shield=True):
            await response.aclose()
