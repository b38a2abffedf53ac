"""One connection of the WebSocket binding: which of its requests run, and when it has to end.

Pure: time is an argument, in seconds of any clock. A message that comes begins a request, leaves a stream, or is
refused. A connection is in one of these states:

    UNPROVEN ----> OPEN ----> DRAINING

    UNPROVEN   no valid request has come yet          ends after `SessionLimits.first`
    OPEN       requests run, or may come              ends after `SessionLimits.idle` without one
    DRAINING   the server stops: nothing new begins   ends with the last request
"""

from __future__ import annotations

from enum import Enum
from typing import Final, TypeAlias

from attrs import define, evolve, field, frozen

from sansio.a2a.bindings.jsonrpc import RequestId, RpcRequest, RpcRequestError, invalid_request
from sansio.a2a.errors import ErrorKind
from sansio.a2a.websocket.messages import CancelStream, ClientRequest, parse_message


class CloseCode(Enum):
    """The codes that a connection is closed with: those of RFC 6455, and, from 4000 on, the binding's own."""

    GOING_AWAY = 1001
    UNSUPPORTED_DATA = 1003
    POLICY_VIOLATION = 1008
    SERVICE_RESTART = 1012
    A2A_PROTOCOL_ERROR = 4000
    AUTHENTICATION_REQUIRED = 4001


@frozen
class Close:
    """The connection is to be closed. `reason`: at most 123 bytes."""

    code: CloseCode
    reason: str


@frozen(kw_only=True)
class SessionLimits:
    """Bounds of a connection. `requests`: at once. Seconds: `first` to a valid request, `idle` without any.

    `ping`: seconds between two looks whether the client is there.
    """

    requests: int = 128
    first: float = 15.0
    idle: float = 300.0
    ping: float = 20.0


@define(eq=False)
class Begun:
    """A request that begins, until `Session.ended`. It is its own key, since a notification has no id."""

    message: ClientRequest

    def forget_params(self) -> None:
        """Let go of the params of a request that was parsed: they may be large, and a stream may last for hours."""
        self.message = evolve(self.message, request=evolve(self.message.request, params=None))


@frozen
class Left:
    """The client leaves a stream."""

    request: Begun


@frozen
class Refused:
    """A message that is refused. `error.request_id`: the id of the answer. `message`: None where it is no request."""

    error: RpcRequestError
    message: ClientRequest | None = None


Step: TypeAlias = Begun | Left | Refused | None
"""Effect of a message; None: it has none."""

STOPPING: Final = Close(CloseCode.SERVICE_RESTART, "the server is being stopped")
_SILENT: Final = Close(CloseCode.A2A_PROTOCOL_ERROR, "no valid request came in time")
_IDLE: Final = Close(CloseCode.GOING_AWAY, "nothing was asked for long")


@define
class Session:
    """One connection's requests. `now`: when it was opened."""

    limits: SessionLimits
    now: float
    _running: dict[RequestId | Begun, Begun] = field(init=False, factory=dict)
    _is_proven: bool = field(init=False, default=False)
    _is_draining: bool = field(init=False, default=False)
    _ended_at: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._ended_at = self.now

    def __len__(self) -> int:
        return len(self._running)

    def receive(self, body: bytes) -> Step:
        """Take a message. Leaving a stream that is over, or what is no stream, has no effect."""
        try:
            message = parse_message(body)
        except RpcRequestError as error:
            if error.request_id in self._running:
                error.request_id = None  # or the client takes this for the answer to the request that runs
            return Refused(error.kept())
        if isinstance(message, CancelStream):
            running = self._running.get(message.id)
            return None if running is None else Left(running)
        return self._begin(message)

    def _begin(self, message: ClientRequest) -> Begun | Refused:
        request = message.request
        if not request.notification and request.id in self._running:
            # without the id, for the same reason
            return Refused(invalid_request(None, ("id",), "is that of a request that still runs"), message)
        if self._is_draining:
            return Refused(_overloaded(request, "The server is being stopped"), message)
        if len(self._running) >= self.limits.requests:
            limit = self.limits.requests
            return Refused(_overloaded(request, f"The connection runs {limit} requests already", limit), message)
        self._is_proven = True
        begun = Begun(message)
        self._running[begun if request.notification else request.id] = begun
        return begun

    def ended(self, begun: Begun, now: float) -> None:
        """Record that a request is answered; another may have its id."""
        request = begun.message.request
        del self._running[begun if request.notification else request.id]
        self._ended_at = now

    def drain(self) -> None:
        """Begin nothing new."""
        self._is_draining = True

    def due(self, now: float) -> Close | None:
        """Return how the connection has to end now; None where it goes on."""
        if self._running:
            return None
        if self._is_draining:
            return STOPPING
        if not self._is_proven:
            return _SILENT if now - self.now >= self.limits.first else None
        return _IDLE if now - self._ended_at >= self.limits.idle else None

    def wait(self, now: float) -> float:
        """Return the seconds until the next look at the connection."""
        if not self._is_proven:
            return max(0.0, min(self.limits.ping, self.now + self.limits.first - now))
        return self.limits.ping


def _overloaded(request: RpcRequest, message: str, limit: int | None = None) -> RpcRequestError:
    metadata = {} if limit is None else {"limit": str(limit)}
    error = RpcRequestError(ErrorKind.OVERLOADED, message, metadata=metadata)
    error.request_id, error.is_answered = request.id, not request.notification
    return error
