"""The error that a caller gets where the task store cannot be read or written."""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

from attrs import frozen

from opencode_a2a.server.store import FencedError, StoreError, StoreUnavailableError
from sansio.a2a.errors import ErrorKind, ProtocolError

T = TypeVar("T")


def store_failure(error: StoreError) -> ProtocolError:
    """The error that a caller sees: whether to try again, and nothing of the database."""
    if not isinstance(error, StoreUnavailableError | FencedError):
        return ProtocolError(ErrorKind.INTERNAL_ERROR, "The task store cannot be used")
    data = {"type": "STORE_UNAVAILABLE", "retryable": True}
    return ProtocolError(ErrorKind.STORE_UNAVAILABLE, data=data, metadata={"retryable": "true"})


async def from_store(reading: Awaitable[T]) -> T:
    """Await a read or a write of the store. Raises `ProtocolError` where it cannot."""
    try:
        return await reading
    except StoreError as exc:
        raise store_failure(exc) from exc


@frozen
class Holding:
    """Holds a lock that servers may share. Raises `ProtocolError` where their database cannot be asked."""

    lock: AbstractAsyncContextManager[object]

    async def __aenter__(self) -> None:
        await from_store(self.lock.__aenter__())

    async def __aexit__(self, *_exc: object) -> None:
        await self.lock.__aexit__(None, None, None)
