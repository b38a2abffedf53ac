"""Replies to permissions and questions, and lists of them, wherever their turns run.

Any server may be asked. It answers for itself, and asks the others for the rest. A request is answered once, by the
server that runs its turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opencode_a2a.agent.turns.instance_interrupts import InstanceInterrupts
from opencode_a2a.server.replicas.others import Others
from sansio.a2a.model import JsonObject
from sansio.a2a.replicas.commands import AgentCommand
from sansio.extensions.methods.method_errors import ExtensionErrorKind, interrupt_error

_PERMISSION, _QUESTION, _REJECT, _PENDING = "permission.reply", "question.reply", "question.reject", "pending"
_REPLIES = (_PERMISSION, _QUESTION, _REJECT)


class InterruptCommands:
    """Does what other servers ask of this one about the requests of its turns."""

    def __init__(self, interrupts: InstanceInterrupts) -> None:
        self._interrupts = interrupts

    async def run(self, principal: str, name: str, arguments: JsonObject) -> Any:
        """Do a command; None where no turn of this server's has the request, or a later version sent the command.

        Raises `ProtocolError`.
        """
        if name == _PENDING:
            return self._interrupts.pending(principal, arguments["kind"])
        if name not in _REPLIES:
            return None
        request_id = arguments["request_id"]
        if not self._interrupts.knows(principal, request_id):
            return None
        if name == _PERMISSION:
            await self._interrupts.reply_permission(principal, request_id, arguments["reply"], arguments["message"])
        elif name == _QUESTION:
            await self._interrupts.reply_question(principal, request_id, arguments["answers"])
        else:
            await self._interrupts.reject_question(principal, request_id)
        return True


class SharedInterrupts:
    """The requests of all servers' turns. `others`: the other servers, which do `InterruptCommands`."""

    def __init__(self, others: Others) -> None:
        self._others = others

    async def reply_permission(self, principal: str, request_id: str, reply: str, message: str | None) -> None:
        """Answer a permission: `once`, `always` or `reject`. Raises `ProtocolError`, `StoreError`."""
        await self._ask(principal, _PERMISSION, request_id, {"reply": reply, "message": message})

    async def reply_question(self, principal: str, request_id: str, answers: Sequence[Sequence[str]]) -> None:
        """Answer a question. Raises `ProtocolError`, `StoreError`."""
        await self._ask(principal, _QUESTION, request_id, {"answers": [list(chosen) for chosen in answers]})

    async def reject_question(self, principal: str, request_id: str) -> None:
        """Leave a question unanswered. Raises `ProtocolError`, `StoreError`."""
        await self._ask(principal, _REJECT, request_id, {})

    async def pending(self, principal: str, kind: str) -> list[JsonObject]:
        """The caller's requests that wait for an answer, oldest task first. Raises `ProtocolError`, `StoreError`."""
        command = AgentCommand(principal=principal, name=_PENDING, arguments={"kind": kind})
        found = [one for several in await self._others.ask_all(command) for one in several]
        # A turn that another server has taken over meanwhile may be in two lists.
        by_id = {one["request_id"]: one for one in sorted(found, key=lambda one: one["created_at"])}
        return [{name: value for name, value in one.items() if name != "created_at"} for one in by_id.values()]

    async def _ask(self, principal: str, name: str, request_id: str, arguments: JsonObject) -> None:
        command = AgentCommand(principal=principal, name=name, arguments={"request_id": request_id, **arguments})
        if await self._others.ask_any(command) is None:
            raise interrupt_error(ExtensionErrorKind.INTERRUPT_REQUEST_NOT_FOUND, request_id)
