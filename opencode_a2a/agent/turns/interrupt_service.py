"""Answers to permissions and questions: by method or by a plain message, each request at most once.

`sansio.opencode.interrupts.replies` decides what a message means; here it is known who may answer what, and when
it is too late. A request is found through the running turn that waits for it, so it is there after a restart.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence

import anyio
from attrs import frozen

from opencode_a2a.agent.turns.running_turn import RunningTurn
from opencode_a2a.agent.turns.turn_metrics import InterruptTotals
from opencode_a2a.agent.turns.turn_runner import LOOKED_AT_ONCE, TurnRunner
from opencode_a2a.agent.upstream.upstream import Upstream, UpstreamError
from opencode_a2a.server.steps import in_turns
from opencode_a2a.server.store import StoreError
from opencode_a2a.server.store.store_errors import store_failure
from opencode_a2a.server.tasks.active_task import ActiveTask
from sansio.a2a.bindings.json_output import Steps
from sansio.a2a.errors import ProtocolError
from sansio.a2a.model import JsonObject, Message
from sansio.a2a.timestamps import epoch_ms
from sansio.extensions.methods.method_errors import ExtensionError, ExtensionErrorKind, interrupt_error
from sansio.opencode.interrupts.render import details_of
from sansio.opencode.interrupts.replies import (
    Answer,
    expired,
    permission_reply,
    question_reject,
    question_reply,
    request_named,
    understand,
)
from sansio.opencode.upstream.events import InterruptAsked

_log = logging.getLogger(__name__)

_LOOK = 1.0  # seconds between two looks for requests that nobody has answered in time


@frozen
class _Waiting:
    """A request that waits for an answer, with the turn that asks it."""

    run: RunningTurn
    asked: InterruptAsked


class InterruptService:
    """Who may answer what. In seconds: `patience` with a request, and `memory` of one that was given up."""

    def __init__(
        self, turns: TurnRunner, upstream: Upstream, *, patience: float, memory: float, wall: Callable[[], float]
    ) -> None:
        self._turns = turns
        self._upstream = upstream
        self._patience = patience
        self._memory = memory
        self._wall = wall
        self._under_way: set[str] = set()
        self._given_up: OrderedDict[str, tuple[str, float]] = OrderedDict()  # by whom, and until when it is known

    # --- by method ----------------------------------------------------------------------------------------

    async def reply_permission(self, principal: str, request_id: str, reply: str, message: str | None) -> None:
        """Answer a permission: `once`, `always` or `reject`. Raises `ProtocolError`."""
        found = self._find(principal, request_id, "permission")
        await self._answer(found, permission_reply(found.asked, reply, message, found.run.location))

    async def reply_question(self, principal: str, request_id: str, answers: Sequence[Sequence[str]]) -> None:
        """Answer a question. Raises `ProtocolError`."""
        found = self._find(principal, request_id, "question")
        await self._answer(found, question_reply(found.asked, answers, found.run.location))

    async def reject_question(self, principal: str, request_id: str) -> None:
        """Leave a question unanswered. Raises `ProtocolError`."""
        found = self._find(principal, request_id, "question")
        await self._answer(found, question_reject(found.asked, found.run.location))

    def pending(self, principal: str, kind: str) -> list[JsonObject]:
        """The caller's requests that wait for an answer, oldest task first, each with its task's time of arrival."""
        return [
            {
                "created_at": found.run.active.facts.created_at,
                "request_id": found.asked.request_id,
                "session_id": found.asked.session_id,
                "interrupt_type": kind,
                "task_id": found.run.active.facts.task_id,
                "context_id": found.run.active.facts.context_id,
                "details": details_of(found.asked),
                "expires_at": self._ends_at(found),
            }
            for found in self._waiting()
            if found.asked.kind == kind and found.run.active.facts.principal == principal
        ]

    def knows(self, principal: str, request_id: str) -> bool:
        """Whether a request of the caller's waits for an answer here, or was given up a while ago."""
        if self._given_up.get(request_id, ("", 0.0))[0] == principal:
            return True
        return any(
            found.asked.request_id == request_id and found.run.active.facts.principal == principal
            for found in self._waiting()
        )

    def ages(self) -> list[float]:
        """For how many seconds each request waits."""
        now = self._wall()
        return [max(0.0, now + self._patience - self._ends_at(found)) for found in self._waiting()]

    def totals(self) -> InterruptTotals:
        """Return the numbers of requests that were asked, and answered, since the server began."""
        return self._turns.ended_interrupts.with_running(run.turn for run in self._turns.running.values())

    def waits(self, active: ActiveTask, session_id: str | None) -> bool:
        """Whether a task waits for an answer; in one session, if it is named.

        Of a task of another server, its state says that it waits.
        """
        run = self._turns.running.get(active.facts.task_id)
        if run is None:
            return session_id in (None, active.session_id)
        if session_id not in (None, run.turn.session_id):
            return False
        return bool(run.turn.interrupt_tracker.pending)

    # --- by a message -------------------------------------------------------------------------------------

    async def by_message(self, active: ActiveTask, message: Message) -> bool:
        """Take a message as the answer to what its task waits for; False if that is nothing.

        Raises `ProtocolError` where it cannot be understood as one.
        """
        run = self._turns.running.get(active.facts.task_id)
        pending = run.turn.interrupt_tracker.pending if run is not None else {}
        if run is None or not pending:
            return False
        named = request_named(message)
        if named is not None and named not in pending:
            raise interrupt_error(ExtensionErrorKind.INTERRUPT_REQUEST_NOT_FOUND, named)
        asked = pending[named] if named is not None else next(iter(pending.values()))
        await self._answer(_Waiting(run, asked), understand(asked, message, run.location), message)
        return True

    # --- the end of patience ------------------------------------------------------------------------------

    async def watch(self) -> None:
        """Reject what nobody has answered in time, for ever."""
        while True:
            await anyio.sleep(_LOOK)
            now = self._wall()
            while self._given_up and next(iter(self._given_up.values()))[1] < now:
                self._given_up.popitem(last=False)
            for found in await in_turns(self._overdue(now)):
                request_id = found.asked.request_id
                self._given_up[request_id] = (found.run.active.facts.principal, now + self._memory)
                try:
                    await self._answer(found, expired(found.asked, found.run.location))
                except (ProtocolError, StoreError) as exc:
                    _log.warning("request %s cannot be given up: %s", request_id, exc)

    def _overdue(self, now: float) -> Steps[list[_Waiting]]:
        """Find the requests whose patience has ended, in steps."""
        found: list[_Waiting] = []
        for number, run in enumerate(tuple(self._turns.running.values()), 1):
            if number % LOOKED_AT_ONCE == 0:
                yield
            found += [one for one in self._waiting_in(run) if self._ends_at(one) < now]
        return found

    # --- inside -------------------------------------------------------------------------------------------

    def _waiting(self) -> Iterator[_Waiting]:
        for run in list(self._turns.running.values()):
            yield from self._waiting_in(run)

    def _waiting_in(self, run: RunningTurn) -> list[_Waiting]:
        return [_Waiting(run, asked) for asked in run.turn.interrupt_tracker.pending.values()]

    def _ends_at(self, found: _Waiting) -> float:
        """When patience ends, in epoch seconds."""
        asked_at = found.run.turn.interrupt_tracker.asked_at.get(found.asked.request_id)
        return (epoch_ms(asked_at) / 1000 if asked_at else self._wall()) + self._patience

    def _find(self, principal: str, request_id: str, kind: str) -> _Waiting:
        for found in self._waiting():
            if found.asked.request_id == request_id and found.run.active.facts.principal == principal:
                if found.asked.kind != kind:
                    mismatch = ExtensionErrorKind.INTERRUPT_TYPE_MISMATCH
                    raise interrupt_error(mismatch, request_id, expected=kind, actual=found.asked.kind)
                return found
        owner, _ = self._given_up.get(request_id, (None, 0.0))
        if owner == principal:
            raise interrupt_error(ExtensionErrorKind.INTERRUPT_REQUEST_EXPIRED, request_id)
        raise interrupt_error(ExtensionErrorKind.INTERRUPT_REQUEST_NOT_FOUND, request_id)

    async def _answer(self, found: _Waiting, answer: Answer, message: Message | None = None) -> None:
        """Send an answer to OpenCode, and publish it. Of two answers at once, the second is refused as too late."""
        run, request_id = found.run, found.asked.request_id
        if request_id in self._under_way:
            raise interrupt_error(ExtensionErrorKind.INTERRUPT_REQUEST_NOT_FOUND, request_id)
        self._under_way.add(request_id)
        run.turn.interrupt_tracker.note(request_id, answer, message)
        try:
            await self._upstream.request(answer.call)
        except UpstreamError as exc:
            run.turn.interrupt_tracker.note(request_id, None)
            if run.sink is not None:
                run.sink.doubt()  # what became of it, the session itself will show
            if exc.failure.status == 404:
                raise interrupt_error(ExtensionErrorKind.INTERRUPT_REQUEST_NOT_FOUND, request_id) from None
            raise _upstream_error(exc, request_id) from None
        finally:
            self._under_way.discard(request_id)
        try:
            await self._turns.answered(run, answer.ended)
        except StoreError as exc:
            raise store_failure(exc) from exc


def _upstream_error(error: UpstreamError, request_id: str) -> ExtensionError:
    failure = error.failure
    if failure.status is None:
        return ExtensionError(ExtensionErrorKind.UPSTREAM_UNREACHABLE, request_id=request_id, detail=failure.text)
    kind = ExtensionErrorKind.UPSTREAM_HTTP_ERROR
    return ExtensionError(kind, request_id=request_id, upstream_status=failure.status, detail=failure.text)
