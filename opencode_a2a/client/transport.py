"""HTTP for `opencode-a2a call`: which agent, what to present to it, and requests whose failures are errors in words.

Credentials go to the origin the user named and to no other; redirects are not followed. Knows no A2A operation.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import anyio
import httpx
from attrs import field, frozen

from opencode_a2a.config.settings import Settings
from sansio.a2a.cards.parse import Origin
from sansio.a2a.client.calls import HttpCall
from sansio.redact import Secret

ANSWER_LIMIT: Final = 64 * 1024 * 1024
PATIENCE: Final = 3600.0
"""Seconds for which a task may stay as it is, where the user does not say."""


class ClientError(Exception):
    """Root of the exceptions of this package; the message is for the user."""


class UsageError(ClientError, ValueError):
    """The user's command or settings cannot be used; the message names what to change."""


class CallError(ClientError):
    """The agent could not be reached or stopped in the middle; the message is for the user."""


@frozen(kw_only=True)
class CallTarget:
    """Which agent, how to talk to it, and what to present to it.

    In seconds: `timeout` of silence of a connection, `patience` with a task that does not change.
    """

    url: str
    version: str | None = None
    binding: str | None = None
    bearer: Secret | None = field(default=None, repr=False)
    basic: Secret | None = field(default=None, repr=False)
    timeout: float = 30.0
    patience: float = PATIENCE

    @classmethod
    def of(
        cls,
        url: str,
        settings: Settings,
        *,
        version: str | None = None,
        binding: str | None = None,
        timeout: float | None = None,
    ) -> CallTarget:
        """The agent at `url`, with the credentials and the timeout of the settings."""
        return cls(
            url=url,
            version=version,
            binding=binding,
            bearer=settings.client_bearer_token,
            basic=settings.client_basic_auth,
            timeout=settings.client_timeout_seconds if timeout is None else timeout,
            patience=PATIENCE if timeout is None else timeout,
        )

    @property
    def has_credentials(self) -> bool:
        """Whether there is anything to present."""
        return self.bearer is not None or self.basic is not None

    def authorization(self) -> bytes | None:
        """The value of the `Authorization` header; the token goes before the login."""
        if self.bearer is not None:
            return b"Bearer " + self.bearer.reveal().encode()
        if self.basic is not None:
            return b"Basic " + base64.b64encode(self.basic.reveal().encode())
        return None


class Web:
    """HTTP for one call: redirects are never followed, and credentials go to `home` alone."""

    def __init__(self, target: CallTarget, closing: AsyncExitStack) -> None:
        self.target = target
        self.home = Origin.of(target.url)
        self._closing = closing
        self._clients: dict[bool, httpx.AsyncClient] = {}

    async def _client(self, *, proxied: bool) -> httpx.AsyncClient:
        """Made when first needed: loading the trusted certificates takes a while."""
        if proxied not in self._clients:
            try:
                # the trusted certificates are the environment's, whether or not its proxies are used
                trusted = httpx.create_ssl_context(trust_env=True)
                made = httpx.AsyncClient(timeout=self.target.timeout, trust_env=proxied, verify=trusted)
            except (ImportError, OSError, ValueError, httpx.InvalidURL):
                raise UsageError(
                    "the environment's proxy or certificate settings cannot be used "
                    "(HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE, SSL_CERT_DIR)"
                ) from None
            self._clients[proxied] = await self._closing.enter_async_context(made)
        return self._clients[proxied]

    @asynccontextmanager
    async def ask(self, request: HttpCall, silence: float | None = None) -> AsyncIterator[httpx.Response]:
        """Sends a request; gives the answer with its body unread. Raises `CallError`, in the block too.

        `silence`: seconds for which the agent may say nothing, where that is not the target's timeout.
        """
        origin = Origin.of(request.url)
        headers = {name.encode(): value.encode() for name, value in request.headers.items()}
        # a compressed stream comes in lumps, and a compressed body can be larger than it looks
        headers[b"accept-encoding"] = b"identity"
        authorization = self.target.authorization()
        if authorization is not None and origin == self.home:
            headers[b"authorization"] = authorization
        client = await self._client(proxied=not origin.is_loopback)
        allowed = self.target.timeout if silence is None else silence
        timeout = httpx.Timeout(self.target.timeout, read=allowed)
        try:
            async with client.stream(
                request.method, request.url, headers=headers, content=request.body, timeout=timeout
            ) as response:
                if 300 <= response.status_code < 400:
                    location = response.headers.get("location", "another address")
                    raise CallError(f"{origin} redirects to {location}, which is not followed; give that URL")
                yield response
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise CallError(_told(error, origin, allowed)) from None

    async def read(
        self, request: HttpCall, limit: int = ANSWER_LIMIT, *, silence: float | None = None
    ) -> tuple[int, bytes]:
        """Status and body of the answer."""
        async with self.ask(request, silence) as response:
            return response.status_code, await read_body(response, limit)


def _told(error: Exception, origin: Origin, timeout: float) -> str:
    """A network error in a line. Of the exception's own text only the system's reason for a failed connection."""
    match error:
        case httpx.ConnectTimeout():
            return f"Cannot connect to {origin} within {timeout:g} s"
        case httpx.ConnectError():
            return f"Cannot connect to {origin}: {error}"
        case httpx.TimeoutException():
            return f"{origin} was silent for {timeout:g} s"
        case httpx.ProxyError():
            return f"Cannot reach {origin} through the proxy: {error}"
        case httpx.NetworkError() | httpx.RemoteProtocolError():
            return f"{origin} broke the connection off"
        case _:
            return f"Cannot talk to {origin}: {type(error).__name__}"


async def read_chunks(response: httpx.Response, take: Callable[[bytes], bool]) -> None:
    """Gives `take` each piece of the body until it returns False or raises.

    An iterator of httpx that is left early is not closed with those inside it; cancelling its next read is what
    ends them all.
    """
    failure: Exception | None = None
    with anyio.CancelScope() as scope:
        async for chunk in response.aiter_bytes():
            if scope.cancel_called:
                continue  # it had come already
            try:
                wants_more = take(chunk)
            except Exception as error:  # whatever it is, it is raised below
                failure = error
                wants_more = False
            if not wants_more:
                scope.cancel()
    if failure is not None:
        raise failure


async def read_body(response: httpx.Response, limit: int = ANSWER_LIMIT) -> bytes:
    """The whole body. Raises `CallError` where it is larger than `limit` bytes."""
    body = bytearray()

    def take(chunk: bytes) -> bool:
        body.extend(chunk)
        return len(body) <= limit

    await read_chunks(response, take)
    if len(body) > limit:
        raise CallError(f"The agent's answer is larger than {limit} bytes")
    return bytes(body)
