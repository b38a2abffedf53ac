"""Answers to permissions and questions, each for the instance of OpenCode that waits for it."""

from __future__ import annotations

from collections.abc import Sequence

from opencode_a2a.agent.turns.interrupt_service import InterruptService
from opencode_a2a.agent.turns.turn_metrics import InterruptTotals
from sansio.a2a.model import JsonObject


class InstanceInterrupts:
    """The pending permissions and questions of all instances. Errors are those of `InterruptService`."""

    def __init__(self, services: Sequence[InterruptService]) -> None:
        self._services = services

    async def reply_permission(self, principal: str, request_id: str, reply: str, message: str | None) -> None:
        """Answer a permission. Raises `ProtocolError`."""
        await self._of(principal, request_id).reply_permission(principal, request_id, reply, message)

    async def reply_question(self, principal: str, request_id: str, answers: Sequence[Sequence[str]]) -> None:
        """Answer a question. Raises `ProtocolError`."""
        await self._of(principal, request_id).reply_question(principal, request_id, answers)

    async def reject_question(self, principal: str, request_id: str) -> None:
        """Leave a question unanswered. Raises `ProtocolError`."""
        await self._of(principal, request_id).reject_question(principal, request_id)

    def pending(self, principal: str, kind: str) -> list[JsonObject]:
        """The caller's requests that wait for an answer, by instance, oldest task first."""
        return [item for service in self._services for item in service.pending(principal, kind)]

    def knows(self, principal: str, request_id: str) -> bool:
        """Whether a request of the caller's waits for an answer here, or was given up a while ago."""
        return any(service.knows(principal, request_id) for service in self._services)

    def ages(self) -> list[float]:
        """For how many seconds each request waits."""
        return [age for service in self._services for age in service.ages()]

    def totals(self) -> list[InterruptTotals]:
        """Return the numbers of requests that were asked, and answered, by instance."""
        return [service.totals() for service in self._services]

    def _of(self, principal: str, request_id: str) -> InterruptService:
        """The service that knows a request; the first one, which refuses it, where none does."""
        return next((one for one in self._services if one.knows(principal, request_id)), self._services[0])
