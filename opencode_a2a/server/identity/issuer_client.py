"""Fetches the documents of an identity provider, whose URL the operator chose.

The policy of outbound connections lets it reach the issuer's host wherever that is, and other hosts where they are
public: the discovery document may name one for the keys. Redirects are not followed.
"""

from __future__ import annotations

from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

import anyio
import httpx

from opencode_a2a.outbound.transport import CheckedTransport, OutboundLimits
from sansio.access.oidc import LARGEST_KEY_SET
from sansio.outbound import OutboundPolicy, origin_of, parse_allowed_hosts

SECONDS: Final = 5.0
"""Time for one document, from resolving on."""


class IssuerUnavailableError(Exception):
    """A document could not be had. The text says why."""


class IssuerClient:
    """Gets documents of `issuer`. It belongs in an `async with`."""

    def __init__(self, issuer: str) -> None:
        host = urlsplit(issuer).hostname or ""
        policy = OutboundPolicy(allowed=parse_allowed_hosts(host))
        limits = OutboundLimits(connections=2, idle_seconds=0.0, answer_bytes=LARGEST_KEY_SET, answer_seconds=SECONDS)
        self._transport = CheckedTransport(policy, limits)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.aclose()

    async def get(self, url: str) -> bytes:
        """Return the body of a JSON document. Raises `IssuerUnavailableError`."""
        headers = {"Accept": "application/json", "User-Agent": "opencode-a2a", "Accept-Encoding": "identity"}
        timeout = {"timeout": httpx.Timeout(SECONDS).as_dict()}
        try:
            with anyio.fail_after(SECONDS):
                request = httpx.Request("GET", url, headers=headers, extensions=timeout)
                response = await self._transport.handle_async_request(request)
                try:
                    body = await response.aread()
                finally:
                    await response.aclose()
        except TimeoutError:
            raise IssuerUnavailableError(f"{origin_of(url)} did not answer within {SECONDS:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            why = str(error) or type(error).__name__
            raise IssuerUnavailableError(f"{origin_of(url)} cannot be asked: {why}") from None
        if response.status_code != 200:
            raise IssuerUnavailableError(f"{origin_of(url)} answered with HTTP {response.status_code}")
        return body
