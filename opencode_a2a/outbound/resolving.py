"""Addresses of host names, as the system resolves them, or whoever is asked instead."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

import anyio

Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""Look up a host, for a port, and return its addresses as texts. Raises `OSError`."""


async def addresses_of(host: str, port: int) -> list[str]:
    """Return the addresses of a host, as the system resolves it. Raises `OSError`."""
    found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(sockaddr[0]) for *_, sockaddr in found]
