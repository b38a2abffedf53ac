"""Uses the model's tool with the official client of the Model Context Protocol; prints what it saw as JSON.

Run with the interpreter that has the client: `python mcp_tool.py URL SECRET`.
"""

# mypy: disable-error-code="import-not-found, import-untyped"

from __future__ import annotations

import json
import sys
from typing import Any

import anyio
import httpx2
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client


async def main(url: str, secret: str) -> None:
    seen: dict[str, Any] = {"progress": []}

    async def progress(done: float, total: float | None, message: str | None) -> None:
        seen["progress"].append(message)

    async with (
        httpx2.AsyncClient(headers={"authorization": f"Bearer {secret}"}, timeout=60) as http,
        streamable_http_client(url, http_client=http) as streams,
        ClientSession(streams[0], streams[1]) as session,
    ):
        opened = await session.initialize()
        seen["version"] = opened.protocol_version
        seen["server"] = opened.server_info.name
        await session.send_ping()
        seen["tools"] = [tool.name for tool in (await session.list_tools()).tools]
        given = {"url": "http://agent", "message": "hello"}
        result = await session.call_tool("call", given, progress_callback=progress)
        seen["text"], seen["failed"] = result.content[0].text, bool(result.is_error)
        seen["structured"] = result.structured_content
        late = await session.call_tool("call", {**given, "message": "late"})
        seen["late"] = [bool(late.is_error), late.content[0].text]
        try:
            await session.call_tool("other", {})
        except Exception as error:
            seen["unknown"] = str(error)
        with anyio.move_on_after(1):
            await session.call_tool("call", {**given, "message": "wait"})
        seen["after"] = (await session.call_tool("call", given)).content[0].text
    print(json.dumps(seen))


anyio.run(main, sys.argv[1], sys.argv[2])
