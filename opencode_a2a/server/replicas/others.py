"""The other servers on a shared store, as operations ask them. Imports no database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol

from attrs import define, field

from sansio.a2a.replicas.commands import AgentCommand, Command

SENT: Final = ("answered", "refused", "unanswered", "gone", "withdrawn")
RECEIVED: Final = ("answered", "refused", "failed", "unanswered")


def _none_of(outcomes: Sequence[str]) -> Counter[str]:
    return Counter(dict.fromkeys(outcomes, 0))


@define
class CommandCounts:
    """Numbers of commands by their outcome: of those `sent` to other servers, and of those `received`."""

    sent: Counter[str] = field(factory=lambda: _none_of(SENT))
    received: Counter[str] = field(factory=lambda: _none_of(RECEIVED))


class OwnedHereError(Exception):
    """No other server works on the task: this one may do it."""


class Others(Protocol):
    """The other servers."""

    counts: CommandCounts
    """Commands by their outcome, since this server began."""

    async def ask_owner(self, task_id: str, command: Command) -> Any:
        """Have the server that works on a task do a command; return what came of it.

        Raises `OwnedHereError` where no other server works on it, `ProtocolError` as the owner refuses it or where no
        owner answers in time, `StoreError`.
        """

    async def ask_notifier(self, task_id: str, config_id: str, command: Command) -> Any:
        """Have the server that delivers a push configuration's notifications, or its task's owner, do a command.

        Returns and raises as `ask_owner`. Where nobody delivers, it is this server's from now on.
        """

    async def ask_all(self, command: AgentCommand) -> Sequence[Any]:
        """Have each server with a task of the principal's that waits for its user do a command, this one included.

        Returns what came of it in each. Raises `ProtocolError` where one refuses it, or does not answer in time,
        `StoreError`.
        """

    async def ask_any(self, command: AgentCommand) -> Any:
        """Have the server that a command concerns do it; None where it concerns none.

        Asked are this server, then those with a task of the principal's that waits for its user, then all others,
        which have little time. Raises `ProtocolError` as the first refuses it, or where one of those with such a task
        does not answer in time, `StoreError`.
        """

    async def ask_others(self, command: AgentCommand) -> Any:
        """Have all other servers do a command, which have little time. Return the first result, if there is one.

        Raises `ProtocolError` as the first refuses it, `StoreError`.
        """

    def note_gone(self) -> None:
        """Note that a server may have gone: what was asked of it is asked of the next one."""

    async def run(self) -> None:
        """Do what other servers ask, as long as this server runs."""


class NoOthers:
    """There are none, where the store is not shared. `execute`: does a command in this server."""

    def __init__(self, execute: Callable[[Command], Awaitable[Any]]) -> None:
        self._execute = execute
        self.counts = CommandCounts()

    async def ask_owner(self, task_id: str, command: Command) -> Any:
        """Raise `OwnedHereError`."""
        raise OwnedHereError

    async def ask_notifier(self, task_id: str, config_id: str, command: Command) -> Any:
        """Raise `OwnedHereError`."""
        raise OwnedHereError

    async def ask_all(self, command: AgentCommand) -> Sequence[Any]:
        """Return what came of a command in this server."""
        return [await self._execute(command)]

    async def ask_any(self, command: AgentCommand) -> Any:
        """Return what came of a command in this server."""
        return await self._execute(command)

    async def ask_others(self, command: AgentCommand) -> Any:
        """Return None."""
        return None

    def note_gone(self) -> None:
        """Do nothing: there was none."""

    async def run(self) -> None:
        """Return: nobody asks."""
