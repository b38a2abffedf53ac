"""The other servers on a shared store, as operations ask them. Imports no database."""

from __future__ import annotations

from typing import Any, Protocol

from sansio.a2a.replicas.commands import Command


class OwnedHereError(Exception):
    """No other server works on the task: this one may do it."""


class Others(Protocol):
    """The other servers."""

    async def ask_owner(self, task_id: str, command: Command) -> Any:
        """Have the server that works on a task do a command; return what came of it.

        Raises `OwnedHereError` where no other server works on it, `ProtocolError` as the owner refuses it or where no
        owner answers in time, `StoreError`.
        """

    async def run(self) -> None:
        """Do what other servers ask, as long as this server runs."""


class NoOthers:
    """There are none, where the store is not shared."""

    async def ask_owner(self, task_id: str, command: Command) -> Any:
        """Raise `OwnedHereError`."""
        raise OwnedHereError

    async def run(self) -> None:
        """Return: nobody asks."""
