"""The client side of one connection of the WebSocket binding: its requests, and the messages that answer them.

Pure: time is an argument, in seconds of any clock. An exchange is one request and what comes for it. It is over with

    the answer                  of a request that is no stream
    an error before any event   of a stream
    `streamEnd`                 of a stream
    the caller's leaving        what still comes is passed over
    the end of the connection   with the error that this is for whoever waits

Events that nobody takes fill the share of their stream. One more ends it: it can be resumed after the last event that
was taken, and other streams go on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from enum import Enum
from typing import Final

import orjson
from attrs import define, field, frozen

from sansio.a2a.client.calls import decoded
from sansio.a2a.client.client_errors import ClientError, InvalidAnswerError, UnavailableError, refusal
from sansio.a2a.codecs.json_values import object_at, text_at
from sansio.a2a.errors import ErrorKind
from sansio.a2a.websocket.outbox import SHARE

_LONGEST_REASON: Final = 200  # characters of the server's words


@frozen(kw_only=True)
class ServerMessage:
    """A message of a server. `id`: of the request that it answers; None: the server could not read one.

    `ends`: it is a `streamEnd`, for a `reason` if the stream ends before its task does. `service_params`: by
    lower-case names.
    """

    id: str | None
    body: bytes = field(repr=False)
    is_error: bool = False
    ends: bool = False
    reason: str = ""
    service_params: Mapping[str, str] = field(factory=dict, repr=False)


def parse_server_message(body: bytes) -> ServerMessage:
    """Parse a message of a server. Raises `InvalidAnswerError` for what is no object of JSON-RPC."""
    value = decoded(body)
    if not isinstance(value, dict) or value.get("jsonrpc") != "2.0":
        raise InvalidAnswerError("The agent sent a message that is no object of JSON-RPC")
    given = object_at(value, "serviceParams")
    return ServerMessage(
        id=None if value.get("id") is None else text_at(value, "id") or "",  # our ids are texts, and none is empty
        body=body,
        is_error=value.get("error") is not None,
        ends=value.get("streamEnd") is True,
        reason=" ".join((text_at(value, "reason") or "").split())[:_LONGEST_REASON],
        service_params={name.lower(): text for name, text in given.items() if isinstance(text, str)},
    )


def _cancellation(request_id: str) -> bytes:
    return orjson.dumps({"jsonrpc": "2.0", "id": request_id, "cancelStream": True})


@define(eq=False)
class Exchange:
    """One request, and what has come for it. `streaming`: events are asked for.

    `unread`: messages that were not taken; `size`: their bytes. `over`: nothing more comes; `failure`: why, where the
    answer is not whole.
    """

    id: str
    streaming: bool
    unread: deque[ServerMessage] = field(factory=deque)
    size: int = 0
    over: bool = False
    failure: ClientError | None = None
    is_answered: bool = False

    @property
    def is_ready(self) -> bool:
        """Whether there is something to take, or the end."""
        return bool(self.unread) or self.over

    def take(self) -> ServerMessage | None:
        """Take the next message; None where none is there. Raises the failure that the exchange ended with."""
        if self.unread:
            message = self.unread.popleft()
            self.size -= len(message.body)
            return message
        if self.failure is not None:
            raise self.failure
        return None

    def end(self, failure: ClientError | None) -> None:
        """Note that nothing more comes."""
        if not self.over:
            self.over, self.failure = True, failure


class Silence(Enum):
    """Steps that the silence of a server calls for."""

    WAIT = "wait"
    PING = "ping"
    DEAD = "dead"


@define
class Exchanges:
    """The exchanges of one connection. `now`: when it was opened.

    `patience`: seconds of silence after which the server counts as dead; it is sent a ping within. They pass while
    the connection is read alone: what nobody reads cannot show a sign of life. `share`: bytes of events that may wait
    in each stream.
    """

    now: float
    patience: float
    share: int = SHARE
    to_send: list[bytes] = field(init=False, factory=list)
    """Messages that the caller has to send."""

    _running: dict[str, Exchange] = field(init=False, factory=dict)
    _heard: float = field(init=False)
    _rested: float = field(init=False)
    _pinged: bool = field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self._heard = self._rested = self.now

    def __len__(self) -> int:
        return len(self._running)

    # --- requests and answers -----------------------------------------------------------------------------

    def begin(self, request_id: str, *, streaming: bool) -> Exchange:
        """Begin the exchange of a request, whose id no other one has."""
        exchange = self._running[request_id] = Exchange(request_id, streaming)
        return exchange

    def receive(self, message: ServerMessage) -> list[Exchange]:
        """Take a message; return the exchanges for which something has come. It is none where nobody waits."""
        if message.id is None:
            return self._unmatched(message)
        exchange = self._running.get(message.id)
        if exchange is None:
            return []
        if message.ends:
            self._end(exchange, _failure_at_end(exchange, message))
            return [exchange]
        if exchange.size >= self.share:
            self.to_send.append(_cancellation(exchange.id))
            self._end(exchange, UnavailableError("The events of a stream were not read in time"))
            return [exchange]
        self._put(exchange, message)
        if not exchange.streaming or (message.is_error and not exchange.is_answered):
            self._end(exchange, None)
        exchange.is_answered = True
        return [exchange]

    def _put(self, exchange: Exchange, message: ServerMessage) -> None:
        exchange.unread.append(message)
        exchange.size += len(message.body)

    def _unmatched(self, message: ServerMessage) -> list[Exchange]:
        """Take an answer without an id: the server could not read a request, and which one is not known."""
        if not message.is_error:
            return []
        waiting = [one for one in self._running.values() if not one.is_answered]
        for exchange in waiting:
            self._put(exchange, message)
            self._end(exchange, None)
        return waiting

    def _end(self, exchange: Exchange, failure: ClientError | None) -> None:
        exchange.end(failure)
        self._running.pop(exchange.id, None)

    def leave(self, exchange: Exchange) -> None:
        """Note that the caller wants no more of it."""
        if exchange.over:
            return
        if exchange.streaming:
            self.to_send.append(_cancellation(exchange.id))
        self._end(exchange, None)

    def fail(self, error: ClientError) -> list[Exchange]:
        """End all exchanges with an error; return them."""
        failed = list(self._running.values())
        for exchange in failed:
            self._end(exchange, error)
        return failed

    # --- signs of life ------------------------------------------------------------------------------------

    def reads(self, now: float) -> None:
        """Note that the connection is read from now on."""
        self._heard += max(0.0, now - self._rested)
        self._rested = now

    def rests(self, now: float) -> None:
        """Note that nobody reads the connection from now on."""
        self._rested = now

    def heard(self, now: float) -> None:
        """Note that something came."""
        self._heard, self._pinged = now, False

    def wait(self, now: float) -> float:
        """Return the seconds until the next look at a silent server."""
        return max(0.0, self._heard + (self.patience if self._pinged else self.patience / 2) - now)

    def look(self, now: float) -> Silence:
        """Return what the server's silence calls for. A ping is asked for once."""
        if self.wait(now) > 0:
            return Silence.WAIT
        if self._pinged:
            return Silence.DEAD
        self._pinged = True
        return Silence.PING


def _failure_at_end(exchange: Exchange, message: ServerMessage) -> ClientError | None:
    if not exchange.streaming:
        return InvalidAnswerError("The agent ended its answer before it gave one")
    return UnavailableError(f"The agent ended the stream: {message.reason}") if message.reason else None


# --- the end of a connection ------------------------------------------------------------------------------

_BROKEN: Final = "The connection to the agent broke"
_LEFT: Final = "The agent closed the connection"
_KINDS: Final[Mapping[int, tuple[str, ErrorKind]]] = {
    1002: ("The agent took what was sent for no WebSocket", ErrorKind.INVALID_REQUEST),
    1003: ("The agent does not take such a message", ErrorKind.INVALID_REQUEST),
    1007: ("The agent took what was sent for no text", ErrorKind.INVALID_REQUEST),
    1008: ("The agent wants fewer messages", ErrorKind.RATE_LIMITED),
    1009: ("The message is larger than the agent takes", ErrorKind.PAYLOAD_TOO_LARGE),
    1012: ("The agent is being stopped", ErrorKind.OVERLOADED),
    1013: ("The agent cannot answer now", ErrorKind.OVERLOADED),
    4001: ("The agent does not take the credential any more", ErrorKind.UNAUTHENTICATED),
}
"""Close codes that stand for an error of the protocol; with any other, and without one, the connection is lost."""


def closing_error(code: int | None, reason: str | None = None) -> ClientError:
    """Return what a close code is for those who wait. `reason`: the server's own words; None: there are none."""
    text, kind = _KINDS.get(code or 0, (_BROKEN if code is None else _LEFT, None))
    words = " ".join((reason or "").split())[:_LONGEST_REASON]
    message = f"{text}: {words}" if words else text
    if kind is None:
        return UnavailableError(message)
    return refusal(message, http_status=kind.row.http, reason=kind.name)
