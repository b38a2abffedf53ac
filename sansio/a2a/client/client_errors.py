"""Errors of calling an agent: one root, and a class for each thing that a caller would do about it.

An error that an agent sent becomes the class of its row in `_REFUSALS`. Knows no transport.
"""

from __future__ import annotations

from typing import Any, Final

from attrs import frozen

from sansio.a2a.errors import A2AError, ErrorKind, ProtocolError


class ClientError(A2AError):
    """Root of what calling an agent raises. `message` is for the user, and holds no secret."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class UsageError(ClientError, ValueError):
    """The caller's arguments or settings cannot be used; the text names what to change."""


class RefusedTargetError(UsageError):
    """The policy of this deployment does not allow the agent's address, or to send credentials there."""


class UnavailableError(ClientError):
    """The agent was not reached, stopped in the middle, or says that it cannot answer now."""


class TimedOutError(UnavailableError):
    """The agent did not answer, or did nothing, for as long as is allowed."""


class InvalidAnswerError(ClientError, ProtocolError):
    """The agent's answer is not valid."""

    def __init__(self, message: str) -> None:
        ProtocolError.__init__(self, ErrorKind.INVALID_AGENT_RESPONSE, message)


class InvalidCardError(InvalidAnswerError):
    """The agent's card is none, or its signature is wrong."""


class NoUsableInterfaceError(InvalidCardError):
    """No interface of the card can be used, or none is of the requested version and binding.

    The text lists those on offer.
    """


class AgentError(ClientError):
    """The agent answered with an error.

    `code` is JSON-RPC's; `http_status` that of the answer, or what gRPC's code stands for; `reason` a name for
    programs (`TASK_NOT_FOUND`); `data` the error's other content, decoded; `retry_after` the seconds after which the
    agent wants to be asked again.
    """

    def __init__(
        self,
        message: str,
        *,
        code: int | None = None,
        http_status: int | None = None,
        reason: str | None = None,
        data: Any = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.http_status = http_status
        self.reason = reason
        self.data = data
        self.retry_after = retry_after

    def is_kind(self, kind: ErrorKind) -> bool:
        """Return whether the agent names this error of the protocol, by its reason or by the code of A2A."""
        if kind.row.specific and (self.code == kind.row.code or self.reason == kind.row.name):
            return True
        return self.reason == kind.name


class AuthenticationError(AgentError):
    """The agent wants credentials, or others than it got."""


class PermissionDeniedError(AgentError):
    """The agent knows who calls, and refuses it."""


class UnsupportedError(AgentError):
    """The agent does not have the operation, the version, the content type or the extension."""


class UnsupportedByBindingError(UnsupportedError):
    """The binding in use has no such operation in this version, so nothing was sent."""


class BusyAgentError(AgentError, UnavailableError):
    """The agent, or what stands before it, cannot answer now; the same request may be answered later."""


@frozen
class _Refusal:
    """A row: the HTTP statuses and the errors of the protocol that stand for a class of `AgentError`."""

    error: type[AgentError]
    statuses: tuple[int, ...]
    kinds: tuple[ErrorKind, ...] = ()


_REFUSALS: Final = (
    _Refusal(AuthenticationError, (401, 407), (ErrorKind.UNAUTHENTICATED,)),
    _Refusal(PermissionDeniedError, (403,), (ErrorKind.FORBIDDEN,)),
    _Refusal(
        BusyAgentError,
        (408, 425, 429, 502, 503, 504),
        (
            ErrorKind.OVERLOADED,
            ErrorKind.RATE_LIMITED,
            ErrorKind.STORE_UNAVAILABLE,
            ErrorKind.AUTHENTICATION_UNAVAILABLE,
            ErrorKind.REQUEST_TIMEOUT,
        ),
    ),
    _Refusal(
        UnsupportedError,
        (405, 406, 415, 426, 501),
        (
            ErrorKind.METHOD_NOT_FOUND,
            ErrorKind.METHOD_NOT_ALLOWED,
            ErrorKind.UPGRADE_REQUIRED,
            ErrorKind.UNSUPPORTED_OPERATION,
            ErrorKind.PUSH_NOTIFICATION_NOT_SUPPORTED,
            ErrorKind.CONTENT_TYPE_NOT_SUPPORTED,
            ErrorKind.UNSUPPORTED_MEDIA_TYPE,
            ErrorKind.EXTENDED_AGENT_CARD_NOT_CONFIGURED,
            ErrorKind.EXTENSION_SUPPORT_REQUIRED,
            ErrorKind.VERSION_NOT_SUPPORTED,
        ),
    ),
)
_STATUSES: Final = {status: row.error for row in _REFUSALS for status in row.statuses}
_KINDS: Final = {kind: next((row.error for row in _REFUSALS if kind in row.kinds), AgentError) for kind in ErrorKind}
_OWN: Final = [kind for kind in ErrorKind if kind.row.specific]
"""The errors whose codes and names are theirs alone."""

_REASONS: Final = (
    {kind.name: error for kind, error in _KINDS.items()}
    | {kind.row.name: _KINDS[kind] for kind in _OWN}
    | {"UPSTREAM_BACKPRESSURE": BusyAgentError}
)
"""The reasons of version 1.0, what clients of version 0.3 call an error, and its word for a limit that is reached."""

_CODES: Final = {kind.row.code: _KINDS[kind] for kind in (*_OWN, ErrorKind.METHOD_NOT_FOUND)}


def refusal(
    message: str,
    *,
    code: int | None = None,
    http_status: int | None = None,
    reason: str | None = None,
    data: Any = None,
    retry_after: float | None = None,
) -> AgentError:
    """Make the error of the class that its reason, its JSON-RPC code or its HTTP status stands for, in that order."""
    error = _REASONS.get(reason or "") or _CODES.get(code or 0) or _STATUSES.get(http_status or 0) or AgentError
    return error(message, code=code, http_status=http_status, reason=reason, data=data, retry_after=retry_after)
