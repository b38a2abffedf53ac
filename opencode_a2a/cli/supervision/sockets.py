"""The sockets of one worker, as the server takes them."""

from __future__ import annotations

from attrs import frozen

from sansio.transport.sharing import AcceptShare


@frozen(kw_only=True)
class Sockets:
    """Sockets that are bound already, as `fd://N`, and the share of this process in what comes to the first."""

    served: str
    metrics: str | None
    share: AcceptShare
