"""A WebSocket connection as its client has it, after a switch from HTTP/1.1: wsproto decides, anyio moves bytes.

There are no extensions, so that nothing small becomes large. What the server does that RFC 6455 does not have, and
more than is taken, ends the connection with the code for it. Whoever reads answers pings. Knows no message's meaning.
"""

from __future__ import annotations

import base64
import secrets
from collections import deque
from contextlib import suppress
from typing import Final

import anyio
import httpx
from attrs import define, field, frozen
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage
from wsproto.frame_protocol import CloseReason
from wsproto.handshake import WEBSOCKET_VERSION
from wsproto.utilities import LocalProtocolError, generate_accept_token

from opencode_a2a.outbound.exchange import BROKEN, Switched, is_readable
from sansio.transport.messages import MessageBudget

_READ_SIZE: Final = 64 * 1024
_WRITE_SIZE: Final = 64 * 1024
_CLOSING: Final = 0.2  # seconds to let the server know that the connection ends


@frozen
class Closed:
    """The end of a connection. `code`: that of the server's close frame; None: there was none.

    `fault`: what the server did wrong, where that is why.
    """

    code: int | None = None
    reason: str = ""
    fault: str = ""


def handshake_headers(subprotocol: str) -> dict[str, str]:
    """Return the headers of a request for WebSocket, with a new key."""
    return {
        "upgrade": "websocket",
        "connection": "Upgrade",
        "sec-websocket-key": base64.b64encode(secrets.token_bytes(16)).decode(),
        "sec-websocket-version": WEBSOCKET_VERSION.decode(),
        "sec-websocket-protocol": subprotocol,
    }


def handshake_fault(request: httpx.Request, response: httpx.Response) -> str:
    """Return what is wrong with the answer to a handshake; empty: nothing is."""
    headers = response.headers
    if response.status_code != 101 or headers.get("upgrade", "").lower() != "websocket":
        return "does not switch to WebSocket"
    accept = generate_accept_token(request.headers["sec-websocket-key"].encode()).decode()
    if headers.get("sec-websocket-accept") != accept:
        return "has a wrong Sec-WebSocket-Accept"
    if headers.get("sec-websocket-protocol") != request.headers["sec-websocket-protocol"]:
        return "does not choose the subprotocol that was offered"
    if headers.get("sec-websocket-extensions"):
        return "has an extension that was not offered"
    return ""


@define(eq=False)
class WebSocket:
    """An open connection. `largest`: bytes of a message that comes.

    `messages`: those that are whole, for the caller to take off. `closed`: the end, once it has come.
    """

    _switched: Switched
    largest: int
    closed: Closed | None = field(default=None, init=False)
    _protocol: Connection = field(init=False)
    _budget: MessageBudget = field(init=False)
    _parts: list[str] = field(factory=list, init=False)
    messages: deque[bytes] = field(factory=deque, init=False)
    _writing: anyio.Lock = field(factory=anyio.Lock, init=False)
    _pong: bytes = field(default=b"", init=False)  # of the last ping, which was not answered

    def __attrs_post_init__(self) -> None:
        self._protocol = Connection(ConnectionType.CLIENT, [], self._switched.ahead)
        self._budget = MessageBudget(anyio.current_time(), self.largest)

    @property
    def is_sending(self) -> bool:
        """Whether a message is being sent."""
        return self._writing.locked()

    # --- sending ------------------------------------------------------------------------------------------

    async def send(self, message: bytes, seconds: float) -> None:
        """Send a text message; each 64 KiB may take some seconds. Raises `httpx.WriteTimeout`.

        Failing otherwise is left to whoever reads: the server may have closed the connection with a reason.
        """
        async with self._writing:
            await self._write(TextMessage(message.decode()), seconds)

    async def ping(self, seconds: float) -> None:
        """Ask for a sign of life."""
        if not self.is_sending:
            async with self._writing:
                await self._write(Ping(), seconds)

    async def flush(self, seconds: float) -> None:
        """Answer the server's pings. Whoever sends a message just now does that behind it."""
        if self._pong and not self.is_sending:
            async with self._writing:
                await self._write(None, seconds)

    async def _write(self, event: Event | None, seconds: float) -> None:
        data = b"" if event is None else self._frame(event)
        while self.closed is None and (data or self._pong):
            data, self._pong = data + self._pong, b""
            try:
                for start in range(0, len(data), _WRITE_SIZE):
                    # whoever is cancelled here ends the connection for all: what is short is sent whole
                    with anyio.CancelScope(shield=len(data) <= _WRITE_SIZE), anyio.fail_after(seconds):
                        await self._switched.stream.send(data[start : start + _WRITE_SIZE])
            except BROKEN:
                return
            except BaseException as error:
                self._end()  # half a frame may be out
                if isinstance(error, TimeoutError):
                    raise httpx.WriteTimeout("the message was not taken in time") from None
                raise
            data = b""

    def _frame(self, event: Event) -> bytes:
        try:
            return self._protocol.send(event)
        except LocalProtocolError:
            return b""  # it is too late for that

    # --- receiving ----------------------------------------------------------------------------------------

    async def receive(self) -> None:
        """Wait until something comes, which may be a sign of life alone. What is there already is not waited for."""
        if not (self.messages or self.closed or self._take()):
            await self._more()

    async def _more(self) -> None:
        try:
            self._protocol.receive_data(await self._switched.stream.receive(_READ_SIZE))
        except (anyio.EndOfStream, *BROKEN):
            self._end()
        else:
            self._take()

    async def drain(self, seconds: float, most: int) -> None:
        """Take what has come while nobody read: a few pieces at most, and no longer than some seconds."""
        self._take()
        with anyio.move_on_after(seconds):
            for _ in range(most):
                if self.closed is not None or not is_readable(self._switched.stream):
                    return
                await self._more()

    def _take(self) -> bool:
        """Take the frames that have come; return whether there were any."""
        found = False
        for event in self._protocol.events():
            found = True
            now = anyio.current_time()
            match event:
                case TextMessage():
                    self._add(event, now)
                case Ping():
                    self._pong = self._frame(event.response())
                    self._count(now)
                case Pong():
                    self._count(now)
                case BytesMessage():
                    self._fail(CloseReason.UNSUPPORTED_DATA, "sent a binary message")
                case CloseConnection():
                    self._close(event)
                case _:
                    pass
            if self.closed is not None:
                break
        return found

    def _add(self, event: TextMessage, now: float) -> None:
        size = len(event.data.encode())
        if self._budget.is_too_large(size):
            self._fail(CloseReason.MESSAGE_TOO_BIG, f"sent a message of more than {self.largest} bytes")
            return
        whole = event.message_finished
        if not self._budget.fragment(size, now, frame_ends=event.frame_finished, message_ends=whole):
            self._fail(CloseReason.POLICY_VIOLATION, "sent too many small fragments")
            return
        self._parts.append(event.data)
        if whole:
            self.messages.append("".join(self._parts).encode())
            self._parts.clear()

    def _count(self, now: float) -> None:
        if not self._budget.control(now):
            self._fail(CloseReason.POLICY_VIOLATION, "sent too many control frames")

    def _close(self, event: CloseConnection) -> None:
        if self._protocol.state is ConnectionState.REMOTE_CLOSING:
            self._pong += self._frame(event.response())
            self.closed = Closed(event.code, event.reason or "")
        else:
            self._fail(CloseReason(event.code), "broke RFC 6455")

    def _fail(self, code: CloseReason, fault: str) -> None:
        self._pong += self._frame(CloseConnection(code=code.value, reason=fault))
        self.closed = Closed(fault=fault)

    def _end(self) -> None:
        if self.closed is None:
            self.closed = Closed()

    async def aclose(self) -> None:
        """Close the connection at once, with a last frame where the server takes that."""
        self._end()
        with anyio.move_on_after(_CLOSING, shield=True):
            if not self.is_sending:
                data = self._pong + self._frame(CloseConnection(code=CloseReason.NORMAL_CLOSURE.value))
                if data:
                    with suppress(*BROKEN):
                        await self._switched.stream.send(data)
        with anyio.CancelScope(shield=True):
            await anyio.aclose_forcefully(self._switched.stream)
