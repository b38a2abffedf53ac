"""The errors of the extension methods, a row each: codes and types of their own, in the shapes of both versions.

The numbers are those that earlier versions declared, some of which A2A has since given other meanings: `type`
distinguishes them. Knows no method and no transport.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any

import orjson
from attrs import frozen

from sansio.a2a.codecs.json_values import text_at
from sansio.a2a.dialects import DIALECTS
from sansio.a2a.errors import ErrorKind, ErrorRow, ProtocolError
from sansio.a2a.model import JsonObject
from sansio.opencode.upstream.faults import PAYLOAD, TaskFailure
from sansio.opencode.upstream.plain_reasons import plain_reason

DOMAIN = "opencode-a2a"


@frozen(kw_only=True)
class ExtensionErrorRow(ErrorRow):
    """`nearest`: the error of the protocol that is least unlike it. `when`: when it is answered."""

    nearest: ErrorKind
    when: str
    name: str | None = None


class ExtensionErrorKind(Enum):
    """The table; the member's name is the `type` of version 0.3 and the `reason` of version 1.0."""

    SESSION_NOT_FOUND = ExtensionErrorRow(
        code=-32001,
        http=404,
        grpc="NOT_FOUND",
        message="Session not found",
        nearest=ErrorKind.TASK_NOT_FOUND,
        when="OpenCode knows no session of this id where it was looked for.",
    )
    SESSION_FORBIDDEN = ExtensionErrorRow(
        code=-32006,
        http=403,
        grpc="PERMISSION_DENIED",
        message="Session forbidden",
        nearest=ErrorKind.TASK_NOT_FOUND,
        when="The session belongs to another caller.",
    )
    SESSION_UNOWNED = ExtensionErrorRow(
        code=-32006,
        http=403,
        grpc="PERMISSION_DENIED",
        message="Session belongs to nobody",
        nearest=ErrorKind.TASK_NOT_FOUND,
        when="No caller owns the session, and this deployment lets nobody claim such a session.",
    )
    AUTHORIZATION_FORBIDDEN = ExtensionErrorRow(
        code=-32007,
        http=403,
        grpc="PERMISSION_DENIED",
        message="Authorization forbidden",
        nearest=ErrorKind.UNSUPPORTED_OPERATION,
        when="The caller's credential lacks the capability that the method needs.",
    )
    METHOD_DISABLED = ExtensionErrorRow(
        code=-32601,
        http=404,
        grpc="UNIMPLEMENTED",
        message="Method not found",
        nearest=ErrorKind.METHOD_NOT_FOUND,
        when="The method exists, and this deployment has it switched off.",
    )
    UPSTREAM_UNREACHABLE = ExtensionErrorRow(
        code=-32002,
        http=503,
        grpc="UNAVAILABLE",
        message="Upstream OpenCode unreachable",
        nearest=ErrorKind.INTERNAL_ERROR,
        when="OpenCode cannot be reached, does not answer in time, or has as much to do as it is given.",
    )
    UPSTREAM_HTTP_ERROR = ExtensionErrorRow(
        code=-32003,
        http=502,
        grpc="UNKNOWN",
        message="Upstream OpenCode error",
        nearest=ErrorKind.INVALID_AGENT_RESPONSE,
        when="OpenCode refused the call; `upstream_status` is its HTTP status.",
    )
    UPSTREAM_PAYLOAD_ERROR = ExtensionErrorRow(
        code=-32005,
        http=502,
        grpc="INTERNAL",
        message="Upstream OpenCode payload mismatch",
        nearest=ErrorKind.INVALID_AGENT_RESPONSE,
        when="OpenCode's answer broke off, or is not of the form its interface promises.",
    )
    INTERRUPT_REQUEST_NOT_FOUND = ExtensionErrorRow(
        code=-32004,
        http=404,
        grpc="NOT_FOUND",
        message="Interrupt request not found",
        nearest=ErrorKind.TASK_NOT_FOUND,
        when="Nothing of this id waits for the caller's answer: it never did, or it has been answered.",
    )
    INTERRUPT_REQUEST_EXPIRED = ExtensionErrorRow(
        code=-32007,
        http=400,
        grpc="FAILED_PRECONDITION",
        message="Interrupt request expired",
        nearest=ErrorKind.UNSUPPORTED_OPERATION,
        when="The request waited for its answer too long.",
    )
    INTERRUPT_TYPE_MISMATCH = ExtensionErrorRow(
        code=-32008,
        http=400,
        grpc="FAILED_PRECONDITION",
        message="Interrupt callback type mismatch",
        nearest=ErrorKind.UNSUPPORTED_OPERATION,
        when="A permission was answered as a question, or a question as a permission.",
    )

    @property
    def row(self) -> ExtensionErrorRow:
        """The row of the table."""
        return self.value


class ExtensionError(ProtocolError):
    """An extension's method cannot do what was requested.

    `facts`: details besides the type. On version 0.3 they are `data`'s members, on 1.0 the metadata of the
    `ErrorInfo`, by the same names in camel case, as texts. `None` is left out.
    """

    def __init__(self, extension_kind: ExtensionErrorKind, message: str | None = None, **facts: Any) -> None:
        row = extension_kind.row
        members: JsonObject = {name: value for name, value in facts.items() if value is not None}
        super().__init__(
            row.nearest,
            message or row.message,
            data={"type": extension_kind.name, **members},
            metadata={camel(name): _as_text(value) for name, value in members.items()},
        )
        self.extension_kind = extension_kind

    @property
    def row(self) -> ErrorRow:
        return self.extension_kind.row

    @property
    def reason(self) -> str:
        return self.extension_kind.name

    @property
    def domain(self) -> str:
        return DOMAIN


def camel(name: str) -> str:
    """Return the name of a member as version 1.0 spells it."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _as_text(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value)
    return str(value)


def interrupt_error(
    kind: ExtensionErrorKind,
    request_id: str,
    *,
    expected: str | None = None,
    actual: str | None = None,
) -> ExtensionError:
    """Make one of the three `INTERRUPT_...` errors. `expected` and `actual`: what a mismatch is between."""
    return ExtensionError(
        kind,
        request_id=request_id[:128],
        expected_interrupt_type=expected,
        actual_interrupt_type=actual,
    )


def forbidden(method: str, capability: str, credential_id: str | None) -> ExtensionError:
    """Make the error of a credential without the capability."""
    return ExtensionError(
        ExtensionErrorKind.AUTHORIZATION_FORBIDDEN, method=method, capability=capability, credential_id=credential_id
    )


def disabled(method: str, toggle: str, version: str, supported: Sequence[str]) -> ExtensionError:
    """Make the error of a method that is switched off: that of an unknown one, with the setting."""
    error = ExtensionError(
        ExtensionErrorKind.METHOD_DISABLED,
        None if DIALECTS[version].has_error_details else f"Unsupported method: {method}",
        method=method,
        supported_methods=list(supported),
        protocol_version=version,
        toggle=toggle,
    )
    error.data_v1 = {
        "reason": ExtensionErrorKind.METHOD_DISABLED.name,
        "method": method,
        "supportedMethods": list(supported),
        "protocolVersion": version,
        "toggle": toggle,
    }
    return error


def session_not_found(session_id: str) -> ExtensionError:
    """Make the error of an unknown session."""
    return ExtensionError(ExtensionErrorKind.SESSION_NOT_FOUND, session_id=session_id)


def session_forbidden(session_id: str) -> ExtensionError:
    """Make the error of a session of another caller."""
    return ExtensionError(ExtensionErrorKind.SESSION_FORBIDDEN, session_id=session_id)


def session_unowned(session_id: str, field: str) -> ExtensionError:
    """Make the error of a session without an owner where claims are switched off. `field`: the path that named it."""
    return ExtensionError(
        ExtensionErrorKind.SESSION_UNOWNED,
        "The session belongs to nobody, and this deployment has several principals, so nobody can claim it. "
        "Its operator can allow claims with A2A_ALLOW_SESSION_CLAIMS",
        session_id=session_id,
        field=field,
    )


def upstream_error(failure: TaskFailure, method: str, session_id: str | None = None) -> ExtensionError:
    """Convert a failure of OpenCode to an error of these methods."""
    if failure.status is None:
        broken = failure.type == PAYLOAD
        kind = ExtensionErrorKind.UPSTREAM_PAYLOAD_ERROR if broken else ExtensionErrorKind.UPSTREAM_UNREACHABLE
        return ExtensionError(kind, method=method, session_id=session_id, detail=failure.text)
    message = _message_of(failure.answer)
    if failure.status == 404 and session_id is not None and not message.startswith("Message"):
        return session_not_found(session_id)
    return ExtensionError(
        ExtensionErrorKind.UPSTREAM_HTTP_ERROR,
        upstream_status=failure.status,
        method=method,
        session_id=session_id,
        detail=plain_reason(message),
    )


def payload_error(detail: str, method: str, session_id: str | None = None) -> ExtensionError:
    """Make the error of an answer that is not what OpenCode's interface promises."""
    return ExtensionError(
        ExtensionErrorKind.UPSTREAM_PAYLOAD_ERROR, method=method, session_id=session_id, detail=detail
    )


def _message_of(answer: str) -> str:
    """Return the sentence in an error of OpenCode; empty where it is neither JSON nor plain text."""
    try:
        body = orjson.loads(answer)
    except orjson.JSONDecodeError:
        return "" if answer.lstrip().startswith(("<", "{", "[")) else answer
    data = body.get("data", body) if isinstance(body, dict) else None
    return text_at(data, "message") or ""
