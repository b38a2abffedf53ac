"""TLS of one connection without I/O: bytes of the network in, bytes of HTTP out, and the other way round.

The runtimes read and write the same sockets as without TLS, so that admission, limits and the end of a connection
are the same for both. Knows no event loop and no file: a runtime is given a function that returns the context for
the next handshake.
"""

from __future__ import annotations

import ssl
from contextlib import suppress
from typing import Final

PLAIN_HTTP: Final = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\ncontent-length: 41\r\n\r\n"
    b"This port speaks TLS: use an https URL.\r\n"
)
"""The answer to a client that speaks HTTP without TLS."""

_MOST = 65536  # bytes that are decrypted at once


class TlsSession:
    """TLS on the server's side of one connection.

    `feed` takes bytes of the network; `handshake`, and then `decrypt`, use them. After each of these, `pending` has
    the bytes that TLS itself wants sent. `ended`: nothing more will be received, by the client's `close_notify`, the
    end of its bytes, or an error. `broken`: nothing can be sent either, save what is pending.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._refusal = b""
        self._established = False
        self.ended: bool = False
        self.broken: bool = False

    @property
    def protocol(self) -> str | None:
        """Name the protocol that both sides chose by ALPN; None where they did not."""
        return self._object.selected_alpn_protocol()

    def feed(self, data: bytes) -> None:
        """Take bytes of the network; empty at their end.

        An end without `close_notify` is an end like that of plain TCP: HTTP has its own marks of a whole message, and
        what the client waits for may still follow.
        """
        if data:
            self._incoming.write(data)
        else:
            self.ended, self.broken = True, not self._established

    def handshake(self) -> bool:
        """Go on with the handshake. Returns whether it is complete."""
        if not (self._established or self.ended):
            try:
                self._object.do_handshake()
                self._established = True
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as error:
                self._fail()
                if error.reason == "HTTP_REQUEST":
                    self._outgoing.read()  # an alert, which that client does not understand
                    self._refusal = PLAIN_HTTP
        return self._established

    def decrypt(self) -> bytes:
        """Return the bytes of HTTP that are whole; none where more have to come."""
        pieces: list[bytes] = []
        try:
            while not self.ended and (piece := self._object.read(_MOST)):
                pieces.append(piece)
        except ssl.SSLWantReadError:
            return b"".join(pieces)
        except ssl.SSLZeroReturnError:
            pass
        except ssl.SSLError:
            self._fail()
        self.ended = True
        return b"".join(pieces)

    def encrypt(self, data: bytes | memoryview) -> bytes:
        """Encrypt bytes of HTTP. Returns the bytes to send, to be sent in this order."""
        if data and not self.broken:
            try:
                self._object.write(data)
            except ssl.SSLError:
                self._fail()
        return self.pending()

    @property
    def has_pending(self) -> bool:
        """Whether bytes wait to be sent."""
        return bool(self._refusal) or self._outgoing.pending > 0

    def pending(self) -> bytes:
        """Take the bytes that wait to be sent."""
        refusal, self._refusal = self._refusal, b""
        return refusal or self._outgoing.read()

    def close(self) -> None:
        """Write the end, which is pending then."""
        if self._established and not self.broken:
            with suppress(ssl.SSLError):  # the client's own end is awaited by nobody
                self._object.unwrap()

    def _fail(self) -> None:
        self.ended = self.broken = True
