"""What went wrong upstream, in the error types clients know: from a status or an OpenCode error to a failure."""

from __future__ import annotations

from attrs import frozen

from .events import Fault

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
class Failure:
    """Why a turn or a call failed: a sentence for people, a type and a status for machines.

    ``answer``: the beginning of what OpenCode answered, as it came.
    """

    text: str
    type: str
    status: int | None = None
    answer: str = ""

    @property
    def wants_login(self) -> bool:
        """Somebody has to give OpenCode, or it a provider, other credentials first."""
        return self.type == UNAUTHORIZED


def type_of_status(status: int) -> str:
    """The error type of an upstream HTTP status."""
    if status in _TYPE_OF_STATUS:
        return _TYPE_OF_STATUS[status]
    if 400 <= status < 500:
        return "UPSTREAM_CLIENT_ERROR"
    return "UPSTREAM_SERVER_ERROR" if status >= 500 else "UPSTREAM_HTTP_ERROR"


def failure_of(fault: Fault) -> Failure:
    """What to say of an error OpenCode ended a turn with."""
    if fault.status is not None:
        return Failure(
            text=f"The model provider refused the request with status {fault.status}: {fault.message}",
            type=type_of_status(fault.status),
            status=fault.status,
        )
    kind = UNAUTHORIZED if fault.name == "ProviderAuthError" else "UPSTREAM_EXECUTION_ERROR"
    return Failure(text=f"OpenCode could not finish the turn ({fault.name}): {fault.message}", type=kind)


def failure_of_status(status: int, detail: str) -> Failure:
    """What to say when OpenCode itself answers one of our requests with an error status."""
    tail = f": {detail}" if detail else ""
    text = f"OpenCode answered with status {status}{tail}"
    return Failure(text=text, type=type_of_status(status), status=status, answer=detail)


_ABOUT_MESSAGE = frozenset({400, 413, 415, 422})


def blames_message(fault: Fault) -> bool:
    """Whether the message itself may be what OpenCode or the provider could not take, so that it would fail again."""
    if fault.status is not None:
        return fault.status in _ABOUT_MESSAGE
    return fault.name in ("UnknownError", "ContextOverflowError")


UNREACHABLE = "UPSTREAM_UNREACHABLE"
TIMEOUT = "UPSTREAM_TIMEOUT"
BACKPRESSURE = "UPSTREAM_BACKPRESSURE"
PAYLOAD = "UPSTREAM_PAYLOAD_ERROR"
STOPPED = "UPSTREAM_EXECUTION_ERROR"
