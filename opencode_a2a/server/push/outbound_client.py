"""The HTTP client of push notifications: posts to URLs that callers gave us, as far as the policy allows it.

Where a request goes is for `opencode_a2a.outbound`; this puts what went wrong into words for the log. Knows nothing
of what it sends.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import anyio
import anyio.to_thread
from attrs import frozen

from opencode_a2a.outbound.resolving import Resolve, addresses_of
from sansio.outbound import FieldPath, OutboundPolicy, origin_of

if TYPE_CHECKING:
    import httpx

    from opencode_a2a.outbound.transport import CheckedTransport

_CONNECTIONS: Final = 128  # as many as notifications are under way at once
_BODY_READ: Final = 16 * 1024
_BODY_SECONDS: Final = 1.0
_USER_AGENT: Final = ("User-Agent", "opencode-a2a")


class UndeliveredError(Exception):
    """There was no answer. The text says why, and holds no more of the URL than its host."""


@frozen
class Answer:
    """A receiver's answer: the status, and its `Retry-After` header."""

    status: int
    retry_after: str | None = None


class CheckedClient:
    """Posts to URLs the policy allows. `timeout`: seconds for all of a request, from resolving on.

    It belongs in an `async with`. httpx is imported for the first URL, in a thread: a start takes a tenth longer
    with it, and most servers are given no URL.
    """

    def __init__(self, policy: OutboundPolicy, *, timeout: float, resolve: Resolve = addresses_of) -> None:
        self._timeout = timeout
        self._policy = policy
        self._resolve = resolve
        self._transport: CheckedTransport | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._transport is not None:
            await self._transport.aclose()

    async def check(self, url: str, path: FieldPath) -> None:
        """Look at a URL, and at what its host resolves to now.

        Raises `ProtocolError` that names the field at `path` and never repeats the URL.
        """
        transport = await self._opened()
        await transport.check(url, path)

    async def post(self, url: str, headers: Sequence[tuple[str, str]], body: Sequence[bytes]) -> Answer:
        """Post pieces to the first of the host's addresses that takes the connection. Raises `UndeliveredError`."""
        transport = await self._opened()
        import httpx

        from opencode_a2a.outbound.outbound_errors import CertificatesError, TargetRefusedError

        host = origin_of(url).partition("//")[2]
        try:
            with anyio.fail_after(self._timeout):
                return await _answer(transport, self._request(url, headers, body))
        except TargetRefusedError as error:
            raise UndeliveredError(error.refusal.message) from None
        except CertificatesError as error:
            raise UndeliveredError(str(error)) from None
        except httpx.ConnectTimeout:
            raise UndeliveredError(f"{host} took no connection in time") from None
        except httpx.ConnectError as error:
            raise UndeliveredError(f"{host} could not be connected to: {error}") from None
        except (TimeoutError, httpx.TimeoutException):
            raise UndeliveredError(f"no answer within {self._timeout:g} s") from None
        except (httpx.NetworkError, httpx.RemoteProtocolError):
            raise UndeliveredError(f"{host} broke the connection off") from None
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise UndeliveredError(f"{host} cannot be sent to: {type(error).__name__}") from None

    async def _opened(self) -> CheckedTransport:
        if self._transport is None:
            made = await anyio.to_thread.run_sync(self._make_transport)
            if self._transport is None:
                self._transport = made
        return self._transport

    def _make_transport(self) -> CheckedTransport:
        from opencode_a2a.outbound.transport import CheckedTransport, OutboundLimits

        limits = OutboundLimits(connections=_CONNECTIONS, idle_seconds=0.0, connect_seconds=self._timeout)
        return CheckedTransport(self._policy, limits, resolve=self._resolve)

    def _request(self, url: str, headers: Sequence[tuple[str, str]], body: Sequence[bytes]) -> httpx.Request:
        import httpx

        return httpx.Request(
            "POST",
            url,
            headers=[_USER_AGENT, ("Connection", "close"), ("Content-Length", str(sum(map(len, body)))), *headers],
            content=_Pieces(iter(body)),
            extensions={"timeout": httpx.Timeout(self._timeout).as_dict()},
        )


@frozen
class _Pieces:
    """A request's body, in the pieces in which it is written."""

    _pieces: Iterator[bytes]

    def __aiter__(self) -> _Pieces:
        return self

    async def __anext__(self) -> bytes:
        for piece in self._pieces:
            return piece
        raise StopAsyncIteration


async def _answer(transport: CheckedTransport, request: httpx.Request) -> Answer:
    response = await transport.handle_async_request(request)
    try:
        await _read_if_short(response)
    finally:
        await response.aclose()
    return Answer(response.status_code, response.headers.get("retry-after"))


async def _read_if_short(response: httpx.Response) -> None:
    """Read what is sure to be short, so that the other side can close in peace. The status stands already.

    A longer body is not begun: an iterator of httpx that is left early is not closed with those inside it.
    """
    import httpx

    length = response.headers.get("content-length", "")
    if not re.fullmatch("[0-9]{1,9}", length) or int(length) > _BODY_READ:
        return
    with anyio.move_on_after(_BODY_SECONDS):
        try:
            async for _ in response.aiter_raw():
                pass
        except httpx.HTTPError:
            return
