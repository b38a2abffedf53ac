"""Renders the reference of errors as Markdown: what each means, its numbers, and an example for each binding.

The examples are made by the code that answers with the errors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

import orjson

from sansio.a2a.bindings.error_table import BINDINGS, ERROR_CONDITIONS
from sansio.a2a.bindings.jsonrpc import method_not_found, parse_request
from sansio.a2a.bindings.rest import route
from sansio.a2a.errors import (
    ErrorKind,
    LocalError,
    ProtocolError,
    http_error,
    invalid,
    jsonrpc_error,
)
from sansio.a2a.model import JsonObject
from sansio.a2a.versions import VERSIONS, negotiate
from sansio.http import too_large

Example: TypeAlias = Callable[[ErrorKind, str], ProtocolError]
"""An error of a kind, as a protocol version has it."""


def refused(call: Callable[[], object]) -> ProtocolError:
    """The error of a refused call. Raises `LocalError` where it is not."""
    try:
        accepted = call()
    except ProtocolError as error:
        return error
    raise LocalError(f"this is no example of an error: {accepted}")


_EXAMPLES: Mapping[ErrorKind, Callable[[str], ProtocolError]] = {
    ErrorKind.INVALID_REQUEST: lambda version: refused(lambda: parse_request(b'{"jsonrpc":"2.0","id":1}')),
    ErrorKind.METHOD_NOT_FOUND: lambda version: method_not_found("tasks/fly", version),
    ErrorKind.INVALID_PARAMS: lambda version: invalid(
        ("message", "parts", 0, "text"), "must be a string", "string_type"
    ),
    ErrorKind.TASK_NOT_FOUND: lambda version: ProtocolError(ErrorKind.TASK_NOT_FOUND, metadata={"taskId": "task-1"}),
    ErrorKind.VERSION_NOT_SUPPORTED: lambda version: refused(lambda: negotiate("2.0", hint=None)),
    ErrorKind.NOT_FOUND: lambda version: refused(lambda: route("GET", "/fly")),
    ErrorKind.PAYLOAD_TOO_LARGE: lambda version: too_large(1 << 20),
    ErrorKind.METHOD_NOT_ALLOWED: lambda version: refused(lambda: route("PUT", "/tasks/task-1")),
}


def markdown() -> str:
    """Render a table of all errors, and a section with examples for each."""

    def example(kind: ErrorKind, version: str) -> ProtocolError:
        made = _EXAMPLES.get(kind)
        return made(version) if made is not None else ProtocolError(kind)

    return "\n".join([*_overview(example), *(line for kind in ErrorKind for line in _section(kind, example))])


def _overview(example: Example) -> Iterator[str]:
    yield "| error | JSON-RPC `code` | HTTP, 0.3 | HTTP, 1.0 | `status`, 1.0; gRPC | `type`, 0.3 |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for kind in ErrorKind:
        row = kind.row
        link = f"[`{kind.name}`](#{kind.name.lower()})"
        code = str(row.code) if BINDINGS[0] in ERROR_CONDITIONS[kind].bindings else ""
        if BINDINGS[1] not in ERROR_CONDITIONS[kind].bindings:
            yield f"| {link} | {code} | | | `{row.grpc}` | |"
            continue
        _, flat = http_error(example(kind, "0.3"), "0.3")
        named = f"`{flat['type']}`" if "type" in flat else ""
        yield f"| {link} | {code} | {row.status('0.3')} | {row.status('1.0')} | `{row.grpc}` | {named} |"


def _section(kind: ErrorKind, example: Example) -> Iterator[str]:
    condition = ERROR_CONDITIONS[kind]
    yield from ("", f"### `{kind.name}`", "", condition.when, "", "```text")
    for binding in condition.bindings:
        for version in VERSIONS:
            error = example(kind, version)
            if binding == "JSON-RPC":
                yield f"{binding}, {version}   {_json(jsonrpc_error(error, version))}"
            else:
                status, body = http_error(error, version)
                yield f"{binding}, {version}  {status} {_json(body)}"
    yield "```"


def _json(body: JsonObject) -> str:
    return orjson.dumps(body).decode()
