"""The table of clients in `docs/clients.md`: `python -m tests.interop.client_table` prints it.

Made of the ways that the tests go with other people's clients, and of the files that pin these.
"""

from __future__ import annotations

import json
import re

from tests.interop.agent import READY_MADE, SOCKETS, WAYS, has
from tests.interop.environments import PINS
from tests.interop.matrix import OPERATIONS

PACKAGES = {
    "python-0.3": ("a2a-sdk", "python-0.3.txt"),
    "python-1": ("a2a-sdk", "python-1.txt"),
    "javascript-0.3": ("a2a-sdk-0.3", "package.json"),
    "javascript-1": ("a2a-sdk-1", "package.json"),
    "google-adk": ("google-adk", "google-adk.txt"),
    "strands": ("strands-agents", "strands.txt"),
    "a2a-handler": ("a2a-handler", "a2a-handler.txt"),
    "websockets": ("websockets", "websockets.txt"),
}
"""Of each client the package, and the file that pins it."""

BUILT_IN = {"node": "Node's `WebSocket`", "chromium": "a page in Chromium"}
"""Clients that no file pins."""

BINDINGS = {"jsonrpc": "JSON-RPC", "rest": "HTTP+JSON", "grpc": "gRPC", "websocket": "WebSocket"}


def pinned(client: str) -> str:
    """A client's package with its version. Raises `KeyError` for a client without a row."""
    if client in BUILT_IN:
        return BUILT_IN[client]
    package, file = PACKAGES[client]
    text = (PINS / file).read_text("utf-8")
    if file == "package.json":
        name, _, version = json.loads(text)["dependencies"][package].removeprefix("npm:").rpartition("@")
        return f"`{name}` {version}"
    found = re.search(rf"^{re.escape(package)}==(\S+)", text, re.MULTILINE)
    assert found is not None, f"{file} does not pin {package}"
    return f"`{package}` {found[1]}"


def table() -> str:
    """A row for each client, version and binding, with the operations that the tests do this way."""
    lines = ["| client | version | binding | operations |", "| --- | --- | --- | --- |"]
    for way in (*WAYS, *READY_MADE, *SOCKETS):
        operations = ", ".join(one for one in OPERATIONS if has(way, one))
        lines.append(f"| {pinned(way.client)} | {way.version} | {BINDINGS[way.binding]} | {operations} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
