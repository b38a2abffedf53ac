"""An HTTP client for URLs that callers gave us: it connects to exactly the addresses the policy has looked at.

No redirect, proxy, cookie, login or connection of an earlier request has a say in where a request goes. Knows
nothing of what it sends.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Final, Self, TypeAlias

import anyio
import anyio.to_thread
import httpx
from attrs import frozen

from sansio.a2a.errors import ProtocolError
from sansio.outbound import Address, FieldPath, OutboundPolicy, Target

Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]

_ADDRESSES_TRIED: Final = 3
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


async def addresses_of(host: str, port: int) -> list[str]:
    """The addresses of a host, as the system resolves it. Raises `OSError`."""
    found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(sockaddr[0]) for *_, sockaddr in found]


class CheckedClient:
    """Posts to URLs the policy allows. `timeout`: seconds for all of a request, from resolving on.

    It belongs in an `async with`, and makes its connections only once they are needed: loading the trusted
    certificates takes a while.
    """

    def __init__(self, policy: OutboundPolicy, *, timeout: float, resolve: Resolve = addresses_of) -> None:
        self._policy = policy
        self._timeout = timeout
        self._resolve = resolve
        self._making = anyio.Lock()
        self._made: httpx.AsyncHTTPTransport | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._made is not None:
            await self._made.aclose()

    async def check(self, url: str, path: FieldPath) -> None:
        """Look at a URL, and at what its host resolves to now.

        Raises `ProtocolError` that names the field at `path` and never repeats the URL.
        """
        await self._admitted(url, path)

    async def post(self, url: str, headers: Sequence[tuple[str, str]], body: bytes) -> Answer:
        """Post to the first of the host's addresses that takes the connection. Raises `UndeliveredError`."""
        try:
            with anyio.fail_after(self._timeout):
                target, addresses = await self._admitted(url, ("url",))
                return await self._first_answer(target, addresses[:_ADDRESSES_TRIED], headers, body)
        except ProtocolError as refusal:
            raise UndeliveredError(refusal.message) from None
        except TimeoutError:
            raise UndeliveredError(f"no answer within {self._timeout:g} s") from None

    # --- where to -----------------------------------------------------------------------------------------

    async def _admitted(self, url: str, path: FieldPath) -> tuple[Target, tuple[Address, ...]]:
        target = self._policy.target(url, path)
        found = [target.address] if target.address is not None else await self._resolved(target)
        return target, self._policy.admit(target, found, path)

    async def _resolved(self, target: Target) -> list[Address]:
        """The addresses of a name; none where it does not resolve in time."""
        with anyio.move_on_after(self._timeout):
            try:
                texts = await self._resolve(target.host, target.port)
                return [ipaddress.ip_address(text) for text in texts]
            except (OSError, ValueError):  # ValueError: a name or an address nothing can be done with
                return []
        return []

    # --- sending ------------------------------------------------------------------------------------------

    async def _first_answer(
        self, target: Target, addresses: Sequence[Address], headers: Sequence[tuple[str, str]], body: bytes
    ) -> Answer:
        reason = ""
        for address in addresses:
            try:
                return await self._answer(self._request(target, address, headers, body, len(addresses)))
            except httpx.ConnectTimeout:
                reason = f"{target.authority} took no connection in time"
            except httpx.ConnectError as error:
                reason = f"{target.authority} could not be connected to: {_cause(error)}"
            except httpx.TimeoutException:
                raise UndeliveredError(f"no answer within {self._timeout:g} s") from None
            except (httpx.NetworkError, httpx.RemoteProtocolError):
                raise UndeliveredError(f"{target.authority} broke the connection off") from None
            except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
                raise UndeliveredError(f"{target.authority} cannot be sent to: {type(error).__name__}") from None
        raise UndeliveredError(reason)

    def _request(
        self,
        target: Target,
        address: Address,
        headers: Sequence[tuple[str, str]],
        body: bytes,
        addresses: int,
    ) -> httpx.Request:
        """To the address, in the name of the host: that is what the certificate is held against."""
        limits = dict.fromkeys(("read", "write", "pool"), self._timeout)
        extensions: dict[str, object] = {"timeout": {**limits, "connect": self._timeout / addresses}}
        if target.address is None:
            extensions["sni_hostname"] = target.host
        return httpx.Request(
            "POST",
            target.at(address),
            headers=[("Host", target.authority), _USER_AGENT, ("Connection", "close"), *headers],
            content=body,
            extensions=extensions,
        )

    async def _answer(self, request: httpx.Request) -> Answer:
        transport = await self._transport()
        response = await transport.handle_async_request(request)
        try:
            await _read_if_short(response)
        finally:
            await response.aclose()
        return Answer(response.status_code, response.headers.get("retry-after"))

    async def _transport(self) -> httpx.AsyncHTTPTransport:
        """A transport rather than a client of httpx: without cookies, redirects, proxies and logins.

        It keeps no connection, for httpx pools them by address alone: another name's certificate would not be
        looked at.
        """
        async with self._making:
            if self._made is None:
                try:
                    context = await anyio.to_thread.run_sync(httpx.create_ssl_context)
                except OSError:
                    raise UndeliveredError(
                        "the trusted certificates cannot be loaded (SSL_CERT_FILE, SSL_CERT_DIR)"
                    ) from None
                limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
                self._made = httpx.AsyncHTTPTransport(verify=context, limits=limits)
            return self._made


def _cause(error: BaseException) -> str:
    """The reason that the system or TLS gives; the libraries between do not always pass it on."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, OSError) and str(inner):
            return str(inner)
        inner = inner.__cause__ or inner.__context__
    return type(error).__name__


async def _read_if_short(response: httpx.Response) -> None:
    """Read what is sure to be short, so that the other side can close in peace. The status stands already.

    A longer body is not begun: an iterator of httpx that is left early is not closed with those inside it.
    """
    length = response.headers.get("content-length", "")
    if not re.fullmatch("[0-9]{1,9}", length) or int(length) > _BODY_READ:
        return
    with anyio.move_on_after(_BODY_SECONDS):
        try:
            async for _ in response.aiter_raw():
                pass
        except httpx.HTTPError:
            return
