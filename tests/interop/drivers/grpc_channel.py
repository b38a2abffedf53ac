"""Channels of grpcio that show a command's credentials, for the Python clients: to gRPC these are metadata.

Needs grpcio alone. Must not know which client makes the calls.
"""

# grpcio has no types of its own, and the environments of the clients are never the one that checks types.
# mypy: disable-error-code="import-not-found, import-untyped, misc"

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from grpc import aio

from tests.interop.drivers.dialogue import Json, headers_of


class WholeAnswers(aio.UnaryUnaryClientInterceptor):
    """Adds metadata to calls that have one answer."""

    def __init__(self, metadata: tuple[tuple[str, str], ...]) -> None:
        self.metadata = metadata

    async def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        return await continuation(with_more(details, self.metadata), request)


class Streams(aio.UnaryStreamClientInterceptor):
    """Adds metadata to calls that have a stream for an answer."""

    def __init__(self, metadata: tuple[tuple[str, str], ...]) -> None:
        self.metadata = metadata

    async def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
        return await continuation(with_more(details, self.metadata), request)


def with_more(details: Any, metadata: tuple[tuple[str, str], ...]) -> Any:
    """The details of a call with more metadata than the client gives it."""
    return aio.ClientCallDetails(
        method=details.method,
        timeout=details.timeout,
        metadata=aio.Metadata(*(details.metadata or ()), *metadata),
        credentials=details.credentials,
        wait_for_ready=details.wait_for_ready,
    )


@asynccontextmanager
async def channels_as(command: Json) -> AsyncIterator[Callable[[str], Any]]:
    """What opens channels as the command's caller, as the clients' configuration takes it; closed at the end."""
    metadata = tuple((name.lower(), value) for name, value in headers_of(command).items())
    async with AsyncExitStack() as stack:

        def opened(target: str) -> Any:
            channel = aio.insecure_channel(target, interceptors=[WholeAnswers(metadata), Streams(metadata)])
            stack.push_async_callback(channel.close)
            return channel

        yield opened
