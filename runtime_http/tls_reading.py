"""The loops by which a runtime reads over TLS: it brings the means to receive and to send, and the session decides.

Knows no event loop.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from runtime_http.tls import TlsSession

Received = Callable[[], Awaitable[bytes]]
SendPending = Callable[[TlsSession], Awaitable[None]]


async def shake_hands(tls: TlsSession, received: Received, send_pending: SendPending) -> bool:
    """Complete the handshake. Returns whether HTTP may begin."""
    while not (done := tls.handshake()) and not tls.ended:
        await send_pending(tls)
        tls.feed(await received())
    await send_pending(tls)
    return done


async def read_decrypted(
    tls: TlsSession, received: Received, send_pending: SendPending, end_of_input: Callable[[], None]
) -> bytes:
    """Return the bytes of HTTP that came; empty at their end. `end_of_input`: called once the client has ended."""
    while not (data := tls.decrypt()) and not tls.ended:
        await send_pending(tls)
        tls.feed(await received())
    if tls.ended:
        await send_pending(tls)
        if not tls.broken:
            end_of_input()
    return data
