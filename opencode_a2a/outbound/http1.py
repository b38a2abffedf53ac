"""One HTTP/1.1 connection of an outbound request: h11 decides, anyio moves bytes.

Knows no policy and no limit of time. Failures are those of httpx; their texts hold nothing that was sent.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable
from typing import Final, TypeAlias

import anyio
import h11
import httpx
from anyio.abc import ByteStream
from attrs import define

from opencode_a2a.outbound.exchange import BROKEN, AnswerHead, Key, Switched, is_readable, sent_headers
from sansio.outbound import Target

Event: TypeAlias = h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]

_READ_SIZE: Final = 64 * 1024
_WRITE_SIZE: Final = 64 * 1024
_HEAD_BYTES: Final = 64 * 1024
_INFORMATIONAL: Final = 8
"""Answers such as 103 that may come before the one that counts."""

_SWITCHING: Final = 101


@define(eq=False)
class Http1Connection:
    """A connection for one request after another. `key` says for which, `idle_until` how long it may be kept."""

    key: Key
    _stream: ByteStream
    _protocol: h11.Connection
    idle_until: float = 0.0

    @classmethod
    def over(cls, stream: ByteStream, key: Key) -> Http1Connection:
        """Return a connection over a stream that is open."""
        return cls(key, stream, h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_BYTES))

    async def send(self, request: httpx.Request, target: Target, seconds: float) -> None:
        """Send a request; each 64 KiB may take some seconds.

        Raises `httpx.WriteTimeout`. Failing otherwise is left to `head`: the other side may have answered early.
        """
        assert isinstance(request.stream, AsyncIterable)
        parts = aiter(request.stream)
        try:
            head = h11.Request(
                method=request.method,
                target=target.path,
                headers=[(b"Host", target.authority.encode()), *sent_headers(request)],
            )
            data = bytearray(self._protocol.send(head) or b"")
            async for part in parts:
                data += self._protocol.send(h11.Data(data=part)) or b""
                if len(data) >= _WRITE_SIZE:
                    await self._write(data, seconds)
                    data = bytearray()
            data += self._protocol.send(h11.EndOfMessage()) or b""
            await self._write(data, seconds)
        except BROKEN:
            return
        except h11.LocalProtocolError:
            raise httpx.LocalProtocolError("the request cannot be written as HTTP/1.1") from None
        finally:
            if isinstance(parts, AsyncGenerator):
                with anyio.CancelScope(shield=True):
                    await parts.aclose()

    async def _write(self, data: bytes | bytearray, seconds: float) -> None:
        try:
            with anyio.fail_after(seconds):
                await self._stream.send(bytes(data))
        except TimeoutError:
            raise httpx.WriteTimeout("the request was not taken in time") from None

    async def head(self) -> AnswerHead:
        """Return the head of the answer. Raises `httpx.RemoteProtocolError`, `httpx.ReadError`.

        That of a 101, which is one to a request with `Upgrade` alone, has the extension `switched`.
        """
        for _ in range(_INFORMATIONAL):
            event = await self._next()
            if isinstance(event, h11.InformationalResponse) and event.status_code == _SWITCHING:
                ahead, _ = self._protocol.trailing_data
                return AnswerHead(_SWITCHING, list(event.headers), {"switched": Switched(self._stream, ahead)})
            if isinstance(event, h11.Response):
                extensions = {"http_version": b"HTTP/1.1", "reason_phrase": bytes(event.reason)}
                return AnswerHead(event.status_code, list(event.headers), extensions)
        raise httpx.RemoteProtocolError("the answer does not begin")

    async def part(self) -> bytes | None:
        """Return what has come of the body, as soon as there is any; None at its end. Raises like `head`."""
        if self._protocol.their_state not in (h11.SEND_BODY, h11.ERROR):
            return None
        event = await self._next()
        parts = []
        while isinstance(event, h11.Data):
            parts.append(bytes(event.data))
            try:
                event = self._protocol.next_event()
            except h11.RemoteProtocolError:
                break  # which the next call raises again
        return b"".join(parts) or None

    async def _next(self) -> Event:
        try:
            while (event := self._protocol.next_event()) is h11.NEED_DATA:
                try:
                    data = await self._stream.receive(_READ_SIZE)
                except anyio.EndOfStream:
                    data = b""
                self._protocol.receive_data(data)
        except h11.RemoteProtocolError:
            raise httpx.RemoteProtocolError("the answer breaks off, or is not HTTP/1.1") from None
        except BROKEN:
            raise httpx.ReadError("the connection broke") from None
        return event

    def is_reusable(self) -> bool:
        """Return whether the exchange is over and another may follow; prepare it."""
        protocol = self._protocol
        if protocol.our_state is not h11.DONE or protocol.their_state is not h11.DONE:
            return False
        if protocol.trailing_data != (b"", False):
            return False  # an answer to nothing
        protocol.start_next_cycle()
        return True

    async def is_dead(self) -> bool:
        """Return whether there is something to read where nothing was asked: the end of the stream, as a rule."""
        return is_readable(self._stream)

    async def aclose(self) -> None:
        """Close it at once."""
        await anyio.aclose_forcefully(self._stream)
