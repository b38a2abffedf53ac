"""Every error of the protocol, once: code, HTTP status, gRPC name, reason, and its shape in each version.

All exceptions of `sansio.a2a` have one root. After h11, either the other side broke the protocol, or we did:

    Exception
      A2AError
        LocalError                  a bug on this side
        ProtocolError               the other side cannot have what it asked for, or sent what is not valid
          RpcRequestError           a JSON-RPC envelope is not valid; it keeps the request's id (`bindings.jsonrpc`)
          RelayedError              another server of the same agent refused it (`replicas.commands`)
        ClientError                 another agent could not be called (`client.client_errors`)
          UsageError                the caller's arguments or settings cannot be used; also a `ValueError`
            RefusedTargetError      the policy does not allow its address
          UnavailableError          it was not reached, or stopped in the middle
            TimedOutError           it did nothing for as long as is allowed
          InvalidAnswerError        its answer is not valid; also a `ProtocolError`
            InvalidCardError        its card is none
              NoUsableInterfaceError  its card offers no interface that fits
          AgentError                it answered with an error
            AuthenticationError     it wants credentials, or others
            PermissionDeniedError   it refuses the caller
            UnsupportedError        it does not have the operation, version, content type or extension
              UnsupportedByBindingError  the binding has no such operation, and nothing was sent
            BusyAgentError          it cannot answer now; also an `UnavailableError`
        CallRefusedError            a request cannot be understood; it holds the finished response (`server`)

Sources: specification 1.0.1, sections 3.3.2, 5.4, 9.5 and 11.6; JSON-RPC 2.0, section 5.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from itertools import islice
from typing import Any, Self

from attrs import field, frozen

from sansio.a2a.dialects import DIALECTS
from sansio.a2a.model import JsonObject

DOMAIN = "a2a-protocol.org"

MOST_VIOLATIONS = 20
"""Violations that one error lists. A reader stops at that many, so bad input costs no more than its first faults."""

LONGEST_ECHO = 200
"""Characters of any one text of a caller's that an error repeats."""

_LONGEST_MESSAGE = 4000  # the sentences of `MOST_VIOLATIONS` violations
_LONGEST_TEXT = 1000  # of a member of `data`: what OpenCode answered may take several sentences
_LONGEST_STEP = 80  # characters of a member's name in a path
_MOST_STEPS = 16
_MOST_MEMBERS = 100  # the names of all methods fit
_LEVELS = 4


def shortened(text: str, longest: int = LONGEST_ECHO) -> str:
    """Return the text with at most `longest` characters; an ellipsis stands for the rest."""
    return text if len(text) <= longest else text[: longest - 1] + "\u2026"


def _short_path(path: Sequence[str | int]) -> tuple[str | int, ...]:
    steps: list[str | int] = []
    left = LONGEST_ECHO
    for step in path[:_MOST_STEPS]:
        if isinstance(step, str):
            step = shortened(step, max(1, min(left, _LONGEST_STEP)))
            left -= len(step)
        steps.append(step)
    return tuple(steps)


def _bounded(value: Any, levels: int = _LEVELS) -> Any:
    """Return the JSON value with short texts, short lists and few levels, so that an error stays small."""
    if isinstance(value, str):
        return shortened(value, _LONGEST_TEXT if levels >= _LEVELS - 1 else LONGEST_ECHO)
    if isinstance(value, list | tuple):
        return [_bounded(item, levels - 1) for item in value[:_MOST_MEMBERS]] if levels else []
    if isinstance(value, dict):
        members = islice(value.items(), _MOST_MEMBERS if levels else 0)
        return {shortened(str(name)): _bounded(member, levels - 1) for name, member in members}
    return value


@frozen(kw_only=True)
class ErrorRow:
    """One kind of error. `code`: JSON-RPC; `http`: status; `grpc`: canonical status name.

    `name`: what the official clients of version 0.3 call it, which they look for in a flat body. `http_0_3`: the
    status on that version, where 1.0 has settled on another.
    """

    code: int
    http: int
    grpc: str
    message: str
    name: str | None
    http_0_3: int | None = None

    @property
    def specific(self) -> bool:
        """Whether A2A defines the code, not JSON-RPC."""
        return -32099 <= self.code <= -32001

    def status(self, version: str) -> int:
        """Return the HTTP status on a version."""
        return self.http if DIALECTS[version].has_error_details or self.http_0_3 is None else self.http_0_3


class ErrorKind(Enum):
    """The table of errors; the member's name is the `reason` that version 1.0 publishes."""

    PARSE_ERROR = ErrorRow(
        code=-32700, http=400, grpc="INVALID_ARGUMENT", message="Invalid JSON payload", name="JSONParseError"
    )
    INVALID_REQUEST = ErrorRow(
        code=-32600, http=400, grpc="INVALID_ARGUMENT", message="Invalid request", name="InvalidRequestError"
    )
    METHOD_NOT_FOUND = ErrorRow(
        code=-32601, http=404, grpc="UNIMPLEMENTED", message="Method not found", name="MethodNotFoundError"
    )
    INVALID_PARAMS = ErrorRow(
        code=-32602, http=400, grpc="INVALID_ARGUMENT", message="Invalid parameters", name="InvalidParamsError"
    )
    INTERNAL_ERROR = ErrorRow(code=-32603, http=500, grpc="INTERNAL", message="Internal error", name="InternalError")
    TASK_NOT_FOUND = ErrorRow(
        code=-32001, http=404, grpc="NOT_FOUND", message="Task not found", name="TaskNotFoundError"
    )
    TASK_NOT_CANCELABLE = ErrorRow(
        code=-32002,
        http=400,
        grpc="FAILED_PRECONDITION",
        message="Task cannot be canceled",
        name="TaskNotCancelableError",
        http_0_3=409,
    )
    PUSH_NOTIFICATION_NOT_SUPPORTED = ErrorRow(
        code=-32003,
        http=400,
        grpc="FAILED_PRECONDITION",
        message="Push notifications are not supported",
        name="PushNotificationNotSupportedError",
    )
    UNSUPPORTED_OPERATION = ErrorRow(
        code=-32004,
        http=400,
        grpc="FAILED_PRECONDITION",
        message="This operation is not supported",
        name="UnsupportedOperationError",
    )
    CONTENT_TYPE_NOT_SUPPORTED = ErrorRow(
        code=-32005,
        http=400,
        grpc="INVALID_ARGUMENT",
        message="Content type is not supported",
        name="ContentTypeNotSupportedError",
        http_0_3=415,
    )
    INVALID_AGENT_RESPONSE = ErrorRow(
        code=-32006,
        http=500,
        grpc="INTERNAL",
        message="The agent's answer is not valid",
        name="InvalidAgentResponseError",
        http_0_3=502,
    )
    EXTENDED_AGENT_CARD_NOT_CONFIGURED = ErrorRow(
        code=-32007,
        http=400,
        grpc="FAILED_PRECONDITION",
        message="No extended agent card is configured",
        name="AuthenticatedExtendedCardNotConfiguredError",
    )
    EXTENSION_SUPPORT_REQUIRED = ErrorRow(
        code=-32008,
        http=400,
        grpc="FAILED_PRECONDITION",
        message="A required extension was not negotiated",
        name="ExtensionSupportRequiredError",
    )
    VERSION_NOT_SUPPORTED = ErrorRow(
        code=-32009,
        http=400,
        grpc="FAILED_PRECONDITION",
        message="A2A version is not supported",
        name="VersionNotSupportedError",
    )
    UNAUTHENTICATED = ErrorRow(code=-32000, http=401, grpc="UNAUTHENTICATED", message="Unauthorized", name=None)
    FORBIDDEN = ErrorRow(
        code=-32600, http=403, grpc="PERMISSION_DENIED", message="Forbidden", name="InvalidRequestError"
    )
    UNSUPPORTED_MEDIA_TYPE = ErrorRow(
        code=-32600,
        http=415,
        grpc="INVALID_ARGUMENT",
        message="The request body is not said to be JSON",
        name="InvalidRequestError",
    )
    NOT_FOUND = ErrorRow(code=-32601, http=404, grpc="NOT_FOUND", message="Not found", name="MethodNotFoundError")
    METHOD_NOT_ALLOWED = ErrorRow(
        code=-32601, http=405, grpc="UNIMPLEMENTED", message="Method not allowed", name="MethodNotFoundError"
    )
    UPGRADE_REQUIRED = ErrorRow(
        code=-32600,
        http=426,
        grpc="FAILED_PRECONDITION",
        message="Connections of WebSocket are opened here: ask for one with the header 'Upgrade: websocket'",
        name="InvalidRequestError",
    )
    PAYLOAD_TOO_LARGE = ErrorRow(
        code=-32600, http=413, grpc="OUT_OF_RANGE", message="Request body too large", name="InvalidRequestError"
    )
    REQUEST_TIMEOUT = ErrorRow(
        code=-32600,
        http=408,
        grpc="DEADLINE_EXCEEDED",
        message="The request body did not arrive in time",
        name="InvalidRequestError",
    )
    RATE_LIMITED = ErrorRow(
        code=-32603, http=429, grpc="RESOURCE_EXHAUSTED", message="Too many requests", name="InternalError"
    )
    STORE_UNAVAILABLE = ErrorRow(
        code=-32603,
        http=503,
        grpc="UNAVAILABLE",
        message="The task store is not available now; try again",
        name="InternalError",
    )
    AUTHENTICATION_UNAVAILABLE = ErrorRow(
        code=-32603,
        http=503,
        grpc="UNAVAILABLE",
        message="Tokens cannot be checked now; try again",
        name="InternalError",
    )
    OVERLOADED = ErrorRow(
        code=-32603, http=503, grpc="UNAVAILABLE", message="Too many requests at once", name="InternalError"
    )

    @property
    def row(self) -> ErrorRow:
        """The row of the table."""
        return self.value


@frozen
class Violation:
    """One wrong field: where (keys and indexes from the root), what kind of wrong, and what it takes.

    Names of members that a caller made up are shortened in the path.
    """

    path: tuple[str | int, ...] = field(converter=_short_path)
    type: str
    message: str

    @property
    def field(self) -> str:
        """The path as clients write it: `message.parts[0].text`."""
        text = ""
        for step in self.path:
            text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
        return text


AND_MORE = Violation((), "and_more", f"and more: only the first {MOST_VIOLATIONS} wrong fields are listed")
"""Stands for the violations that an error does not list."""


class A2AError(Exception):
    """Root of what this layer raises."""


class LocalError(A2AError):
    """We broke a rule of our own: a bug on this side, never the peer's doing."""


class ProtocolError(A2AError):
    """The other side cannot have what it asked for. Rendered by `jsonrpc_error` and `http_error`.

    `data` is for version 0.3's `error.data`, and replaces its list of `violations`;
    `metadata` goes into 1.0's `ErrorInfo` and holds strings only. An extension's errors are a subclass: their
    `row`, `reason` and `domain` are its own, and `kind` is the nearest that the protocol knows.

    Its rendering has a bound, whatever was sent: long texts are shortened, and of many violations the first count.
    """

    def __init__(
        self,
        kind: ErrorKind,
        message: str | None = None,
        *,
        violations: Sequence[Violation] = (),
        data: Any = None,
        data_v1: Any = None,
        metadata: dict[str, str] | None = None,
    ) -> None:
        message = shortened(message or kind.row.message, _LONGEST_MESSAGE)
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.violations: tuple[Violation, ...] = tuple(violations[: MOST_VIOLATIONS + 1])
        self.data: Any = _bounded(data)
        self.data_v1: Any = _bounded(data_v1)
        self.metadata: dict[str, str] = _bounded(metadata or {})

    def kept(self) -> Self:
        """Return the error, to be kept as a value, without the way it took.

        The frames of a traceback have the request. Where a request has its error, or a frame that called them has it,
        each body would wait for the garbage collector.
        """
        error: BaseException = self  # to assign to them on `self` would declare them again, for type checkers
        error.__traceback__ = error.__context__ = error.__cause__ = None
        return self

    @property
    def row(self) -> ErrorRow:
        """The numbers and names of the error."""
        return self.kind.row

    @property
    def reason(self) -> str:
        """The name of the error in version 1.0's `ErrorInfo`."""
        return self.kind.name

    @property
    def domain(self) -> str:
        """The domain that defines `reason`."""
        return DOMAIN


def invalid(path: Sequence[str | int], message: str, type: str = "value_error") -> ProtocolError:
    """Make an invalid-params error about one field."""
    violation = Violation(tuple(path), type, message)
    return ProtocolError(ErrorKind.INVALID_PARAMS, f"{violation.field}: {message}", violations=(violation,))


_GOOGLE = "type.googleapis.com/google"


def details(error: ProtocolError) -> list[JsonObject]:
    """Return version 1.0's error details (sections 9.5 and 11.6): always an `ErrorInfo`.

    Wrong fields add a `BadRequest`, which comes first unless the code is A2A's own. `data_v1` adds a `Struct`.
    """
    info: JsonObject = {
        "@type": f"{_GOOGLE}.rpc.ErrorInfo",
        "reason": error.reason,
        "domain": error.domain,
        "metadata": error.metadata,
    }
    found = [info]
    if error.violations:
        violations = [{"field": v.field, "description": v.message} for v in error.violations]
        bad = {"@type": f"{_GOOGLE}.rpc.BadRequest", "fieldViolations": violations}
        found.insert(1 if error.row.specific else 0, bad)
    if error.data_v1 is not None:
        found.append({"@type": f"{_GOOGLE}.protobuf.Struct", "value": error.data_v1})
    return found


_NAMED_BY_STATUS = frozenset(
    {
        ErrorKind.UNAUTHENTICATED,
        ErrorKind.FORBIDDEN,
        ErrorKind.REQUEST_TIMEOUT,
        ErrorKind.RATE_LIMITED,
        ErrorKind.STORE_UNAVAILABLE,
        ErrorKind.AUTHENTICATION_UNAVAILABLE,
        ErrorKind.OVERLOADED,
    }
)
"""Errors that differ on version 0.3 by the HTTP status alone. JSON-RPC and the frame of a stream come with 200."""


def jsonrpc_error(error: ProtocolError, version: str) -> JsonObject:
    """Return the `error` member of a JSON-RPC response on `version` (`"0.3"` or `"1.0"`)."""
    body: JsonObject = {"code": error.row.code, "message": error.message}
    if DIALECTS[version].has_error_details:
        body["data"] = details(error)
        return body
    if error.data is not None:
        body["data"] = error.data
    elif error.violations:
        body["message"] = error.row.message
        body["data"] = [{"type": v.type, "loc": ["params", *v.path], "msg": v.message} for v in error.violations]
    elif error.kind in _NAMED_BY_STATUS:
        body["data"] = {"type": error.reason}
    return body


def http_error(error: ProtocolError, version: str) -> tuple[int, JsonObject]:
    """Return status and body of an HTTP+JSON error: AIP-193 on 1.0, a flat object on 0.3."""
    row = error.row
    status = row.status(version)
    if DIALECTS[version].has_error_details:
        return status, {
            "error": {
                "code": status,
                "status": row.grpc,
                "message": error.message,
                "details": details(error),
            }
        }
    if error.kind is ErrorKind.UNAUTHENTICATED:
        return status, {"error": row.message}  # before anything was read, so nothing more is disclosed
    named = "error" if error.kind is ErrorKind.VERSION_NOT_SUPPORTED else "message"
    body: JsonObject = {"code": row.code, named: error.message}
    if row.name is not None:
        body["type"] = row.name
    if error.violations:
        body["type"] = error.reason
        body["data"] = [{"type": v.type, "loc": list(v.path), "msg": v.message} for v in error.violations]
    elif isinstance(error.data, dict):
        body.update(error.data)
    return status, body


def frame_error(error: ProtocolError, version: str) -> JsonObject:
    """Return the body of an HTTP+JSON error as a frame of a stream, which has no status of its own."""
    _, body = http_error(error, version)
    if not DIALECTS[version].has_error_details and error.data is None and error.kind in _NAMED_BY_STATUS:
        return body | {"type": error.reason}
    return body
