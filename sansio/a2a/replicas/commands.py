"""Commands to the server that works on a task, and its answers, as JSON.

A caller is known and a request is parsed where it came in; the owner of the task does it as if it had come there.
Every command may be done twice with the effect of once: the database may give it to a second owner.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias, TypeVar

import orjson
from attrs import asdict, evolve, frozen

from sansio.a2a.bindings.trace_context import TraceContext, trace_context_of
from sansio.a2a.codecs import v1_0
from sansio.a2a.errors import ErrorKind, ErrorRow, LocalError, ProtocolError, Violation
from sansio.a2a.model import JsonObject, PushConfig, SendRequest
from sansio.a2a.tasks.push_notifications import decode_config, encode_config

T = TypeVar("T")


@frozen(kw_only=True)
class Send:
    """A message for a task, or for the one in its context that waits for an answer. `view`: a presentation's key."""

    principal: str
    send: SendRequest
    view: str
    trace: TraceContext | None = None


@frozen(kw_only=True)
class Cancel:
    """End a task. `again`: one that is cancelled already stays so."""

    principal: str
    task_id: str
    again: bool


@frozen(kw_only=True)
class SetPush:
    """Notify about a task. `config`: with its ids. `view`: a presentation's key."""

    principal: str
    config: PushConfig
    view: str


@frozen(kw_only=True)
class DropPush:
    """Notify about a task no more, as far as one push configuration asked for it."""

    principal: str
    task_id: str
    config_id: str


@frozen(kw_only=True)
class AgentCommand:
    """A command of the agent's own for a principal. `arguments`: JSON; what `name` means, the agent knows."""

    principal: str
    name: str
    arguments: JsonObject


Command: TypeAlias = Send | Cancel | SetPush | DropPush | AgentCommand


def encode_command(command: Command) -> bytes:
    """Render a command as JSON."""
    match command:
        case Send():
            body: JsonObject = {
                "send": v1_0.render_send(command.send),
                "codec": command.send.codec_name,
                "interruptsOnly": command.send.interrupts_only,
                "view": command.view,
                "trace": None if command.trace is None else dict(command.trace.headers),
            }
        case Cancel():
            body = {"task": command.task_id, "again": command.again}
        case SetPush():
            config = command.config
            body = {
                "task": config.task_id,
                "id": config.id,
                "config": orjson.loads(encode_config(config)),
                "view": command.view,
            }
        case DropPush():
            body = {"task": command.task_id, "id": command.config_id}
        case _:
            body = {"name": command.name, "arguments": command.arguments}
    return orjson.dumps({"kind": type(command).__name__, "principal": command.principal, **body})


def decode_command(data: bytes) -> Command:
    """Read a command. Raises `LocalError` for anything else."""
    return _decoded(data, lambda body: _READERS[body["kind"]](body["principal"], body))


def _send(principal: str, body: JsonObject) -> Send:
    trace = body["trace"]
    send = evolve(v1_0.parse_send(body["send"]), codec_name=body["codec"])
    if body.get("interruptsOnly") is True:  # which servers of an earlier release leave out
        send = send.limited_to_interrupts()
    return Send(
        principal=principal,
        send=send,
        view=body["view"],
        trace=None if trace is None else trace_context_of(trace),
    )


def _cancel(principal: str, body: JsonObject) -> Cancel:
    return Cancel(principal=principal, task_id=body["task"], again=body["again"])


def _set_push(principal: str, body: JsonObject) -> SetPush:
    config = decode_config(orjson.dumps(body["config"]), task_id=body["task"], config_id=body["id"])
    return SetPush(principal=principal, config=config, view=body["view"])


def _drop_push(principal: str, body: JsonObject) -> DropPush:
    return DropPush(principal=principal, task_id=body["task"], config_id=body["id"])


def _agent_command(principal: str, body: JsonObject) -> AgentCommand:
    return AgentCommand(principal=principal, name=body["name"], arguments=body["arguments"])


_READERS: Final[Mapping[str, Callable[[str, JsonObject], Command]]] = {
    "Send": _send,
    "Cancel": _cancel,
    "SetPush": _set_push,
    "DropPush": _drop_push,
    "AgentCommand": _agent_command,
}


# --- what comes of it -----------------------------------------------------------------------------------------


class RelayedError(ProtocolError):
    """An error of the server that was asked, with the names and numbers that it has there."""

    def __init__(self, kind: ErrorKind, row: ErrorRow, reason: str, domain: str, **given: Any) -> None:
        super().__init__(kind, **given)
        self._row, self._reason, self._domain = row, reason, domain

    @property
    def row(self) -> ErrorRow:
        """The numbers and names of the error."""
        return self._row

    @property
    def reason(self) -> str:
        """The name of the error in version 1.0's `ErrorInfo`."""
        return self._reason

    @property
    def domain(self) -> str:
        """The domain that defines `reason`."""
        return self._domain


def encode_result(result: object) -> bytes:
    """Render what a command gave, which is JSON."""
    return orjson.dumps({"result": result})


def encode_error(error: ProtocolError) -> bytes:
    """Render what a command was refused with."""
    row = error.row
    return orjson.dumps(
        {
            "error": {
                "kind": error.kind.name,
                "row": {name: getattr(row, name) for name in _ROW},
                "reason": error.reason,
                "domain": error.domain,
                "message": error.message,
                "violations": [asdict(violation) for violation in error.violations],
                "data": error.data,
                "data_v1": error.data_v1,
                "metadata": error.metadata,
            }
        }
    )


_ROW: Final = ("code", "http", "grpc", "message", "name", "http_0_3")


def is_refusal(data: bytes) -> bool:
    """Whether an answer is what `encode_error` gave."""
    return data.startswith(b'{"error":')


def decode_answer(data: bytes) -> Any:
    """Return the result of a command. Raises `ProtocolError` as it was refused, `LocalError` for anything else."""
    answer = _decoded(data, _answer)
    if isinstance(answer, RelayedError):
        raise answer
    return answer


def _answer(body: JsonObject) -> Any:
    if "result" in body:
        return body["result"]
    error = dict(body["error"])
    violations = [Violation(tuple(one["path"]), one["type"], one["message"]) for one in error.pop("violations")]
    kind, row = ErrorKind[error.pop("kind")], ErrorRow(**error.pop("row"))
    return RelayedError(kind, row, error.pop("reason"), error.pop("domain"), violations=violations, **error)


def _decoded(data: bytes, read: Callable[[JsonObject], T]) -> T:
    try:
        return read(orjson.loads(data))
    except ProtocolError as error:
        raise LocalError(f"a command of another server cannot be read: {error.message}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LocalError(f"a command of another server cannot be read: {type(error).__name__}") from None
