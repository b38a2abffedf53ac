"""Origin of a call: the turn in which a model makes it, as far as that is known. The agent implements this."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol

import anyio

from sansio.a2a.bindings.trace_context import TraceContext


class CallOrigin(Protocol):
    """The turn that a call is from, or what is assumed where that is not known."""

    @property
    def hops(self) -> int:
        """The number of agents that the turn's request has come through."""

    @property
    def trace(self) -> TraceContext | None:
        """The span of the turn; None where the turn is not known."""

    def attached(self, scope: anyio.CancelScope) -> AbstractContextManager[None]:
        """While it is entered, the end of the turn cancels the scope."""

    def progress(self, text: str) -> None:
        """Show progress in the turn's own task."""


class CallOrigins(Protocol):
    """Finds origins."""

    async def find(self, arguments: Mapping[str, object]) -> CallOrigin:
        """Return the origin of a call with these arguments. May wait a few seconds for the turn to be known."""
