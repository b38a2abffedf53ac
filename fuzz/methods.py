"""Targets of the extension methods: their parameters, OpenCode's answers to them, and the decoding of large ones."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from fuzz.target import LARGEST_ERROR, Target, require
from sansio.a2a.errors import ErrorKind, ProtocolError, http_error, jsonrpc_error
from sansio.extensions.methods.method_rows import MethodRow, Reply
from sansio.extensions.methods.method_table import METHODS
from sansio.extensions.methods.parameters import Arguments, read
from sansio.extensions.methods.rendering import for_version
from sansio.large_json import decoded
from sansio.opencode.upstream.requests import Location
from tests.steps import taken
from tests.strategies import json_values

_PLACE = Location(directory="/workspace")
_NAMES = tuple(METHODS)


def check_methods(data: bytes) -> None:
    """Whatever a method is given as parameters, it has a call to make of them or refuses them by name."""
    row, params = _read(data)
    if row is None:
        return
    try:
        given = read(row.parameters, params, row.unsupported)
    except ProtocolError as error:
        require(error.kind is ErrorKind.INVALID_PARAMS, "another error")
        require(bool(error.violations), "an error that names nothing")
        require(isinstance(error.data, dict) and "type" in error.data, "an error without a type")
        rendered = [
            orjson.dumps([jsonrpc_error(error, version), http_error(error, version)]) for version in ("0.3", "1.0")
        ]
        require(sum(map(len, rendered)) < LARGEST_ERROR, "a large error")
        return
    missing = {one.name for one in row.parameters if one.required} - given.values.keys()
    require(not missing, "something required is missing")
    if row.call is not None:
        call = row.call(given, _PLACE)
        require(call.target.startswith("/") and call.target.isascii(), "a target that cannot be asked for")
        steps = call.target.split("?")[0].split("/")
        require(not any(step in (".", "..") for step in steps), "a way out of the path")


def check_projections(data: bytes) -> None:
    """Whatever OpenCode answers to a method, its row makes a result of it that can be sent, or refuses it."""
    row, answer = _read(data)
    if row is None or row.project is None:
        return
    given = Arguments({"session_id": "ses_1", "message_id": "msg_1"})
    try:
        if row.before is not None:
            row.before.absorb(given, Reply(answer))
        result = taken(row.projected(Reply(answer, "cursor"), given))
    except ValueError:
        return
    require(result.keys() == row.result.members.keys(), "another result than was declared")
    orjson.dumps([for_version(result, version) for version in row.versions])


def check_large_json(data: bytes) -> None:
    """A text that is decoded in slices gives what it gives decoded at once, or neither can be."""
    expected = _outcome(data)
    for size in (0, 7):
        try:
            found = ("value", taken(decoded(data, size=size)))
        except ValueError as error:
            found = ("refused", "")
            if expected[0] == "value":
                require("nested" in str(error), "what is JSON is refused")
                continue
        require(found == expected, f"another outcome in slices of {size}")


def _outcome(data: bytes) -> tuple[str, Any]:
    try:
        return "value", orjson.loads(data)
    except ValueError:
        return "refused", ""


def _read(data: bytes) -> tuple[MethodRow | None, Any]:
    """The row, and the value that goes with it."""
    try:
        method, value = orjson.loads(data)
    except (ValueError, TypeError):
        return None, None
    return (METHODS.get(method), value) if isinstance(method, str) else (None, None)


_ID = {"session_id": "ses_1", "message_id": "msg_1"}
_REQUEST = {
    "messageID": "msg_1",
    "partID": "prt_1",
    "providerID": "p",
    "modelID": "m",
    "auto": True,
    "agent": "build",
    "command": "init",
    "arguments": "x",
    "model": {"providerID": "p", "modelID": "m"},
    "variant": "v",
    "type": "worktree",
    "id": "wrk_1",
    "branch": "b",
    "extra": {"a": [1]},
    "name": "n",
    "startCommand": "make",
    "directory": "/worktrees/n",
    "noReply": True,
    "tools": {"bash": True},
    "format": {"type": "json_schema", "schema": {"type": "object"}, "retryCount": 1},
    "system": "s",
    "parts": [
        {"type": "text", "text": "x", "id": "prt_1"},
        {"type": "file", "mime": "text/plain", "url": "data:,x", "filename": "a"},
        {"type": "agent", "name": "general"},
        {"type": "subtask", "prompt": "p", "description": "d", "agent": "a", "command": "c"},
    ],
}
_TOP = {
    **_ID,
    "limit": 5,
    "before": "c",
    "roots": True,
    "start": 1,
    "search": "s",
    "directory": "/workspace/a",
    "provider_id": "p",
    "workspace_id": "wrk_1",
    "request_id": "per_1",
    "reply": "once",
    "message": "m",
    "answers": [["a"], []],
    "query": {"limit": 5, "before": "c", "roots": True, "start": 1, "search": "s", "directory": "/workspace/a"},
    "metadata": {"opencode": {"directory": "/workspace", "instance": "main", "workspace": {"id": "wrk_1"}}},
    "request": _REQUEST,
}


def _whole(row: MethodRow) -> bytes:
    """A request with every parameter that the row has."""
    params: dict[str, Any] = {}
    for parameter in row.parameters:
        for path in parameter.paths:
            source: Any = _TOP
            into = params
            *above, last = path.split(".")
            for step in above:
                source, into = source[step], into.setdefault(step, {})
            into[last] = source[last]
    return orjson.dumps([row.name, params])


_SESSION = {
    "id": "ses_1",
    "title": "t",
    "projectID": "p",
    "directory": "/d",
    "parentID": "ses_0",
    "version": "1",
    "model": {"id": "m", "providerID": "p"},
    "share": {"url": "https://x"},
    "revert": {"messageID": "msg_1", "partID": "prt_1", "snapshot": "s", "diff": "d"},
    "time": {"updated": 1},
}
_MESSAGE = {
    "info": {"id": "msg_1", "role": "assistant"},
    "parts": [
        {"type": "text", "text": "x"},
        {"type": "file", "mime": "m", "url": "data:,x", "filename": "f"},
        {"type": "tool", "callID": "c", "tool": "bash", "state": {"status": "completed", "input": {}, "output": "o"}},
    ],
}
_MODEL = {
    "name": "M",
    "status": "active",
    "limit": {"context": 1, "output": 2},
    "capabilities": {"reasoning": True, "toolcall": False, "attachment": True},
}
_ANSWERS: tuple[Any, ...] = (
    _SESSION,
    [_SESSION],
    _MESSAGE,
    [_MESSAGE],
    {"ses_1": {"type": "retry", "attempt": 1, "message": "m", "next": 5}},
    [{"content": "c", "status": "s", "priority": "p"}],
    [{"file": "f", "patch": "p", "additions": 1, "deletions": 2, "before": "b", "after": "a", "status": "added"}],
    {
        "all": [{"id": "p", "name": "P", "source": "config", "models": {"m": _MODEL}}],
        "default": {"p": "m"},
        "connected": ["p"],
    },
    ["/worktrees/a"],
    True,
    None,
)


def _with_method(values: SearchStrategy[Any]) -> SearchStrategy[bytes]:
    return st.tuples(st.sampled_from(_NAMES), values).map(orjson.dumps)


_NESTED = (
    b'{"a":[1,{"b":"},{"},[]],"c":{"d":[{"e":"\\"]"},null,true]},"f":"x"}',
    b'[[{"a":1},{"a":2}],{"b":[{},{}]},"a,b",[[]]]',
)

TARGETS = (
    Target(
        name="methods",
        check=check_methods,
        documents=tuple(_whole(row) for row in METHODS.values()),
        strategy=_with_method(json_values),
    ),
    Target(
        name="projections",
        check=check_projections,
        documents=tuple(orjson.dumps([name, answer]) for name in _NAMES for answer in _ANSWERS),
        strategy=_with_method(json_values),
    ),
    Target(
        name="large_json",
        check=check_large_json,
        documents=_NESTED,
        strategy=json_values.map(orjson.dumps) | st.binary(max_size=30),
    ),
)
