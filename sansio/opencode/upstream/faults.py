"""Failures of OpenCode, in the error types that clients know: from a status or an OpenCode error to a failure."""

from __future__ import annotations

from attrs import field, frozen

from sansio.opencode.upstream.events import UpstreamFault
from sansio.opencode.upstream.plain_reasons import hidden, message_in, reference_of, with_reason

_LONGEST_NAME = 64

UNAUTHORIZED = "UPSTREAM_UNAUTHORIZED"
BAD_REQUEST = "UPSTREAM_BAD_REQUEST"

_TYPE_OF_STATUS = {
    400: BAD_REQUEST,
    401: UNAUTHORIZED,
    403: "UPSTREAM_PERMISSION_DENIED",
    404: "UPSTREAM_RESOURCE_NOT_FOUND",
    429: "UPSTREAM_QUOTA_EXCEEDED",
}


@frozen(kw_only=True)
class TaskFailure:
    """Reason why a turn or a call failed: a sentence for people, a type and a status for machines.

    `answer`: the beginning of OpenCode's answer, as it came. `detail`: text for the log alone, which no client may
    read; empty where `text` is complete.
    """

    text: str
    type: str
    status: int | None = None
    answer: str = field(default="", repr=False)
    detail: str = field(default="", eq=False, repr=False)

    @property
    def reference(self) -> str:
        """The reference by which the detail is found in the log."""
        return reference_of(self.detail)

    @property
    def wants_login(self) -> bool:
        """Somebody has to give OpenCode, or it a provider, other credentials first."""
        return self.type == UNAUTHORIZED


def type_of_status(status: int) -> str:
    """Return the error type of an upstream HTTP status."""
    if status in _TYPE_OF_STATUS:
        return _TYPE_OF_STATUS[status]
    if 400 <= status < 500:
        return "UPSTREAM_CLIENT_ERROR"
    return "UPSTREAM_SERVER_ERROR" if status >= 500 else "UPSTREAM_HTTP_ERROR"


def failure_of(fault: UpstreamFault) -> TaskFailure:
    """Convert an error with which OpenCode ended a turn."""
    if fault.status is not None:
        return TaskFailure(
            text=with_reason(f"The model provider refused the request with status {fault.status}", fault.message),
            type=type_of_status(fault.status),
            status=fault.status,
            detail=hidden(fault.message),
        )
    kind = UNAUTHORIZED if fault.name == "ProviderAuthError" else "UPSTREAM_EXECUTION_ERROR"
    name = fault.name if fault.name.isalnum() and len(fault.name) <= _LONGEST_NAME else "UnknownError"
    text = with_reason(f"OpenCode could not finish the turn ({name})", fault.message)
    return TaskFailure(text=text, type=kind, detail=hidden(fault.message))


def failure_of_status(status: int, detail: str) -> TaskFailure:
    """Convert an error status with which OpenCode itself answered a request of ours."""
    text = with_reason(f"OpenCode answered with status {status}", message_in(detail))
    return TaskFailure(
        text=text, type=type_of_status(status), status=status, answer=detail, detail=hidden(message_in(detail))
    )


_ABOUT_MESSAGE = frozenset({400, 413, 415, 422})


def blames_message(fault: UpstreamFault) -> bool:
    """Return whether the message itself may have caused the error, so that it would fail again."""
    if fault.status is not None:
        return fault.status in _ABOUT_MESSAGE
    return fault.name in ("UnknownError", "ContextOverflowError")


UNREACHABLE = "UPSTREAM_UNREACHABLE"
TIMEOUT = "UPSTREAM_TIMEOUT"
BACKPRESSURE = "UPSTREAM_BACKPRESSURE"
PAYLOAD = "UPSTREAM_PAYLOAD_ERROR"
STOPPED = "UPSTREAM_EXECUTION_ERROR"

DELETED = TaskFailure(
    text="The session was deleted in OpenCode while it was at work", type="UPSTREAM_RESOURCE_NOT_FOUND"
)
