"""Answers over gRPC: messages, streams of them, and the status that ends each.

Needs the extra `grpc`; imported where an answer is read. Errors become the ones that the other bindings give.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote

import orjson
from attrs import frozen
from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message

from sansio.a2a.bindings import grpc
from sansio.a2a.client.agent_errors import agent_error, postponed
from sansio.a2a.client.client_errors import AgentError, InvalidAnswerError
from sansio.a2a.client.grpc_requests import rpc_of
from sansio.a2a.dialects import DIALECTS
from sansio.a2a.errors import ProtocolError
from sansio.a2a.model import JsonObject
from sansio.a2a.operations import Operation
from sansio.a2a.protobuf import cards_0_3
from sansio.a2a.protobuf.conversion import json_of
from sansio.a2a.protobuf.messages import POOL, STATUS, message

MOST_VALUES: Final = 1_000_000
"""Values of an answer: in memory, each takes far more than its two bytes."""

_MOST_DETAILS: Final = 32
_DETAILS: Final = frozenset(
    kind.full_name
    for kind in (
        *POOL.FindFileByName("google/rpc/error_details.proto").message_types_by_name.values(),
        POOL.FindMessageTypeByName("google.protobuf.Struct"),
    )
)
"""The kinds of details that are read. None holds a detail itself, which could be nested without end."""

_NAMES: Final = {number: name for name, number in grpc.CODES.items()}
_HTTP_STATUSES: Final[Mapping[str, int]] = {
    "CANCELLED": 499,
    "INVALID_ARGUMENT": 400,
    "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "PERMISSION_DENIED": 403,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400,
    "ABORTED": 409,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "UNAUTHENTICATED": 401,
}
"""The HTTP status that a code stands for, as `google.rpc.Code` has it; 500 for the others."""

_LISTS: Final = {Operation.LIST_TASKS: "tasks", Operation.LIST_PUSH_CONFIGS: "configs"}
"""The lists of answers: a message leaves out an empty one."""

_UNKNOWN: Final = "TASK_STATE_UNSPECIFIED"


# --- status -----------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class GrpcStatus:
    """The status of an answer that is not OK, as an error of HTTP+JSON. `retry_after`: seconds."""

    http_status: int
    body: bytes
    retry_after: float | None = None

    def error(self, body: bytes | None = None) -> AgentError:
        """Return the error. `body`: the one to read in place of its own."""
        body = self.body if body is None else body
        if self.retry_after is not None:
            return postponed(self.http_status, body, self.retry_after)
        return agent_error(self.http_status, body)


def status_in(trailers: Iterable[tuple[bytes, bytes]], retry_after: float | None = None) -> GrpcStatus | None:
    """Return the status of an answer, by its trailers, or its headers where there are no others; None: it is OK.

    `retry_after`: seconds that a header says; the details may say others. Raises `InvalidAnswerError` where
    there is no status.
    """
    found = {name.lower(): value for name, value in trailers}
    text = found.get(b"grpc-status", b"").strip()
    if not text.isdigit() or len(text) > 3:
        raise InvalidAnswerError("The agent's answer ends without a grpc-status")
    if int(text) == grpc.CODES["OK"]:
        return None
    name = _NAMES.get(int(text), "UNKNOWN")
    status = _HTTP_STATUSES.get(name, 500)
    details = list(_details(found.get(b"grpc-status-details-bin", b"")))
    error = {
        "code": status,
        "message": unquote(found.get(b"grpc-message", b"").decode("utf-8", "replace")),
        "status": name,
        "details": details,
    }
    return GrpcStatus(
        http_status=status,
        body=orjson.dumps({"error": error}),
        retry_after=next((seconds for one in details if (seconds := _retry_delay(one)) is not None), retry_after),
    )


def _details(text: bytes) -> Iterator[JsonObject]:
    """Yield the details that are of a known kind. What cannot be read is left out: the code is there without them."""
    status = STATUS()
    try:
        status.ParseFromString(base64.b64decode(text + b"=" * (-len(text) % 4)))
    except (binascii.Error, DecodeError):
        return
    for detail in status.details[:_MOST_DETAILS]:
        if detail.TypeName() not in _DETAILS:
            continue
        try:
            inner: Message = message(detail.TypeName())()
            inner.ParseFromString(detail.value)
            value: JsonObject = json_format.MessageToDict(inner, descriptor_pool=POOL)
        except (DecodeError, json_format.Error, ValueError):  # also a number that JSON has no word for
            continue
        yield value


def _retry_delay(detail: JsonObject) -> float | None:
    """Return the seconds of a `google.rpc.RetryInfo`."""
    delay = detail.get("retryDelay")
    try:
        return max(0.0, float(delay.removesuffix("s"))) if isinstance(delay, str) else None
    except ValueError:
        return None


def starts_answer(status: int, content_type: str) -> bool:
    """Return whether an answer is one of gRPC. `content_type`: without parameters, in lower case."""
    return status == 200 and grpc.is_grpc({"content-type": content_type})


# --- messages ---------------------------------------------------------------------------------------------


def message_in(body: bytes) -> bytes:
    """Return the one message of an answer. Raises `InvalidAnswerError`."""
    try:
        return grpc.message_in(body)
    except ProtocolError as error:
        raise _invalid(error) from None


def result_in(version: str, operation: Operation, data: bytes) -> JsonObject:
    """Return the JSON of a message that answers an operation. Raises `InvalidAnswerError`."""
    found = _json(version, operation, data)
    if operation in _LISTS:
        found.setdefault(_LISTS[operation], [])
    if operation is Operation.EXTENDED_CARD and not DIALECTS[version].has_error_details:
        return cards_0_3.of_message(found)
    return found


class GrpcDecoder:
    """A stream's bytes in, JSON of its messages out. `limit`: bytes of one message."""

    def __init__(self, version: str, limit: int) -> None:
        self._version = version
        self._reader = grpc.MessageReader(limit)
        self._last_id = ""

    @property
    def last_id(self) -> str:
        """The id of the last message that had one in its metadata; empty where none had."""
        return self._last_id

    @property
    def held(self) -> int:
        """Bytes of a message whose end has not come."""
        return self._reader.held

    def feed(self, chunk: bytes) -> Iterator[JsonObject]:
        """Yield the messages that are whole now; consume it whole. Raises `InvalidAnswerError`."""
        try:
            for data in self._reader.messages(chunk):
                value = _json(self._version, Operation.STREAM, data)
                self._last_id = _event_id(value) or self._last_id
                yield value
        except InvalidAnswerError:
            raise
        except ProtocolError as error:
            raise _invalid(error) from None


def _json(version: str, operation: Operation, data: bytes) -> JsonObject:
    try:
        found = json_of(rpc_of(version, operation).answer, data, MOST_VALUES)
    except ProtocolError as error:
        raise _invalid(error) from None
    for holder in (found, *found.values(), *found.get("tasks", ())):
        if isinstance(holder, dict):
            _fill(holder)
    return found


def _fill(holder: JsonObject) -> None:
    """Add members of a task, or of a stream item, that are required, and left out of a message as their defaults."""
    status = holder.get("status")
    if isinstance(status, dict):
        status.setdefault("state", _UNKNOWN)
    for artifact in (holder.get("artifact"), *holder.get("artifacts", ())):
        if isinstance(artifact, dict):
            artifact.setdefault("parts", [])


def _invalid(error: ProtocolError) -> InvalidAnswerError:
    return InvalidAnswerError(f"The agent's answer is not valid over gRPC: {error.message}")


def _event_id(value: JsonObject) -> str:
    """Return the id of an event, as the extension for resuming streams has it."""
    found: Any = next(iter(value.values()), None)
    for name in ("metadata", "shared", "resume", "event_id"):
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, str) else ""
