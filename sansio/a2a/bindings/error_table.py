"""The reference of errors as markdown: what each means, its numbers, and an example on both lines and bindings.

Pure: the examples are made by what answers with the errors. Where the text goes is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

import orjson
from attrs import frozen

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
from sansio.a2a.versions import LINES, negotiate

Example: TypeAlias = Callable[[ErrorKind, str], ProtocolError]
"""An error of a kind, as it is told on a line."""


BINDINGS = ("JSON-RPC", "HTTP+JSON")
_RPC = BINDINGS[:1]
_HTTP = BINDINGS[1:]  # also of guards, which refuse before it is known whether the request is JSON-RPC at all


@frozen
class Told:
    """When an error is answered, and over which bindings."""

    when: str
    bindings: tuple[str, ...] = BINDINGS


TOLD: Mapping[ErrorKind, Told] = {
    ErrorKind.PARSE_ERROR: Told("The body is no JSON."),
    ErrorKind.INVALID_REQUEST: Told(
        "The body is JSON, but no JSON-RPC request. Batches are no part of A2A, so a list is refused as well.", _RPC
    ),
    ErrorKind.METHOD_NOT_FOUND: Told("No operation has this JSON-RPC method name, on either line.", _RPC),
    ErrorKind.INVALID_PARAMS: Told(
        "A parameter is missing or wrong. All wrong fields are told at once, each by its path (`loc`: as a list)."
    ),
    ErrorKind.INTERNAL_ERROR: Told("The server failed. The server's log says why, the answer does not."),
    ErrorKind.TASK_NOT_FOUND: Told(
        "There is no such task, or it is another caller's: the two look the same. A push configuration that is not "
        "there is told in this way too."
    ),
    ErrorKind.TASK_NOT_CANCELABLE: Told("The task has ended, and not by being cancelled."),
    ErrorKind.PUSH_NOTIFICATION_NOT_SUPPORTED: Told("This deployment sends no push notifications."),
    ErrorKind.UNSUPPORTED_OPERATION: Told(
        "Nothing is wrong with the request, but it is not done here: such as following a task that has ended, on "
        "line 1.0."
    ),
    ErrorKind.CONTENT_TYPE_NOT_SUPPORTED: Told("A part of the message is of a kind that OpenCode cannot be given."),
    ErrorKind.INVALID_AGENT_RESPONSE: Told("What another program answered is not what its protocol promises."),
    ErrorKind.EXTENDED_AGENT_CARD_NOT_CONFIGURED: Told("There is no other card than the public one."),
    ErrorKind.EXTENSION_SUPPORT_REQUIRED: Told("The client did not ask for an extension that the card requires."),
    ErrorKind.VERSION_NOT_SUPPORTED: Told("The `A2A-Version` asked for is none of those on offer."),
    ErrorKind.UNAUTHENTICATED: Told(
        "No credentials, or none that are known. The header `WWW-Authenticate` names the schemes.", _HTTP
    ),
    ErrorKind.FORBIDDEN: Told(
        "A browser asks for a page of another origin, which `A2A_ALLOWED_ORIGINS` does not allow.", _HTTP
    ),
    ErrorKind.UNSUPPORTED_MEDIA_TYPE: Told(
        "The request has a body, and no `Content-Type` that says it is JSON: `application/json`, "
        "`application/a2a+json`, or another that ends in `+json`.",
        _HTTP,
    ),
    ErrorKind.NOT_FOUND: Told("No operation has this path.", _HTTP),
    ErrorKind.METHOD_NOT_ALLOWED: Told("The path is known; the header `Allow` names its methods.", _HTTP),
    ErrorKind.PAYLOAD_TOO_LARGE: Told("The body is larger than is accepted, or holds more JSON values."),
    ErrorKind.REQUEST_TIMEOUT: Told("The body stalled, or came more slowly than 4 kB a second.", _HTTP),
    ErrorKind.STORE_UNAVAILABLE: Told(
        "The task store cannot be read or written now: it is full, locked, or gone. The same request may succeed"
        " later. A message that is sent again with the same `messageId` runs once."
    ),
    ErrorKind.OVERLOADED: Told("The server has as much to do as it takes on, or is being stopped. Try again later."),
}


def refused(call: Callable[[], object]) -> ProtocolError:
    """What a call is refused with. Raises ``LocalError`` where it is not."""
    try:
        accepted = call()
    except ProtocolError as error:
        return error
    raise LocalError(f"this is no example of an error: {accepted}")


_EXAMPLES: Mapping[ErrorKind, Callable[[str], ProtocolError]] = {
    ErrorKind.INVALID_REQUEST: lambda line: refused(lambda: parse_request(b'{"jsonrpc":"2.0","id":1}')),
    ErrorKind.METHOD_NOT_FOUND: lambda line: method_not_found("tasks/fly", line),
    ErrorKind.INVALID_PARAMS: lambda line: invalid(
        ("message", "parts", 0, "text"), "must be a string", "string_type"
    ),
    ErrorKind.TASK_NOT_FOUND: lambda line: ProtocolError(ErrorKind.TASK_NOT_FOUND, metadata={"taskId": "task-1"}),
    ErrorKind.VERSION_NOT_SUPPORTED: lambda line: refused(lambda: negotiate("2.0", hint=None)),
    ErrorKind.NOT_FOUND: lambda line: refused(lambda: route("GET", "/fly")),
    ErrorKind.METHOD_NOT_ALLOWED: lambda line: refused(lambda: route("PUT", "/tasks/task-1")),
}


def markdown(more: Mapping[ErrorKind, ProtocolError] | None = None) -> str:
    """A table of all errors, and a section with examples for each. ``more``: examples that are made elsewhere."""
    given = more or {}

    def example(kind: ErrorKind, line: str) -> ProtocolError:
        if kind in given:
            return given[kind]
        made = _EXAMPLES.get(kind)
        return made(line) if made is not None else ProtocolError(kind)

    return "\n".join([*_overview(example), *(line for kind in ErrorKind for line in _section(kind, example))])


def _overview(example: Example) -> Iterator[str]:
    yield "| error | JSON-RPC `code` | HTTP, 0.3 | HTTP, 1.0 | `status`, 1.0 | `type`, 0.3 |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for kind in ErrorKind:
        row = kind.row
        link = f"[`{kind.name}`](#{kind.name.lower()})"
        code = str(row.code) if BINDINGS[0] in TOLD[kind].bindings else ""
        if BINDINGS[1] not in TOLD[kind].bindings:
            yield f"| {link} | {code} | | | | |"
            continue
        _, flat = http_error(example(kind, "0.3"), "0.3")
        named = f"`{flat['type']}`" if "type" in flat else ""
        yield f"| {link} | {code} | {row.status('0.3')} | {row.status('1.0')} | `{row.grpc}` | {named} |"


def _section(kind: ErrorKind, example: Example) -> Iterator[str]:
    told = TOLD[kind]
    yield from ("", f"### `{kind.name}`", "", told.when, "", "```text")
    for binding in told.bindings:
        for line in LINES:
            error = example(kind, line)
            if binding == "JSON-RPC":
                yield f"{binding}, {line}   {_json(jsonrpc_error(error, line))}"
            else:
                status, body = http_error(error, line)
                yield f"{binding}, {line}  {status} {_json(body)}"
    yield "```"


def _json(body: JsonObject) -> str:
    return orjson.dumps(body).decode()
