"""The A2A protocol as pure code, for servers and for clients: versions 0.3 and 1.0, JSON-RPC and HTTP+JSON.

Nothing here reads a socket, a clock or a file, and nothing knows which agent is served. Bytes and values go in,
bytes and values come out.

The server's side. An HTTP request becomes a `Call`, and the call renders every answer to it:

    Request -> understand -> Call -> call.read() -> the agent works -> call.respond, call.frame or call.refuse

`understand`          read a `Request` by the rules of a `ServedProtocol`; it raises `CallRefusedError`
`Request`             one HTTP request: method, path, query, lower-case headers, body
`ServedProtocol`      the versions and extensions that a deployment serves
`Call`                a request that was understood: its `operation`, its typed parameters, its renderers
`CallRefusedError`    a request that was not; its `response` is the finished refusal
`Operation`           the operations of the protocol, a row each
`ProtocolError`       the other side cannot have what it asked for; its `kind` is a row of `ErrorKind`
`ErrorKind`           every error with its JSON-RPC code, HTTP status and name

A task is its event log. Events are numbered from 1 and add up to the `Task`. A reader is a number, its cursor:

    TaskLog.append(StatusChanged | ArtifactChunk | ...) -> Entry(number, event, item) -> TaskLog.since(cursor)

`TaskLog`             append events, read from a cursor, fold the events to a task
`StatusChanged`       the event of a new `TaskStatus`
`ArtifactChunk`       the event of a new, replaced or continued `Artifact`
`Task`, `TaskStatus`, `TaskState`, `Artifact`, `Message`, `Role`, `TextPart`
                      the model, which is one for both versions; `sansio.a2a.model` has the rest of it

The client's side. A card offers interfaces, an interface makes requests, and their answers are values of the model:

    read_card -> choose -> send_call -> your HTTP library -> read_answer or StreamReader.feed -> Task, updates

`read_card`           parse another agent's card
`choose`              choose the interface to use: binding, version, URL
`send_call`           make the HTTP request that sends a `SendRequest`, as a value
`SendRequest`         a message and the options of sending it
`read_answer`         parse the whole answer to a send
`StreamReader`        parse an event stream as its bytes arrive
`AgentError`          the agent refused; `ProtocolError`: its answer is not valid

An example, which answers the request of a task that does not exist:

    >>> from sansio.a2a import ErrorKind, ProtocolError, Request, ServedProtocol, understand
    >>> body = b'{"jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": {"id": "task-1"}}'
    >>> call = understand(Request("POST", "/", b"", {"content-type": "application/json"}, body), ServedProtocol())
    >>> call.operation.name, call.version, call.read().id
    ('GET_TASK', '1.0', 'task-1')
    >>> call.refuse(ProtocolError(ErrorKind.TASK_NOT_FOUND)).body[:62]
    b'{"jsonrpc":"2.0","id":1,"error":{"code":-32001,"message":"Task'

Each name is imported from its module when it is first used, so a program pays for the half it needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sansio.a2a.bindings.http_messages import Request
    from sansio.a2a.cards.parse import choose, read_card
    from sansio.a2a.client.calls import StreamReader, read_answer, send_call
    from sansio.a2a.client.client_errors import AgentError
    from sansio.a2a.errors import ErrorKind, ProtocolError
    from sansio.a2a.model import (
        Artifact,
        Message,
        Role,
        SendRequest,
        Task,
        TaskState,
        TaskStatus,
        TextPart,
    )
    from sansio.a2a.operations import Operation
    from sansio.a2a.server import Call, CallRefusedError, ServedProtocol, understand
    from sansio.a2a.tasks.task_log import ArtifactChunk, StatusChanged, TaskLog

__all__ = [
    "AgentError",
    "Artifact",
    "ArtifactChunk",
    "Call",
    "CallRefusedError",
    "ErrorKind",
    "Message",
    "Operation",
    "ProtocolError",
    "Request",
    "Role",
    "SendRequest",
    "ServedProtocol",
    "StatusChanged",
    "StreamReader",
    "Task",
    "TaskLog",
    "TaskState",
    "TaskStatus",
    "TextPart",
    "choose",
    "read_answer",
    "read_card",
    "send_call",
    "understand",
]

_MODULES = {
    "bindings.http_messages": ("Request",),
    "cards.parse": ("choose", "read_card"),
    "client.client_errors": ("AgentError",),
    "client.calls": ("StreamReader", "read_answer", "send_call"),
    "errors": ("ErrorKind", "ProtocolError"),
    "model": ("Artifact", "Message", "Role", "SendRequest", "Task", "TaskState", "TaskStatus", "TextPart"),
    "operations": ("Operation",),
    "server": ("Call", "CallRefusedError", "ServedProtocol", "understand"),
    "tasks.task_log": ("ArtifactChunk", "StatusChanged", "TaskLog"),
}
"""The exported names by module. To import all of them at once would make `sansio.a2a.errors` half as slow again."""

if not TYPE_CHECKING:  # a type checker would take any name for one of this package

    def __getattr__(name: str) -> object:
        for module, names in _MODULES.items():
            if name in names:
                value = globals()[name] = getattr(import_module(f"{__name__}.{module}"), name)
                return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
